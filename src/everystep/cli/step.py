"""`everystep step`: a live sequence as a Unix filter, one step a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from everystep.cli.arrays import open_npy
from everystep.cli.interrupts import Interrupted, Interrupts
from everystep.cli.lines import answer, parse
from everystep.cli.outputs import output_names, pairs
from everystep.errors import EverystepError, FileError, OptionError
from everystep.saved.replaced import replaced

LONGEST = 1 << 24  # bytes of a line
# What a line that is wrong raises: JSON, Unicode and NumPy raise kinds of ValueError, deep brackets RecursionError.
REFUSALS = (EverystepError, ValueError, RecursionError, OverflowError)


@click.command(short_help="Answer each line, a time step, as it comes.")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--state", type=click.Path(dir_okay=False), help="Go on from this file if it exists, and keep the state there."
)
@click.option("--static", multiple=True, metavar="NAME=FILE.npy", help="An input that is given whole.")
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Sequences side by side.")
def step(model: str, state: str | None, static: tuple[str, ...], batch_size: int) -> None:
    """Read time steps from standard input, one a line, and answer each at once with a line on standard output.

    The answer is what MODEL would return on all lines so far; of outputs that have steps, the newest.

    A line is the numbers of one step with spaces or commas between them, or a JSON array of them, or a JSON object
    with the arrays of several inputs by name. With a batch size from 2 on it is JSON with an array for each sequence.
    Numbers are answered by numbers and JSON by JSON; several outputs by a JSON object, with the names that
    `predict --help` tells of. In JSON, not-a-number and infinity are NaN and Infinity, as Python writes them.

    A line that is wrong ends the command with an error that names the line. The state after the last step is kept also
    then, and when the command is interrupted.
    """
    import everystep

    its = everystep.load_model(model)
    given = {name: _whole_input(path) for name, path in pairs(static, "--static", its.input_names).items()}
    stream = _open(its, state, given, batch_size)
    streamed = [name for name in its.input_names if name not in given]
    outputs = output_names(its)
    try:
        with Interrupts() as interrupts:
            for number, line in _lines(sys.stdin.buffer):
                try:
                    form, x_t = parse(line, streamed, batch_size)
                    with interrupts.held():
                        y_t = stream.step(x_t)
                except REFUSALS as error:
                    raise FileError(f"line {number}: {error}") from error
                sys.stdout.write(answer(y_t, outputs, form, batch_size) + "\n")
                sys.stdout.flush()
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal)
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has somewhere to go
        sys.exit(141)  # as a shell says it of programs that SIGPIPE ends
    finally:
        if state is not None:
            with replaced(state) as path:
                Path(path).write_bytes(stream.to_bytes())


def _open(model: Any, state: str | None, static: dict[str, Any], batch_size: int) -> Any:
    """A new stream, or the one that a file holds."""
    from everystep.models import Stream

    if state is None or not Path(state).exists():
        return model.stream(batch_size, static)
    try:
        stream = Stream.from_bytes(model, Path(state).read_bytes(), static)
    except OptionError as error:
        raise OptionError(f"{state}: {error}") from error
    if stream.batch_size != batch_size:
        raise OptionError(
            f"{state} is of {stream.batch_size} sequences side by side: pass --batch-size {stream.batch_size}"
        )
    return stream


def _whole_input(path: str) -> Any:
    rows = open_npy(path)
    return rows.take(rows.rows)[0]


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1 on.

    Raises:
        FileError: one is longer than a step could be.
    """
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise FileError(f"line {number} is longer than {LONGEST} bytes; a line is one step")
        yield number, line
