"""Tables, .csv and .parquet, read a block of lines at a time and cut into what a model's input takes."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DependencyError, FileError, OptionError, ShapeError
from everystep.layers.tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
LINES = 1024  # of a block


class Block(NamedTuple):
    """Some lines of a table: their numbers (lines, columns), and for each the id of its sequence."""

    numbers: Array
    ids: list[Any] | None


class TableRows:
    """What a model's input takes, from a table.

    An input (B,T,I) takes a line for each step: the whole table is one sequence, or each run of lines with one value in
    the column `by`. An input (B,I) takes a line for each row; of token ids (B,T), a line for each step if there is `by`
    and one column beside it. The columns other than `by`, in their order, are the features.

    Args:
        path: of a .csv or .parquet file.
        tensor: the input.
        by: the column that tells sequences apart, if there is one.
        header: whether the first line of a .csv file has the columns' names; None if that is to be seen from it.

    Attributes:
        rows: None, as their number is not known before the end.

    Raises:
        OptionError, ShapeError: the table or an argument does not fit the input. FileError: the file is damaged, or
            has something else than a number.
    """

    rows = None

    def __init__(self, path: str, tensor: Tensor, by: str | None, header: bool | None) -> None:
        self._path, self._tensor, self._by = path, tensor, by
        whole = np.dtype(tensor.dtype).kind in "iu"
        if tensor.ndim not in (2, 3):
            raise ShapeError(f"input {tensor.name!r} of shape {tensor.shape} is not what a table holds. Use .npy")
        names, self._blocks = _csv(path, by, header, whole) if path.endswith(".csv") else _parquet(path, by)
        features = [name for name in names if name != by]
        tokens = tensor.ndim == 2 and tensor.shape[1] != 1 and (whole or tensor.shape[1] is None)
        self._steps = tensor.ndim == 3 or (tokens and by is not None and len(features) == 1)
        size = 1 if self._steps and tensor.ndim == 2 else tensor.shape[-1]
        if len(features) != size and not (size is None and features):
            raise ShapeError(
                f"{path}: input {tensor.name!r} of shape {tensor.shape} takes {size or 'some'} columns of numbers; "
                f"there are {len(features)}{': ' * bool(features)}{', '.join(map(repr, features[:20]))}"
                f"{', ...' * (len(features) > 20)}"
            )
        self._sequences = self._cut() if self._steps else None
        self._left: Block | None = None

    def take(self, count: int) -> tuple[Array | list[Array], list[Any] | None]:
        """The next `count` rows or what is left, a list of (T_b,...) if they differ in length; and their ids."""
        if self._sequences is None:
            return self._lines(count)
        some = list(itertools.islice(self._sequences, count))
        sequences, ids = [sequence for _, sequence in some], [name for name, _ in some]
        same = len({len(sequence) for sequence in sequences}) == 1
        return np.stack(sequences) if same else sequences, ids if self._by is not None else None

    def _lines(self, count: int) -> Block:
        """The next `count` lines or what is left."""
        blocks = [] if self._left is None else [self._left]
        while sum(len(block.numbers) for block in blocks) < count and (block := next(self._blocks, None)):
            blocks.append(block)
        if not blocks:
            raise FileError(f"{self._path} has no lines of numbers")
        numbers = np.concatenate([block.numbers for block in blocks])
        ids = None if self._by is None else [name for block in blocks for name in block.ids or ()]
        self._left = Block(numbers[count:], ids and ids[count:])
        return Block(numbers[:count], ids and ids[:count])

    def _cut(self) -> Iterator[tuple[Any, Array]]:
        """Each sequence with its id."""
        seen, parts, now = set[Any](), list[Array](), None
        for numbers, ids in self._blocks:
            names: list[Any] = [None] * len(numbers) if ids is None else ids
            for name, run in itertools.groupby(range(len(names)), names.__getitem__):
                if parts and name != now:
                    yield now, self._sequence(parts)
                    parts = []
                if not parts:
                    if name in seen:
                        raise FileError(
                            f"{self._path}: the lines of sequence {name!r} do not stand together. Sort the table by "
                            "sequence and time"
                        )
                    seen.add(name)
                    now = name
                places = list(run)
                parts.append(numbers[places[0] : places[-1] + 1])
        if not parts:
            raise FileError(f"{self._path} has no lines of numbers")
        yield now, self._sequence(parts)

    def _sequence(self, parts: list[Array]) -> Array:
        steps = np.concatenate(parts)
        return steps[:, 0] if self._tensor.ndim == 2 else steps


def _csv(path: str, by: str | None, header: bool | None, whole: bool) -> tuple[list[str], Iterator[Block]]:
    """The columns' names, and the lines of a .csv file."""
    lines = _csv_lines(path)
    number, first = next(lines, (0, []))
    if not first:
        raise FileError(f"{path} has no first line")
    if header is None and all(map(_is_number, first)):
        raise OptionError(
            f"{path}: the first line holds numbers alone. Say with --no-header that it is data, or with --header that "
            "these are the columns' names"
        )
    if header is False:
        names, lines = [f"column {k}" for k in range(1, len(first) + 1)], itertools.chain([(number, first)], lines)
    else:
        names = first
    place = _place(path, names, by)
    parse = int if whole else float

    def blocks() -> Iterator[Block]:
        while some := list(itertools.islice(lines, LINES)):
            rows = []
            for number, cells in some:
                if len(cells) != len(names):
                    raise FileError(f"{path}, line {number}: {len(names)} cells expected, got {len(cells)}")
                rows.append(
                    [_number(path, number, names[k], cell, parse) for k, cell in enumerate(cells) if k != place]
                )
            ids = None if place is None else [cells[place] for _, cells in some]
            yield Block(np.array(rows).reshape(len(rows), -1), ids)

    return names, blocks()


def _csv_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise FileError(f"{path}, after line {reader.line_num}: not a table of text, {error}") from error


def _number(path: str, line: int, column: str, cell: str, parse: type[int] | type[float]) -> int | float:
    try:
        if "_" in cell:  # which Python allows
            raise ValueError
        return parse(cell)
    except ValueError:
        wanted = "a whole number" if parse is int else "a number"
        raise FileError(f"{path}, line {line}, column {column!r}: {wanted} expected, got {cell!r}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _place(path: str, names: list[str], by: str | None) -> int | None:
    """Which column is `by`."""
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise FileError(f"{path}: two columns are called {min(twice)!r}")
    if by is not None and by not in names:
        raise OptionError(f"{path} has no column {by!r} (--by); it has {', '.join(map(repr, names[:20]))}")
    return None if by is None else names.index(by)


def _parquet(path: str, by: str | None) -> tuple[list[str], Iterator[Block]]:
    """The columns' names, and the lines of a .parquet file."""
    pa, parquet = pyarrow()
    try:
        file = parquet.ParquetFile(path, buffer_size=1 << 16)
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{path} is not a Parquet file: {error}") from error
    schema = file.schema_arrow
    place = _place(path, schema.names, by)
    for k, column in enumerate(schema):
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        if k != place and not any(kind(column.type) for kind in kinds):
            raise FileError(f"{path}, column {column.name!r}: numbers expected, got {column.type}")

    def blocks() -> Iterator[Block]:
        before = 0
        try:
            for batch in file.iter_batches(batch_size=LINES, use_threads=False):
                columns = []
                for k, column in enumerate(batch.columns):
                    if k != place and column.null_count:
                        row = before + column.is_null().to_pylist().index(True)
                        raise FileError(f"{path}, row {row}, column {schema.names[k]!r}: there is no number")
                    if k != place:
                        columns.append(column.to_numpy(zero_copy_only=False))
                ids = None if place is None else batch.column(place).to_pylist()
                before += len(batch)
                if len(batch):
                    yield Block(np.stack(columns, axis=1), ids)
        except pa.ArrowException as error:
            raise FileError(f"{path} is damaged after row {before}: {error}") from error

    return schema.names, blocks()


def pyarrow() -> tuple[Any, Any]:
    """The package and its module for Parquet.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import pyarrow  # an extra
        from pyarrow import parquet
    except ImportError as error:
        raise DependencyError("Parquet files need pyarrow, which is not installed: pip install pyarrow") from error
    return pyarrow, parquet
