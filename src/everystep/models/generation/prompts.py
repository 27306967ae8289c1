"""What is read before the first token is made: one token in all rows, or a prompt in each."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.tensor import Array
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.feedback import Feedback


def prompts_of(start: Any, feedback: Feedback, rows: int | None) -> list[Array]:
    """A prompt (n) for each row, n from 1 on.

    Args:
        start: a token, or prompts.
        rows: B, as static inputs have it; None without those, and then a token is one row.

    Raises:
        OptionError, ShapeError, DtypeError: start is something else, or a token is none of the input's.
    """
    if start is None:
        raise OptionError("start is missing: what the input reads first, a token id or a prompt for each row")
    if isinstance(start, (bool, str, bytes, dict)) or not isinstance(start, (int, np.integer, np.ndarray, list, tuple)):
        _refuse(start)
    if isinstance(start, (int, np.integer)) or (isinstance(start, np.ndarray) and not start.ndim):
        return [_ids("start", [start], feedback)] * (1 if rows is None else rows)
    if len(start) and not any(isinstance(one, (list, tuple)) or np.ndim(one) for one in start):
        raise ShapeError(
            f"start of one axis, {len(start)} ids, may be a token for each row or one row's prompt: pass "
            "[[id], [id], ...] for the one and [[id, id, ...]] for the other; or one id for all rows"
        )
    prompts = [_ids(f"start[{k}]", one, feedback) for k, one in enumerate(start)]
    if rows is not None and len(prompts) != rows:
        raise ShapeError(
            f"start must hold a prompt for each of the {rows} rows of the static inputs; got {len(prompts)}"
        )
    return prompts


def read_prompts(decoder: Decoder, prompts: list[Array]) -> None:
    """Reads a prompt in each row; those of one length at once."""
    lengths = [len(prompt) for prompt in prompts]
    for length in sorted(set(lengths)):
        rows = np.array([row for row, its in enumerate(lengths) if its == length])
        tokens = np.array([prompts[row] for row in rows])
        its = decoder if len(rows) == len(prompts) else decoder.fork(rows)
        if length == 1:
            its.step(tokens[:, 0])
        else:
            its.read(tokens)
        if its is not decoder:
            decoder.take(rows, its)


def _ids(where: str, prompt: Any, feedback: Feedback) -> Array:
    try:
        ids = np.asarray(prompt)
    except ValueError:  # of sequences of different lengths
        raise ShapeError(f"{where} must be a sequence of token ids; got {prompt!r}") from None
    if ids.ndim != 1 or not len(ids):
        raise ShapeError(f"{where} must be a sequence of token ids, one or more; got shape {ids.shape}")
    if ids.dtype.kind not in "iu":
        raise DtypeError(f"{where} must hold token ids, which are whole numbers; got {ids.dtype}")
    if ids.min() < 0 or ids.max() >= feedback.ids:
        wrong = ids[(ids < 0) | (ids >= feedback.ids)][0]
        raise OptionError(f"{where}: input {feedback.input!r} takes ids from 0 to {feedback.ids - 1}; got {wrong}")
    return ids.astype(np.intp)


def _refuse(start: Any) -> NoReturn:
    raise DtypeError(
        "start must be a token id, prompts in an array (B,n) of whole numbers, or a list of sequences of ids; got "
        f"{type(start).__name__}"
    )
