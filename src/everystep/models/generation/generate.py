"""`Model.generate`: from its arguments to tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.tensor import Array
from everystep.models.generation.beam import beam_search
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.feedback import Feedback, check_newest, find_feedback, refuse_unstreamable
from everystep.models.generation.greedy import most_likely, one_by_one
from everystep.models.generation.options import Options, checked_options
from everystep.models.generation.prompts import prompts_of, read_prompts
from everystep.models.generation.sample import drawn
from everystep.models.generation.spares import Spares
from everystep.models.model import Model
from everystep.models.stream import Stream


def generate(model: Model, static: Any, start: Any, feed: Any, return_scores: bool, **options: Any) -> Any:
    """See `Model.generate`."""
    feedback = find_feedback(model, _may_be_fed(model, static, feed), feed)
    how = checked_options(model.name, feedback, options)
    whole = _by_name(model, static, feedback)
    rows = {len(array) for array in whole.values()}
    if len(rows) > 1:
        sizes = ", ".join(f"{len(array)} of {name!r}" for name, array in whole.items())
        raise ShapeError(f"model {model.name!r}: all static inputs must have the same number of rows; got {sizes}")
    prompts = prompts_of(start, feedback, rows.pop() if rows else None)
    if not prompts:
        tokens, scores = np.zeros((0, 0), int), np.zeros(0)
    else:
        spares = Spares(model, feedback.input)
        decoder = Decoder(_opened(spares, len(prompts), whole, feedback), feedback, spares)
        read_prompts(decoder, prompts)
        tokens, scores = _searched(decoder, how, return_scores)
        spares.give_back()
    return (tokens, scores) if return_scores else tokens


def _searched(decoder: Decoder, how: Options, with_scores: bool) -> tuple[Array, Any]:
    if how.method == "beam":
        return beam_search(decoder, how)
    return one_by_one(decoder, how, drawn(how, decoder.rows) if how.method == "sample" else most_likely, with_scores)


def _may_be_fed(model: Model, static: Any, feed: Any) -> list[str]:
    """The names of the inputs that may be fed, of which one is.

    Raises:
        OptionError: static is not the others.
    """
    names = model.input_names
    inputs = ", ".join(map(repr, names))
    if static is None and len(names) > 1:
        raise OptionError(
            f"model {model.name!r} has the inputs {inputs}: one of them is fed with tokens, and static must hold the "
            "others, whole"
        )
    if isinstance(static, dict):
        unknown = [name for name in static if name not in names]
        if unknown or len(static) != len(names) - 1:
            raise OptionError(
                f"model {model.name!r} has the inputs {inputs}; static must hold all but the one that is fed with "
                f"tokens. Got {', '.join(map(repr, static)) or 'none'}"
            )
        return [name for name in names if name not in static]
    if static is not None and len(names) == 1:
        raise OptionError(f"model {model.name!r} has one input, {inputs}, which is fed with tokens; leave static out")
    return names


def _by_name(model: Model, static: Any, feedback: Feedback) -> dict[str, Any]:
    """The static inputs by name."""
    if static is None or isinstance(static, dict):
        return dict(static or {})
    names = [name for name in model.input_names if name != feedback.input]
    if isinstance(static, np.ndarray) and len(names) == 1:
        static = [static]
    if not isinstance(static, (list, tuple)) or len(static) != len(names):
        raise OptionError(
            f"model {model.name!r}: static must hold {', '.join(map(repr, names))}, in a list or a dictionary; got "
            f"{len(static) if isinstance(static, (list, tuple)) else type(static).__name__}"
        )
    return dict(zip(names, static, strict=True))


def _opened(spares: Spares, rows: int, static: dict[str, Any], feedback: Feedback) -> Stream:
    try:
        stream = spares.opened(rows, static)
    except UnsupportedError as error:
        refuse_unstreamable(spares.model, feedback, error)
    check_newest(spares.model, stream, feedback)
    return stream
