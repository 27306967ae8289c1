"""Stock Keras on JAX, under jit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from functools import partial
from importlib.metadata import version

import keras

from peers import keras_layers

prepare = partial(keras_layers.prepare, keras.layers.LSTM)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}
