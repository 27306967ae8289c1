"""JSON of a file that nobody vouches for."""

from __future__ import annotations

import json
from typing import Any

from everystep.errors import FileError

DEPTH = 100  # of a model in a model in a model, each takes four


def parse(data: bytes, where: str) -> dict[str, Any]:
    """The object that `data` is.

    Args:
        where: the file and its member, for the message.

    Raises:
        FileError: it is no JSON object in UTF-8, has a key twice, or is nested deeper than `DEPTH`.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise FileError(f"{where} is nested deeper than {DEPTH}") from None
    except ValueError as error:  # a FileError too
        raise FileError(f"{where} is not valid: {error}") from None
    if not isinstance(value, dict):
        raise FileError(f"{where} holds a {type(value).__name__}, not an object")
    level: list[Any] = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    if level:
        raise FileError(f"{where} is nested deeper than {DEPTH}")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise FileError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return made
