"""`repix train`: a network by a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from repix.cli.options import refuse_given
from repix.cli.output import command, say
from repix.cli.stop import allow_for_end
from repix.cli.values import PATH


@click.command()
@click.argument("recipe", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder of the run. [runs/NAME]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe; repeatable.")
@click.option("--resume", is_flag=True, help="Continue the run in that folder where it was stopped.")
@click.option("--trust", is_flag=True, help="Run Python files that a teacher's card names, or that have changed.")
@click.option("--export/--no-export", "exports", default=True, show_default=True, help="Make a model at the end.")
def train(
    recipe: Path, output: Path | None, overrides: tuple[str, ...], resume: bool, trust: bool, exports: bool
) -> None:
    """Train a network by a RECIPE. A run can be stopped at any moment; --resume continues it exactly.

    \b
    repix train recipes/own-images.yaml --set data.photos=DIR
    repix train recipes/repixnet.yaml --resume
    tensorboard --logdir runs
    """
    from repix._types import require

    require("train")
    from repix.train.export import export as make_model
    from repix.train.loop import is_main_process
    from repix.train.loop import train as run
    from repix.train.recipe import load_recipe

    settings = load_recipe(recipe, overrides=overrides)
    if not resume and settings.init is None and settings.teacher is None:
        refuse_given(("trust",), "does nothing without --resume, or init or teacher in the recipe")
    allow_for_end(30)  # for the step that it is at, and to save
    folder = output if output is not None else Path("runs") / settings.name
    try:
        checkpoint = run(settings, folder, resume=resume, trust=trust)
    except KeyboardInterrupt:
        if (folder / "last.ckpt").is_file():
            changes = [word for change in overrides for word in ("--set", change)]
            flags = [*(["--trust"] if trust else []), *([] if exports else ["--no-export"])]
            said = f"continue with: {command('train', recipe, '-o', folder, '--resume', *flags, *changes)}"
        else:
            said = "nothing is trained yet; start again without --resume"
        say(f"stopped; {said}", err=True)
        raise click.exceptions.Exit(130) from None
    if not is_main_process():
        return
    if exports:
        card = make_model(checkpoint, folder / "model")
        say(f"trained {card.name}; its weights are those of step {card.training['steps']} → {folder / 'model'}")
        say(f"try it: {command(card.task.verb, 'PHOTO', '--model', folder / 'model')}")
    else:
        say(f"trained {settings.name} → {checkpoint}")
