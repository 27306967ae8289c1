"""`everystep convert`: a model's file that everystep opens, as one that Keras 3 opens."""

from __future__ import annotations

import click

from everystep.cli.files import require_new


@click.command(short_help="Write an old model's file as a .keras file.")
@click.argument("old", type=click.Path(exists=True, dir_okay=False))
@click.argument("new", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Write over NEW if it exists.")
def convert(old: str, new: str, force: bool) -> None:
    """Write the model of the file OLD to NEW, a .keras file that Keras 3 opens.

    OLD is any file that everystep loads. Nothing in it is executed. What NEW must say otherwise than OLD, so that
    Keras 3 computes the same, is printed. NEW appears once it is complete.
    """
    import everystep
    from everystep.saved.keras3_changes import keras3_changes

    require_new(new, force)
    model = everystep.load_model(old)
    model.save(new)
    for change in keras3_changes(model):
        click.echo(change)
    click.echo(f"{new} written")
