"""A model's outputs as a table, .csv or .parquet, which grows with each batch."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from everystep.cli.tables import pyarrow
from everystep.errors import OptionError

Array = np.ndarray[Any, np.dtype[Any]]


class Table:
    """Outputs side by side, a line for each row (B,...); for each step if they are sequences (B,T,...).

    The columns are called as the output, with a number for each of its features if there are several. Before them
    stands the step, counted from 0, and before it the id of the sequence as in the input's table, or its number.

    Args:
        path: to write to.
        names: of the outputs.
        by: the column of ids, if there is one.
    """

    def __init__(self, path: Path, names: Sequence[str], by: str | None) -> None:
        self._path, self._names, self._by = path, names, by
        self._rows = 0

    def write(self, outputs: Sequence[Array | list[Array]], ids: list[Any] | None) -> None:
        """Some more rows of each output.

        Raises:
            OptionError: some are sequences and some are not, or are of other lengths.
        """
        timed = {
            name: output[0].ndim > 1 if len(output) else output[:0].ndim > 2 for name, output in self._each(outputs)
        }
        lengths = {tuple(len(row) if timed[name] else 1 for row in output) for name, output in self._each(outputs)}
        if len(set(timed.values())) > 1 or len(lengths) > 1:
            words = ", ".join(f"{name!r} {'at each step' if timed[name] else 'once a row'}" for name in self._names)
            raise OptionError(f"one table cannot hold these outputs, {words}. Choose some with --output, or write .npz")
        (steps,) = lengths
        columns: dict[str, Sequence[Any] | Array] = {}
        if self._by is not None and ids is not None:
            columns[self._by] = [name for name, T in zip(ids, steps, strict=True) for _ in range(T)]
        if timed[self._names[0]]:
            if self._by is None:
                columns["sequence"] = np.repeat(np.arange(self._rows, self._rows + len(steps)), steps)
            columns["step"] = np.array([*itertools.chain.from_iterable(map(range, steps))], np.int64)
        for name, output in self._each(outputs):
            columns |= _features(name, np.concatenate([*output]) if timed[name] and len(output) else np.asarray(output))
        self._rows += len(steps)
        self._write(columns)

    def _each(self, outputs: Sequence[Any]) -> list[tuple[str, Any]]:
        return list(zip(self._names, outputs, strict=True))

    def _write(self, columns: dict[str, Any]) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Closes the file."""
        raise NotImplementedError


class CsvTable(Table):
    """Numbers in the shortest digits that give the same number again in the output's dtype."""

    def __init__(self, path: Path, names: Sequence[str], by: str | None) -> None:
        super().__init__(path, names, by)
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._begun = False

    def _write(self, columns: dict[str, Any]) -> None:
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        self._writer.writerows(zip(*(map(str, column) for column in columns.values()), strict=True))

    def finish(self) -> None:
        self._file.close()


class ParquetTable(Table):
    """Columns in the dtypes of the outputs."""

    def __init__(self, path: Path, names: Sequence[str], by: str | None) -> None:
        super().__init__(path, names, by)
        self._pa, self._parquet = pyarrow()
        self._writer: Any = None

    def _write(self, columns: dict[str, Any]) -> None:
        table = self._pa.table(columns, schema=self._writer and self._writer.schema)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def finish(self) -> None:
        self._writer.close()


def _features(name: str, values: Array) -> dict[str, Array]:
    """A column for each of the last axes' numbers: "dense" of one, "dense_0", "dense_1", or "gates_0_0" of two axes."""
    places = list(np.ndindex(values.shape[1:]))
    if len(places) == 1:
        return {name: values.reshape(-1)}
    return {"_".join(map(str, (name, *place))): np.ascontiguousarray(values[:, *place]) for place in places}
