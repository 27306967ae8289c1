"""Where commands may write."""

from __future__ import annotations

from pathlib import Path

from everystep.errors import OptionError


def require_new(path: str, force: bool) -> None:
    """Raises OptionError if there is such a file already, unless it is meant to go, or nowhere to write it."""
    if Path(path).exists() and not force:
        raise OptionError(f"{path} exists already. Choose another name, or write over it with --force")
    if not Path(path).absolute().parent.is_dir():
        raise OptionError(f"there is no folder {Path(path).absolute().parent} to write {Path(path).name} to")
