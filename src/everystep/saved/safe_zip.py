"""The members of a .keras archive, read into memory within bounds; nothing is unpacked onto the disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from os import PathLike

from everystep.errors import FileError

MEMBERS = {"metadata.json": 1 << 16, "config.json": 1 << 23, "model.weights.h5": None}  # -> the most bytes of each
EXPANSION, FLOOR = 100, 1 << 24  # Keras does not compress: more than so many times, beyond so many bytes, is a bomb
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def read_archive(path: str | PathLike[str], max_bytes: int) -> dict[str, bytes]:
    """Every member by its name.

    Args:
        max_bytes: the most that they may hold together.

    Raises:
        FileError: it is no zip file or damaged; a member is missing, there twice, or not one of `MEMBERS`; it is
            encrypted, expands too much, or is larger than it says.
    """
    try:
        if os.path.getsize(path) > max_bytes:
            raise FileError(f"it has {os.path.getsize(path)} bytes, and max_bytes is {max_bytes}")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_names([info.filename for info in infos])
            for info in infos:
                _check_size(info, max_bytes)
            total = sum(info.file_size for info in infos)
            if total > max_bytes:
                raise FileError(f"its members hold {total} bytes, and max_bytes is {max_bytes}")
            return {info.filename: _read(archive, info) for info in infos}
    except FileError as error:
        raise FileError(f"{str(path)!r}: {error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FileError(f"{str(path)!r} is not a .keras file, or is damaged: {error}") from error


def _check_names(names: list[str]) -> None:
    for name in names:
        if name.startswith("assets/"):
            raise FileError(f"it has an asset, {name!r}, which a layer would open; no layer of everystep has one")
        if name not in MEMBERS:
            raise FileError(f"it has a member {name!r}; a .keras file has {', '.join(MEMBERS)}")
        if names.count(name) > 1:
            raise FileError(f"it has {name!r} twice")
    missing = [name for name in MEMBERS if name not in names]
    if missing:
        raise FileError(f"it has no {', '.join(missing)}: is it a .keras file?")


def _check_size(info: zipfile.ZipInfo, max_bytes: int) -> None:
    name, size = info.filename, info.file_size
    if info.flag_bits & 1:
        raise FileError(f"{name!r} is encrypted")
    if info.compress_type not in (STORED, DEFLATED):
        raise FileError(f"{name!r} is compressed by method {info.compress_type}; supported are none and deflate")
    most = MEMBERS[name] or max_bytes
    if size > most:
        raise FileError(f"{name!r} holds {size} bytes, and may hold {most}")
    if size > FLOOR and size > EXPANSION * info.compress_size:
        raise FileError(f"{name!r} would expand {info.compress_size} bytes to {size}, more than {EXPANSION} times")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)  # which stops at the size that was checked, whatever the data goes on to
    if len(data) != info.file_size:
        raise FileError(f"{info.filename!r} holds {len(data)} bytes, and says {info.file_size}")
    return data
