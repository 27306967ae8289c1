"""A time step as a line of text, and the line that answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep.errors import FileError
from everystep.layers.structure import flatten

NUMBERS, JSON = "numbers", "JSON"


def parse(line: bytes, names: Sequence[str], batch_size: int) -> tuple[str, Any]:
    """The form of a line, and what `Stream.step` takes.

    Args:
        line: with its end.
        names: of the inputs that are streamed.
        batch_size: B; a line of one sequence leaves the first axis out.

    Raises:
        FileError, ValueError, RecursionError: it is no step.
    """
    text = line.decode().strip()
    if not text:
        raise FileError("it is empty; a line is one step")
    if text[0] not in "[{":
        if batch_size > 1 or len(names) > 1:
            raise FileError(
                f"{batch_size} sequences of {len(names)} inputs take a line of JSON; got {text[:60]!r}. See --help"
            )
        return NUMBERS, np.array([[_number(word) for word in re.split(r"\s*,\s*|\s+", text)]])
    value = json.loads(text, object_pairs_hook=_object)
    if not isinstance(value, dict):
        if len(names) > 1:
            raise FileError(f"there are several inputs: pass an object by their names, {', '.join(map(repr, names))}")
        return JSON, _array(value, batch_size)
    unknown = [name for name in value if name not in names]
    missing = [name for name in names if name not in value]
    if unknown or missing:
        raise FileError(
            f"the streamed inputs are {', '.join(map(repr, names))}; "
            f"the object has {', '.join(map(repr, value)) or 'none'}"
        )
    return JSON, {name: _array(part, batch_size) for name, part in value.items()}


def answer(returned: Any, names: Sequence[str], form: str, batch_size: int) -> str:
    """What `Stream.step` returned, in the form of the line that it answers; without its end.

    A number has the fewest digits that give it again in its dtype.
    """
    arrays = [array[0] if batch_size == 1 else array for array in flatten(returned)]
    if form == NUMBERS and len(arrays) == 1:
        return " ".join(map(str, arrays[0].reshape(-1)))
    values = [_nested(array) for array in arrays]
    return json.dumps(values[0] if len(values) == 1 else dict(zip(names, values, strict=True)))


def _number(word: str) -> int | float:
    try:
        if "_" in word:  # which Python allows
            raise ValueError
        return int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)
    except ValueError:
        raise FileError(f"numbers expected, with spaces or commas between them, or JSON; got {word[:60]!r}") from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise FileError("the object has a name twice")
    return found


def _array(value: Any, batch_size: int) -> Any:
    array = np.asarray(value)
    return array[None] if batch_size == 1 else array


def _nested(array: Any) -> Any:
    """Lists of numbers; each the float nearest to the shortest digits in its dtype, so that Python writes those."""
    if array.dtype.kind != "f":
        return array.tolist()
    return np.array([float(str(number)) for number in array.reshape(-1)]).reshape(array.shape).tolist()
