"""Keras on JAX, all of it under one jit: the encoder, and a loop of as many steps as there are tokens at most."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from decoding import MOST, START, Decoding, W, best

from decoders.keras_halves import versions
from decoders.keras_step import Halves

__all__ = ["prepare", "versions"]


def prepare(d: Decoding) -> Callable[[], np.ndarray]:
    both, source = Halves(d, unroll=False), d.source

    def greedy(source: Any) -> Any:
        def step(last: Any, _: None) -> Any:
            tokens, states = both.greedy(*last)
            return (tokens, states), tokens

        start = jnp.full(d.batch, START), both.encode(source)
        return jax.lax.scan(step, start, length=MOST)[1]

    def beam(source: Any) -> Any:
        def step(last: Any, _: None) -> Any:
            *following, parents = both.beam(*last)
            return tuple(following), (parents, following[1])

        first = both.widen(both.encode(source))
        _, (parents, tokens) = jax.lax.scan(step, first, length=MOST - 1)
        return jnp.concatenate([jnp.zeros((1, d.batch, W), parents.dtype), parents]), jnp.concatenate(
            [first[1][None], tokens]
        )

    if d.method == "greedy":
        whole = jax.jit(greedy)
        return lambda: np.asarray(whole(source)).T

    search = jax.jit(beam)

    def call() -> np.ndarray:
        parents, tokens = map(np.asarray, search(source))
        return best(list(parents), list(tokens))

    return call
