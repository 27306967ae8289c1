"""The engine from JAX: the layer of everystep.keras, under jit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from functools import partial
from importlib.metadata import version

import everystep.keras
from peers import keras_layers

LAYER = everystep.keras.layers.LSTM
prepare = partial(keras_layers.prepare, LAYER)


def versions() -> dict[str, str]:
    route = everystep.keras.routes(LAYER(1))
    if any(taken.name != "engine" for taken in route.values()):
        raise RuntimeError(f"everystep.keras does not run on the engine here:\n{route}")
    return {name: version(name) for name in ("keras", "jax")}
