"""Stock Keras on JAX, under jit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import keras
from problem import Problem

from peers import keras_layers


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    return keras_layers.prepare(getattr(keras.layers, p.layer.name), p, gradients)
