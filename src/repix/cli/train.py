"""`repix train`: a network by a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from repix.errors import MissingExtraError


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run. [runs/NAME]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe: data.photos=DIR.")
@click.option("--resume", is_flag=True, help="Go on from where the run in that folder was stopped.")
@click.option("--export/--no-export", "exports", default=True, show_default=True, help="Make a weight at the end.")
def train(recipe: Path, output: Path | None, overrides: tuple[str, ...], resume: bool, exports: bool) -> None:
    """Train a network by a RECIPE; stopped at any moment, --resume continues exactly.

    \b
    repix train recipes/own-photos.yaml --set data.photos=DIR
    repix train recipes/repixnet.yaml --resume
    tensorboard --logdir runs
    """
    import importlib.util

    for module in ("torch", "lightning", "yaml"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("train", module)
    from repix.train.export import export as make_weight
    from repix.train.loop import is_main_process
    from repix.train.loop import train as run
    from repix.train.recipe import load_recipe

    settings = load_recipe(recipe, overrides=overrides)
    folder = output if output is not None else Path("runs") / settings.name
    try:
        checkpoint = run(settings, folder, resume=resume)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; go on with: repix train {recipe} -o {folder} --resume", err=True)
        raise click.exceptions.Exit(130) from None
    if not is_main_process():
        return
    if exports:
        card = make_weight(checkpoint, folder / "weight")
        click.echo(f"trained {card.name}, {card.training['steps']} steps → {folder / 'weight'}")
        click.echo(f"try it: repix {card.task.verb} PHOTO --model {folder / 'weight'}")
    else:
        click.echo(f"trained {settings.name} → {checkpoint}")
