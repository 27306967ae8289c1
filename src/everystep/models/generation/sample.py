"""Tokens drawn by their probabilities.

Row k draws from a generator of its own, of the k-th child of the seed, a number at each step. So what a row draws
depends neither on the other rows nor on when they end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import OptionError
from everystep.layers.tensor import Array
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.greedy import Choose
from everystep.models.generation.options import Options


def drawn(options: Options, B: int) -> Choose:
    """What chooses the tokens of a step, for `one_by_one`.

    Raises:
        OptionError: the seed is none.
    """
    u = np.stack([np.random.default_rng(seed).random(options.max_length) for seed in _seeds(options.seed, B)])

    def choose(decoder: Decoder, step: int, rows: Array) -> Array:
        return draw(decoder.log_probabilities() / options.temperature, u[rows, step], options.top_k, options.top_p)

    return choose


def draw(log_weights: Array, u: Array, top_k: int | None = None, top_p: float | None = None) -> Array:
    """A token (n) for each row of log-weights (n,V), and for u (n) in [0, 1): the first up to which the weights' sum
    is above u of the whole.

    Args:
        top_k, top_p: as of `Model.generate`; of equal weights those of lower tokens come first.
    """
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    order = None
    if top_k is not None or top_p is not None:
        order = np.argsort(-log_weights, axis=1, kind="stable")
        weights = np.take_along_axis(weights, order, 1)
        if top_k is not None:
            weights[:, top_k:] = 0
        if top_p is not None:
            sums = np.cumsum(weights, axis=1)
            weights[:, 1:][sums[:, :-1] >= top_p * sums[:, -1:]] = 0
    sums = np.cumsum(weights, axis=1)
    place = (sums <= (u * sums[:, -1])[:, None]).sum(axis=1)
    return place if order is None else np.take_along_axis(order, place[:, None], 1)[:, 0]


def _seeds(seed: Any, B: int) -> list[Any]:
    """A seed for each row: of one number its children, of a number for each row the first child of that."""
    one_each = isinstance(seed, (list, tuple, np.ndarray)) and np.ndim(seed) == 1
    numbers = list(seed) if one_each else [seed]
    if any(not _is_seed(number) for number in numbers if number is not None or one_each) or (
        one_each and len(numbers) != B
    ):
        raise OptionError(f"seed must be a whole number from 0 on, or {B}, one for each row, or None; got {seed!r}")
    if one_each:
        return [np.random.SeedSequence(int(number)).spawn(1)[0] for number in numbers]
    return list(np.random.SeedSequence(None if seed is None else int(seed)).spawn(B))


def _is_seed(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and bool(number >= 0)
