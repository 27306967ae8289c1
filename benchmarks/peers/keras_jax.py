"""Keras on JAX, under jit; `prepare_layer` is also everystep.keras's."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from problem import Problem

from peers.keras_layers import built


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    return prepare_layer(getattr(keras.layers, p.layer.name), p, gradients)


def prepare_layer(Layer: Any, p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    layer = built(Layer, p)
    d_h = jnp.asarray(p.d_h)

    def forward(x: Any, states: Any, weights: Any) -> Any:
        others = [variable.value for variable in layer.non_trainable_variables]
        return layer.stateless_call(weights, others, x, initial_state=states)[0]

    def loss(*inputs: Any) -> tuple[Any, Any]:
        h = forward(*inputs)
        return jnp.vdot(h, d_h), h

    weights = [variable.value for variable in layer.trainable_variables]
    inputs = (jnp.asarray(p.x), [jnp.asarray(state) for state in p.states], weights)
    function = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True) if gradients else forward)

    def call() -> Any:
        return jax.block_until_ready(function(*inputs))

    def arrays(results: Any) -> list[Any]:
        if not gradients:
            return [np.asarray(results)]
        (_, h), (d_x, d_states, d_weights) = results
        return [np.asarray(value) for value in (h, d_x, *d_states, *d_weights)]

    return call, arrays
