"""The engine from JAX: the layers of everystep.keras, under jit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from problem import Problem

import everystep.keras
from peers import keras_layers


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    layer = getattr(everystep.keras.layers, p.layer.name)
    route = everystep.keras.routes(layer(1))
    if any(taken.name != "engine" for taken in route.values()):
        raise RuntimeError(f"everystep.keras does not run on the engine here:\n{route}")
    return keras_layers.prepare(layer, p, gradients)
