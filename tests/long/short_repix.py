"""repix with short trainings, for commands of the guides as they stand: few steps of small batches, no more workers."""

from __future__ import annotations

import sys
from typing import Any

STEPS = 2


def shorten() -> None:
    """Cap what a recipe asks for, after it was read and checked as it is."""
    from repix.train import recipe as recipes

    read = recipes.load_recipe

    def load_recipe(*args: Any, **kwargs: Any) -> recipes.Recipe:
        recipe = read(*args, **kwargs)
        stages = [
            stage.model_copy(update={"steps": min(stage.steps, STEPS), "batch": min(stage.batch, 2)})
            for stage in recipe.stages
        ]
        data = recipe.data.model_copy(update={"workers": 0, "max_validation": 1})
        return recipe.model_copy(update={"stages": stages, "data": data})

    recipes.load_recipe = load_recipe


if __name__ == "__main__":
    from repix.cli import main

    if "train" in sys.argv[1:2]:
        shorten()
    main()
