"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replaced(path: str) -> Iterator[str]:
    """Where to write the new file; it takes the place of the old one, whole until then, if nothing is raised."""
    unfinished = f"{path}.{os.getpid()}.part"
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)
