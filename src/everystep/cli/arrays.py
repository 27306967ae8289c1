"""Arrays in .npy and .npz files, read and written some rows at a time."""

from __future__ import annotations

import math
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from everystep.errors import FileError, OptionError

Array = np.ndarray[Any, np.dtype[Any]]
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What reading a damaged zip raises.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class ArrayRows:
    """The rows of an array in a file, from the first to the last.

    Args:
        file: at the start of what np.save wrote.
        size: how many bytes there are.
        where: the file's name, for messages.

    Attributes:
        rows: how many there are.

    Raises:
        FileError: it is no array of numbers, or damaged.
    """

    def __init__(self, file: IO[bytes], size: int, where: str) -> None:
        self._file, self._where, self._taken = file, where, 0
        try:
            shape, fortran, dtype = _HEADERS[npy.read_magic(file)](file)
        except (ValueError, KeyError, *_DAMAGED) as error:
            raise FileError(f"{where} is not an array as np.save writes it: {error}") from error
        if dtype.kind not in "biuf":
            raise FileError(f"{where} holds {dtype}; a model takes real numbers")
        if not shape:
            raise FileError(f"{where} is a single number; a model takes an array with a first axis, of rows")
        if fortran and len(shape) > 1:
            raise FileError(
                f"{where} is stored column by column (Fortran order), and cannot be read row by row. Save "
                "np.ascontiguousarray(x)"
            )
        self.rows: int = shape[0]
        self._shape, self._dtype = shape[1:], dtype
        self._row_bytes = math.prod(self._shape) * dtype.itemsize
        if size != file.tell() + self.rows * self._row_bytes:
            raise FileError(
                f"{where} is damaged: an array of {dtype} of shape {shape} takes {self.rows * self._row_bytes} bytes "
                f"after the header; there are {size - file.tell()}"
            )

    def take(self, count: int) -> tuple[Array, None]:
        """The next rows, `count` of them or what is left; they have no ids."""
        count = min(count, self.rows - self._taken)
        try:
            data = self._file.read(count * self._row_bytes)
        except _DAMAGED as error:
            raise FileError(f"{self._where} is damaged: {error}") from error
        if len(data) != count * self._row_bytes:
            raise FileError(f"{self._where} ends in the middle of row {self._taken + len(data) // self._row_bytes}")
        self._taken += count
        array: Array = np.frombuffer(data, self._dtype).reshape(count, *self._shape)
        return array.astype(self._dtype.newbyteorder("="), copy=False), None


def open_npy(path: str) -> ArrayRows:
    """The rows of a .npy file."""
    return ArrayRows(open(path, "rb"), Path(path).stat().st_size, path)


def open_npz(path: str, names: Sequence[str]) -> dict[str, ArrayRows]:
    """The rows of the arrays of a .npz file, by the names of a model's inputs; of one input, its one array.

    Raises:
        FileError: it is none, or damaged. OptionError: an input is not in it.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise FileError(f"{path} is not a .npz file: {error}") from error
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(names) == 1 and len(members) == 1:
        members = {names[0]: next(iter(members.values()))}
    missing = [name for name in names if name not in members]
    if missing:
        raise OptionError(
            f"{path} has no array {', '.join(map(repr, missing))}, an input of the model, but "
            f"{', '.join(map(repr, members)) or 'nothing'}"
        )
    found = {}
    for name in names:
        info = members[name]
        try:
            file = archive.open(info)
        except _DAMAGED as error:
            raise FileError(f"{path}: {info.filename}: {error}") from error
        found[name] = ArrayRows(file, info.file_size, f"{path}: {info.filename}")
    return found


class ArrayFile:
    """A .npy file that grows by rows; its header is written again at the end, when their number is known."""

    def __init__(self, path: Path, what: str) -> None:
        self._file, self._what = path.open("wb"), what
        self._rows = 0
        self._like: Array | None = None

    def write(self, value: Array | list[Array]) -> None:
        """Some more rows.

        Raises:
            OptionError: they are of different lengths, or of others than those before.
        """
        shapes = {array.shape for array in value} if isinstance(value, list) else {value.shape[1:]}
        if len(shapes) > 1 or (self._like is not None and self._like.shape[1:] not in shapes):
            raise OptionError(
                f"{self._what} is of sequences of different lengths, which are not one array. Write a table, .csv or "
                ".parquet"
            )
        rows = np.ascontiguousarray(value)
        if self._like is None:
            self._like = rows[:0]
            self._start = self._header(self._like)
        rows.tofile(self._file)
        self._rows += len(rows)

    def finish(self) -> None:
        """Writes the header again, with the number of rows, and closes."""
        assert self._like is not None, "finished before anything was written"
        self._file.seek(0)
        # NumPy leaves room for the first axis to grow, for exactly this.
        assert self._header(self._like) == self._start, "the header has outgrown its place"
        self._file.close()

    def _header(self, like: Array) -> int:
        """Writes it, and returns where it ends."""
        shape = (self._rows, *like.shape[1:])
        header = {"descr": npy.dtype_to_descr(like.dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)
        return self._file.tell()


class OneArray:
    """The only output, in a .npy file."""

    def __init__(self, path: Path, names: Sequence[str], by: str | None) -> None:
        if len(names) > 1:
            raise OptionError(
                f"a .npy file holds one array, and these are {len(names)}: {', '.join(map(repr, names))}. Choose one "
                "with --output, or write a .npz file"
            )
        self._array = ArrayFile(path, f"output {names[0]!r}")

    def write(self, outputs: Sequence[Array | list[Array]], ids: list[Any] | None) -> None:
        self._array.write(outputs[0])

    def finish(self) -> None:
        self._array.finish()


class Arrays:
    """Outputs by name in a .npz file; each grows in a file of its own, and they are put together at the end."""

    def __init__(self, path: Path, names: Sequence[str], by: str | None) -> None:
        self._path, self._names = path, names
        self._folder = TemporaryDirectory(dir=path.parent, prefix=path.name)
        self._files = [Path(self._folder.name) / f"{k}.npy" for k in range(len(names))]
        self._arrays = [ArrayFile(file, f"output {name!r}") for file, name in zip(self._files, names, strict=True)]

    def write(self, outputs: Sequence[Array | list[Array]], ids: list[Any] | None) -> None:
        for array, output in zip(self._arrays, outputs, strict=True):
            array.write(output)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w") as archive:
            for name, file, array in zip(self._names, self._files, self._arrays, strict=True):
                array.finish()
                with file.open("rb") as read, archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    shutil.copyfileobj(read, member, 1 << 20)
        self._folder.cleanup()
