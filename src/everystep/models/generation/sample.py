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

AT_ONCE = 64  # numbers that a row's generator makes


def drawn(options: Options, B: int) -> Choose:
    """What chooses the tokens of a step, for `one_by_one`.

    Raises:
        OptionError: the seed is none.
    """
    generators = [np.random.default_rng(seed) for seed in _seeds(options.seed, B)]
    u = np.empty((B, 0))

    def choose(decoder: Decoder, step: int, rows: Array) -> Array:
        nonlocal u
        if step % AT_ONCE == 0:
            u = np.stack([generator.random(AT_ONCE) for generator in generators])
        log_p = decoder.log_probabilities()
        return draw(log_p, u[rows, step % AT_ONCE], options.temperature, options.top_k, options.top_p)

    return choose


def draw(
    log_p: Array, u: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """A token (n) for each row of log-probabilities (n,V), and for u (n) in [0, 1): with weights p**(1/temperature) the
    first up to which the weights' sum is above u of the whole.

    Args:
        temperature, top_k, top_p: as of `Model.generate`; of equal weights those of lower tokens come first.
    """
    with np.errstate(over="ignore"):  # of a temperature near 0 the logarithm is -inf, and the weight 0
        log_weights = (log_p - log_p.max(axis=1, keepdims=True)) / temperature
    weights = np.exp(log_weights)
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
