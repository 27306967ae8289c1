"""What strings of an HDF5 file may come to, where many are one and the same in it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from everystep.errors import FileError
from everystep.saved.safe_hdf5 import Strings, open_hdf5

COUNT, LENGTH = 40, 3000


def test_strings_that_share_data_come_to_no_more_than_the_file(tmp_path: Path) -> None:
    """A list of one string, forty times: far within the bound for one attribute, and more than the file has."""
    path = tmp_path / "shared.h5"
    with h5py.File(path, "w") as file:
        file.attrs["names"] = np.array(["s" * LENGTH, *(f"{k:02}" for k in range(COUNT - 1))], dtype=object)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<I", LENGTH))
    reference = data[at : at + 16]  # length, heap, number in the heap
    for place in range(at, at + 16 * COUNT, 16):
        data[place : place + 16] = reference
    with open_hdf5(bytes(data), "it") as file:
        assert file.attrs["names"].tolist() == ["s" * LENGTH] * COUNT  # as HDF5 reads it
        with pytest.raises(FileError, match="they share data"):
            Strings(bytes(data)).of(file, "names")


def test_strings_that_do_not_share_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "own.h5"
    with h5py.File(path, "w") as file:
        file.attrs["one"], file.attrs["none"] = "x" * 60_000, h5py.Empty("S1")
        file.attrs["many"] = np.array([b"a" * 30] * 100)
    data = path.read_bytes()
    with open_hdf5(data, "it") as file:
        strings = Strings(data)
        assert strings.of(file, "one") == ["x" * 60_000]
        assert strings.of(file, "many") == ["a" * 30] * 100
        assert strings.of(file, "none") == []
        assert strings.of(file, "missing") is None


def test_free_space_of_no_size_among_strings() -> None:
    """Found by fuzzing: HDF5 never came back from reading the attribute."""
    data = bytearray(in_heap("x" * 100))
    heap = data.index(b"GCOL")
    free = heap + 16 + 16 + 104  # behind the heap's own header, the string's, and the string, filled up to 8 bytes
    assert struct.unpack_from("<HxxxxxxQ", data, free) == (0, 4096 - (free - heap))
    struct.pack_into("<Q", data, free + 8, 0)
    with pytest.raises(FileError, match="free space of no size"):
        Strings(bytes(data))


def test_collections_of_strings_that_lie_over_one_another() -> None:
    """Each is gone through, so that together they could take time without bound."""
    heap, string = (b"GCOL\x01\0\0\0", 1 << 20), (b"\x01\0\0\0\0\0\0\0", 16)
    data = in_heap("x") + b"".join(struct.pack("<8sQ", *each) for each in (string, heap)) * 5000
    with pytest.raises(FileError, match="lie over one another"):
        Strings(data)


def in_heap(text: str) -> bytes:
    """A file with this as an attribute of variable length."""
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        file.attrs.create("it", text, dtype=h5py.string_dtype())
    return made.getvalue()
