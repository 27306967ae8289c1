"""The command with its four subcommands, and how they fail."""

from __future__ import annotations

from typing import Any

import click

import everystep as package
from everystep.cli.convert import convert
from everystep.cli.explain import explain
from everystep.cli.predict import predict
from everystep.cli.step import step
from everystep.errors import EverystepError


class Commands(click.Group):
    """A group whose foreseen errors are one message on standard error and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has gone: click ends quietly
        except EverystepError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{name}{error.strerror or error}") from error
        except MemoryError as error:
            raise click.ClickException(
                "there is not enough memory for this; a smaller --batch-size takes less"
            ) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package.__version__, prog_name="everystep")
def everystep() -> None:
    """Run saved recurrent models, without the framework that trained them."""


for command in (predict, step, explain, convert):
    everystep.add_command(command)
