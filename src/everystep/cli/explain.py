"""`everystep explain`: what each layer of a saved model returns, in words."""

from __future__ import annotations

import click


@click.command(short_help="Say in words what each layer of a model returns.")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
def explain(model: str) -> None:
    """Say in words what each layer of MODEL returns: each tensor, its shape, what it equals and what it is for."""
    import everystep

    click.echo(str(everystep.explain(everystep.load_model(model))))
