"""`Model.generate`: from its arguments to tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import UnsupportedError
from everystep.layers.tensor import Array
from everystep.models.generation.beam import beam_search
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.feedback import Feedback, check_newest, find_feedback, refuse_unstreamable
from everystep.models.generation.greedy import most_likely, one_by_one
from everystep.models.generation.options import Options, checked_options
from everystep.models.generation.prompts import prompts_of, read_prompts
from everystep.models.generation.sample import drawn
from everystep.models.generation.spares import Spares
from everystep.models.generation.static import by_name, may_be_fed
from everystep.models.model import Model
from everystep.models.stream import Stream


def generate(model: Model, static: Any, start: Any, feed: Any, return_scores: bool, **options: Any) -> Any:
    """See `Model.generate`."""
    feedback = find_feedback(model, may_be_fed(model, static), feed)
    how = checked_options(model.name, feedback, options)
    whole = by_name(model, static, feedback.input)
    prompts = prompts_of(start, feedback, len(next(iter(whole.values()))) if whole else None)
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


def _opened(spares: Spares, rows: int, static: dict[str, Any], feedback: Feedback) -> Stream:
    try:
        stream = spares.opened(rows, static)
    except UnsupportedError as error:
        refuse_unstreamable(spares.model, feedback, error)
    check_newest(spares.model, stream, feedback)
    return stream
