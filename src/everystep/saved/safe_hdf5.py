"""Arrays of an HDF5 file that nobody vouches for: found by hard links only, checked, then read.

A dataset must be stored in one piece, without filters, as Keras writes it. Its bytes then lie in the file as they are,
so that reading it takes no more memory than the file has, opens no other file and runs no plugin.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Set
from contextlib import contextmanager

import h5py
import numpy as np

from everystep.errors import EverystepError, FileError

OBJECTS, DEPTH, LENGTH = 30_000, 64, 4096  # the most that a file may have, and of letters in a path
STRINGS = 1 << 29  # the most bytes that an attribute's strings may come to
SMALLEST_HEAP = 4096  # bytes, of a collection of strings of variable length
REPACK = "h5repack -f NONE -l CONTI makes it so"


@contextmanager
def open_hdf5(data: bytes, where: str) -> Iterator[h5py.File]:
    """The file in `data`; what HDF5 finds wrong with it becomes a FileError that begins with `where`."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except FileError as error:
        raise FileError(f"{where}: {error}") from None
    except EverystepError:  # of what is made of it
        raise
    except (OSError, LookupError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise FileError(f"{where} is not an HDF5 file, or is damaged: {error}") from error


def find_datasets(file: h5py.File, skipped: Set[str] = frozenset()) -> dict[str, h5py.Dataset]:
    """Every dataset by its path, "layers/lstm/cell/vars/0".

    Args:
        skipped: paths that are not looked at.

    Raises:
        FileError: a link leads elsewhere, or there are too many objects, or too deep: or they form a loop.
    """
    found: dict[str, h5py.Dataset] = {}
    left: list[tuple[str, h5py.Group]] = [("", file)]
    count = 0
    while left:
        path, group = left.pop()
        for name in group:
            here = f"{path}/{name}".lstrip("/")
            count += 1
            if count > OBJECTS or here.count("/") > DEPTH or len(here) > LENGTH:
                raise FileError(
                    f"it has more than {OBJECTS} objects, or deeper than {DEPTH}, or a path longer than {LENGTH}, at "
                    f"{here[:200]!r}"
                )
            if here in skipped:
                continue
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileError(f"{here!r} is a link to elsewhere ({type(link).__name__})")
            made = group[name]
            if isinstance(made, h5py.Group):
                left.append((here, made))
            elif isinstance(made, h5py.Dataset):
                found[here] = made
            else:
                raise FileError(f"{here!r} is neither a group nor a dataset")
    return found


class Strings:
    """The strings in the attributes of a file.

    Strings of variable length lie in heaps, and many may be one and the same there. So what an attribute's strings may
    come to is bounded by their number and the longest that there can be, before any is read; and all that are read
    come to no more than the file has, where none is there twice.
    """

    def __init__(self, data: bytes) -> None:
        self._longest, self._left = longest_string(data), len(data)

    def of(self, group: h5py.Group, name: str) -> list[str] | None:
        """Those of an attribute, one or a list of them; None: it has no such attribute.

        Raises:
            FileError: they are no strings in UTF-8, could come to more than `STRINGS` bytes, or share data.
        """
        if name not in group.attrs:
            return None
        where = f"attribute {name!r} of {group.name!r}"
        found = group.attrs.get_id(name)
        space = found.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL or space.get_simple_extent_npoints() == 0:
            return []
        count, kind = space.get_simple_extent_npoints(), found.get_type()
        if kind.get_class() != h5py.h5t.STRING or len(found.shape) > 1 or count > OBJECTS:
            raise FileError(f"{where} must be a string or a list of at most {OBJECTS}; it is {count} of {found.dtype}")
        each = self._longest if kind.is_variable_str() else kind.get_size()
        if count * each > STRINGS:
            raise FileError(f"{where}: {count} strings of up to {each} bytes may come to more than {STRINGS}")
        read = np.asarray(group.attrs[name]).reshape(-1).tolist()
        strings = [one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in read]
        self._left -= sum(map(len, strings))
        if self._left < 0:
            raise FileError(f"{where}: the strings read so far are more than the file holds: they share data")
        return strings


def longest_string(data: bytes) -> int:
    """No string of variable length in a file is longer: each collection of strings says its size.

    Raises:
        FileError: HDF5 would not come to an end with a collection, or they lie over one another.
    """
    largest, objects, at = 0, 0, data.find(b"GCOL")
    while at >= 0:
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        largest = max(largest, size)
        if data[at + 4 : at + 8] == b"\x01\0\0\0" and size >= SMALLEST_HEAP:  # else it is by chance, in an array
            for _ in _objects(data, at, min(at + size, len(data))):
                objects += 1
                if objects * 16 > len(data):
                    raise FileError("the collections of strings in it lie over one another: the file is damaged")
        at = data.find(b"GCOL", at + 4)
    return min(largest, len(data))


def _objects(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where each object of a collection begins.

    HDF5 File Format Specification 3.0, III.E: after 16 bytes come objects, each with an index of 2 bytes, which is 0
    for the free space at the end, and its size at byte 8; its data, filled up to 8 bytes, follows after 16 bytes.

    Raises:
        FileError: the free space is said to be of no size: HDF5 would look for what follows it for ever.
    """
    at = start + 16
    while at + 16 <= end:
        yield at
        index, size = (int.from_bytes(data[at + k : at + after], "little") for k, after in ((0, 2), (8, 16)))
        if index == 0 and size == 0:
            raise FileError("a collection of strings in it has free space of no size: the file is damaged")
        at += size if index == 0 else 16 + (size + 7) // 8 * 8


def refuse_indirect(path: str, dataset: h5py.Dataset) -> None:
    """Raises FileError where a dataset's numbers do not lie in the file, in one piece; before its shape is asked."""
    made = dataset.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL:  # before its shape, which is that of other files
        raise FileError(f"{path!r} is a virtual dataset, whose data lies in other files")
    if made.get_external_count():
        raise FileError(f"{path!r} has its data in another file")
    if made.get_nfilters() or made.get_layout() == h5py.h5d.CHUNKED:
        raise FileError(f"{path!r} is stored in chunks or through a filter; it must be in one piece. {REPACK}")


def check_dataset(path: str, dataset: h5py.Dataset, shape: tuple[int, ...], dtype: str, size: int) -> None:
    """Raises FileError unless it can be read safely, and is of this shape and dtype.

    Args:
        size: of the file, in bytes.
    """
    refuse_indirect(path, dataset)
    counts = dtype == "int32" and dataset.dtype == np.int64  # as Keras 2 has a Normalization's: of equal value
    if dataset.dtype != np.dtype(dtype) and not counts:
        raise FileError(f"{path!r} must be {dtype}; it is {dataset.dtype}")
    if dataset.shape != shape:
        raise FileError(f"{path!r} must be of shape {shape}; it is {dataset.shape}")
    stored, needed = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    if stored != needed or (dataset.id.get_offset() or 0) + needed > size:
        raise FileError(f"{path!r} takes {needed} bytes, which the file does not have")
