"""How to generate: the arguments of `Model.generate` that are numbers, checked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DtypeError, OptionError
from everystep.models.generation.feedback import Feedback

METHODS = ("greedy", "beam", "sample")
MOST_LOG = 600  # e**600 and e**-600 are floats, and so are sums divided by them
DEFAULTS: dict[str, dict[str, Any]] = {
    "beam": {"beam_width": 4, "length_penalty": 0.0},
    "sample": {"temperature": 1.0, "top_k": None, "top_p": None, "seed": None},
}


class Options(NamedTuple):
    """See `Model.generate`."""

    end: int | None
    max_length: int
    method: str
    beam_width: int
    length_penalty: float
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: Any


def checked_options(model: str, feedback: Feedback, given: dict[str, Any]) -> Options:
    """The options, where each is what it may be, and belongs to the method.

    Raises:
        OptionError, DtypeError: one is not, or does not.
    """
    method = given["method"]
    if method not in METHODS:
        raise OptionError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
    for other, defaults in DEFAULTS.items():
        set_ = [name for name, default in defaults.items() if not _is(given[name], default)]
        if other != method and set_:
            raise OptionError(f"{', '.join(set_)}: of method={other!r}, and method is {method!r}; leave it out")
    end = given["end"]
    if end is not None:
        if isinstance(end, bool) or not isinstance(end, (int, np.integer)):
            raise DtypeError(f"end must be a token id, or None; got {end!r}")
        if not 0 <= end < feedback.V:
            raise OptionError(f"end must be a token that the output has, from 0 to {feedback.V - 1}; got {end}")
    top_k, top_p = given["top_k"], given["top_p"]
    max_length = _count("max_length", given["max_length"])
    return Options(
        end=None if end is None else int(end),
        max_length=max_length,
        method=method,
        beam_width=_count("beam_width", given["beam_width"]),
        length_penalty=_penalty(given["length_penalty"], max_length),
        temperature=_number("temperature", given["temperature"], above=0.0),
        top_k=None if top_k is None else _count("top_k", top_k),
        top_p=None if top_p is None else _number("top_p", top_p, above=0.0, up_to=1.0),
        seed=given["seed"],
    )


def _is(value: Any, default: Any) -> bool:
    return value is default or (np.ndim(value) == 0 and bool(value == default))


def _penalty(value: Any, max_length: int) -> float:
    penalty = _number("length_penalty", value)
    if abs(penalty * math.log(max_length)) > MOST_LOG:
        raise OptionError(f"length_penalty: {max_length}**{penalty:g}, of max_length, is beyond what floats hold")
    return penalty


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"{name} must be a whole number from 1 on; got {value!r}")
    return int(value)


def _number(name: str, value: Any, above: float = -math.inf, up_to: float = math.inf) -> float:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not above < value <= up_to or math.isinf(value):
        words = "" if above == -math.inf else f" above {above:g}" + ("" if up_to == math.inf else f", up to {up_to:g}")
        raise OptionError(f"{name} must be a number{words}; got {value!r}")
    return float(value)
