"""The engine from JAX: the layers of everystep.keras, under jit."""

from collections.abc import Callable
from typing import Any

from problem import Problem

from peers import keras_jax  # which sets Keras's backend

import everystep.keras  # isort: skip

versions = keras_jax.versions


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    layer = getattr(everystep.keras.layers, p.layer.name)
    route = everystep.keras.routes(layer(1))
    if any(taken.name != "engine" for taken in route.values()):
        raise RuntimeError(f"everystep.keras does not run on the engine here:\n{route}")
    return keras_jax.prepare_layer(layer, p, gradients)
