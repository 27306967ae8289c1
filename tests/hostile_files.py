"""Files that no one should load: how they are made, and how it is seen that they are refused in bounded memory."""

from __future__ import annotations

import resource
import warnings
import zipfile
from pathlib import Path

import pytest

from everystep import load_model
from everystep.errors import EverystepError, FileError

Members = dict[str, bytes]
ROOM = 1 << 28  # bytes of address space that a load may have beyond what the process has


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> None:
    pairs = list(members.items()) if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in pairs:
            archive.writestr(name, content)


def assert_refused(path: Path, message: str, error: type[EverystepError] = FileError) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    try:
        with pytest.raises(error, match=message) as found:
            load_model(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert path.name in str(found.value)
