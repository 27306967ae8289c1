"""`everystep predict`: a saved model on a file of any length, in batches, to another file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from everystep.cli.arrays import Arrays, OneArray, open_npy, open_npz
from everystep.cli.files import require_new
from everystep.cli.outputs import pairs
from everystep.cli.table_results import CsvTable, ParquetTable
from everystep.cli.tables import TableRows
from everystep.errors import FileError, OptionError, ShapeError
from everystep.layers.tensor import Tensor
from everystep.saved.replaced import replaced

RESULTS = {".npy": OneArray, ".npz": Arrays, ".csv": CsvTable, ".parquet": ParquetTable}
TABLES = (".csv", ".parquet")


@click.command(short_help="Run a model on a file, and write what it returns.")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("input", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("-o", "result", type=click.Path(dir_okay=False), required=True, help="The file to write.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="A file for one of several inputs.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="Write this output; all without it.")
@click.option("--by", metavar="COLUMN", help="In tables, the column that tells sequences apart.")
@click.option("--header/--no-header", default=None, help="Whether a .csv file begins with the columns' names.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Rows to run at once.")
@click.option("--progress/--no-progress", default=None, help="A bar on standard error; by default on a terminal.")
@click.option("--force", is_flag=True, help="Write over the output file if it exists.")
def predict(
    model: str,
    input: str | None,
    result: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    by: str | None,
    header: bool | None,
    batch_size: int,
    progress: bool | None,
    force: bool,
) -> None:
    """Run MODEL on INPUT and write what it returns: the numbers of Model.predict.

    Files are .npy, .npz (arrays by the inputs' and outputs' names), .csv or .parquet. They are read and written a
    batch at a time, so they may be larger than memory. The output file appears once it is complete.

    In a table, .csv or .parquet, the columns are the features, in the model's order. For an input (rows, steps,
    features) a line is a time step, and the table is one sequence; with --by COLUMN each run of lines with one value
    there is a sequence, and they may differ in length. For an input (rows, features) a line is a row; for token ids
    (rows, steps) too, or a step if there is one column beside that of --by.

    An output table has a line for each row, or for each step of outputs that have steps, and columns NAME_0, NAME_1 and
    so on. A layer that returns several tensors has the outputs NAME.0, NAME.1 and so on.
    """
    import everystep
    from everystep.cli.outputs import chosen_outputs
    from everystep.models.progress import progress_bar

    require_new(result, force)
    its = everystep.load_model(model)
    chosen = chosen_outputs(its, outputs)
    part = everystep.Model(its.inputs, [its.outputs[place] for place in chosen.values()], name=its.name)
    sources = _sources(its.inputs, input, inputs, by, header)
    make = _result_type(result)
    rows = next((source.rows for source in sources if source.rows is not None), None)
    shown = sys.stderr.isatty() if progress is None else progress
    with replaced(result) as path, progress_bar(shown, rows) as bar:
        writer = make(Path(path), list(chosen), by)
        for batch, ids in _batches(sources, [tensor.name for tensor in its.inputs], batch_size):
            returned = part.predict(batch if len(batch) > 1 else batch[0])
            writer.write(returned if len(chosen) > 1 else [returned], ids)
            bar.update(len(batch[0]))
        writer.finish()


class Source(Protocol):
    """What an input takes, in a file."""

    @property
    def rows(self) -> int | None:
        """How many rows there are, if that is known."""

    def take(self, count: int) -> tuple[Any, list[Any] | None]:
        """The next rows, `count` or what is left, and their ids, if they have any."""


def _sources(
    tensors: Sequence[Tensor], path: str | None, inputs: Sequence[str], by: str | None, header: bool | None
) -> list[Source]:
    """For each input what it takes, in the file for all or in one of its own."""
    names = [tensor.name for tensor in tensors]
    paths = pairs(inputs, "--input", names)
    if (path is None) == (not paths):
        raise click.UsageError("Name one file for all inputs, or one for each with --input NAME=FILE.")
    if path is not None and Path(path).suffix == ".npz":
        _check_table_options(path, by, header)
        found = open_npz(path, names)
        return [found[name] for name in names]
    if path is not None:
        if len(names) > 1:
            raise click.UsageError(
                f"The model has the inputs {', '.join(names)}: give a .npz file with arrays of these names, or a file "
                "for each with --input NAME=FILE."
            )
        paths = {names[0]: path}
    missing = [name for name in names if name not in paths]
    if missing:
        raise click.UsageError(f"There is no --input for {', '.join(missing)}.")
    return [_source(tensor, paths[tensor.name], by, header) for tensor in tensors]


def _source(tensor: Tensor, path: str, by: str | None, header: bool | None) -> Source:
    suffix = Path(path).suffix
    if suffix in TABLES:
        if suffix == ".parquet":
            _check_table_options(path, None, header)
        return TableRows(path, tensor, by, header)
    if suffix not in (".npy", ".npz"):
        raise OptionError(f"{path}: the name of an input file ends in {', '.join(RESULTS)}; got {suffix!r}")
    _check_table_options(path, by, header)
    return open_npy(path) if suffix == ".npy" else open_npz(path, [tensor.name])[tensor.name]


def _check_table_options(path: str, by: str | None, header: bool | None) -> None:
    if by is not None:
        raise click.UsageError(f"--by is for tables, .csv or .parquet, not for {path}.")
    if header is not None:
        raise click.UsageError(f"--header and --no-header are for .csv files, not for {path}.")


def _result_type(path: str) -> Any:
    suffix = Path(path).suffix
    if suffix not in RESULTS:
        raise OptionError(f"-o: the name of the file to write ends in {', '.join(RESULTS)}; got {suffix!r}")
    return RESULTS[suffix]


def _batches(sources: Sequence[Source], names: Sequence[str], size: int) -> Iterator[tuple[list[Any], Any]]:
    """What `predict` takes, and the rows' ids, batch by batch; one without rows if there are none at all.

    Raises:
        ShapeError: the inputs have different numbers of rows. FileError: they have different ids.
    """
    done = 0
    while True:
        taken = [source.take(size) for source in sources]
        counts = [len(batch) for batch, _ in taken]
        if len(set(counts)) > 1:
            words = ", ".join(f"{done + count} of {name!r}" for name, count in zip(names, counts, strict=True))
            raise ShapeError(f"all inputs must have the same number of rows; up to here there are {words}")
        ids = [its for _, its in taken if its is not None]
        for others in ids[1:]:
            if others != ids[0]:
                row = next(k for k, (a, b) in enumerate(zip(ids[0], others, strict=True)) if a != b)
                raise FileError(
                    f"row {done + row} is {ids[0][row]!r} in one table and {others[row]!r} in another (--by)"
                )
        if counts[0] or not done:
            yield [batch for batch, _ in taken], ids[0] if ids else None
        done += counts[0]
        if counts[0] < size:
            return
