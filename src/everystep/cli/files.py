"""Files that commands write: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everystep.errors import OptionError


def require_new(path: str, force: bool) -> None:
    """Raises OptionError if there is such a file already, unless it is meant to go, or nowhere to write it."""
    if Path(path).exists() and not force:
        raise OptionError(f"{path} exists already. Choose another name, or write over it with --force")
    if not Path(path).absolute().parent.is_dir():
        raise OptionError(f"there is no folder {Path(path).absolute().parent} to write {Path(path).name} to")


@contextmanager
def whole(path: str) -> Iterator[Path]:
    """A name to write to, in the same folder; the file becomes `path` at the end, or goes if something fails."""
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
