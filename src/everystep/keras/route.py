"""Which recurrent layer runs on the engine, which on a loop of `keras.ops`, and why."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, NamedTuple

import keras

from everystep.cells import ACTIVATIONS
from everystep.errors import OptionError
from everystep.keras.cell import cells_of, functions, kind_of

ADAPTERS = {"jax": "everystep.keras.adapters.jax"}  # Keras backend -> the module that runs the engine under it


def hard_sigmoid_keras2(x: Any) -> Any:
    """hard_sigmoid as Keras 2 defined it: 0.2 x + 0.5, clipped to [0, 1]; Keras 3's has the slope 1/6."""
    return keras.ops.clip(0.2 * x + 0.5, 0, 1)


keras.saving.register_keras_serializable("everystep")(hard_sigmoid_keras2)
_NAMES = {id(getattr(keras.activations, name)): name for name in ACTIVATIONS if hasattr(keras.activations, name)}
_NAMES[id(hard_sigmoid_keras2)] = hard_sigmoid_keras2.__name__


class Route(NamedTuple):
    """Where a layer runs.

    Attributes:
        name: "engine", or "loop" for a loop of Keras operations.
        reason: why, in words.
    """

    name: str
    reason: str


class Routes(dict[str, Route]):
    """The route of every recurrent layer of a model, by the layer's path; prints as a table."""

    def __str__(self) -> str:
        rows = [("layer", "route", "why"), *((path, *route) for path, route in self.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        return "\n".join(f"{path:{widths[0]}}  {name:{widths[1]}}  {reason}" for path, name, reason in rows)

    __repr__ = __str__


def routes(model: keras.Layer) -> Routes:
    """The route of every recurrent layer in a model, nested and wrapped ones included, or of one layer.

    A layer's path is made of the names of what it is in: "encoder/bidirectional/forward_lstm". One that is shared
    is listed once.
    """
    if not isinstance(model, keras.Layer):
        raise OptionError(f"routes takes a Keras model or layer; got {type(model).__name__}")
    found = Routes()
    seen: set[int] = set()

    def visit(layer: keras.Layer, path: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if isinstance(layer, keras.layers.RNN):
            found[path] = layer_route(layer)
            return
        for inner in layer._layers:
            visit(inner, inner.name if layer is model else f"{path}/{inner.name}")

    visit(model, model.name)
    return found


def layer_route(layer: keras.layers.RNN) -> Route:
    """The route that this layer takes when it is called, whatever its options and its call's arguments."""
    if not hasattr(layer, "return_gates"):
        kind = type(layer).__name__
        way = "; everystep.keras.with_engine(model) replaces it" if is_replaceable(layer) else ""
        convolution = "; the engine has no convolutional cell" if kind.startswith("ConvLSTM") else ""
        return Route("loop", f"Keras's own {kind}{way}{convolution}")
    obstacle = foreign(layer) or _obstacle(layer)
    if obstacle:
        return Route("loop", obstacle)
    return Route("engine", f"{keras.backend.backend()}, {adapter().computes_in(layer.compute_dtype)}")


def is_replaceable(layer: keras.Layer) -> bool:
    """Whether this is a layer of Keras's own for which we have one that can run on the engine."""
    one_cell = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
    return type(layer) in one_cell or (type(layer) is keras.layers.RNN and foreign(layer) is None)


def foreign(layer: keras.layers.RNN) -> str | None:
    """Why only Keras's own loop, through the layer's cell, can run this layer; None if we have its equations."""
    for cell in cells_of(layer):
        if kind_of(cell) is None:
            return f"its cell {type(cell).__name__} is none of LSTMCell, GRUCell, SimpleRNNCell"
        if cell.dtype_policy.name != layer.dtype_policy.name:
            return f"its cell {cell.name!r} has the dtype {cell.dtype_policy.name}, the layer {layer.dtype_policy.name}"
    return None


def adapter() -> ModuleType:
    """The module that runs the engine under the Keras backend in use."""
    return importlib.import_module(ADAPTERS[keras.backend.backend()])


def activation_name(function: Any) -> str | None:
    """What the engine calls this activation function; None for one that it does not have."""
    return _NAMES.get(id(function))


def _obstacle(layer: Any) -> str | None:
    """Why the engine cannot run this layer; None if it can."""
    if keras.backend.backend() not in ADAPTERS:
        return f"Keras's backend is {keras.backend.backend()!r}; the engine runs under {', '.join(ADAPTERS)}"
    if layer.compute_dtype != layer.variable_dtype:
        return f"mixed precision: computes in {layer.compute_dtype}, keeps weights in {layer.variable_dtype}"
    if layer.compute_dtype not in ("float32", "float64"):
        return f"dtype {layer.compute_dtype}; the engine has float32 and float64"
    for cell in cells_of(layer):
        for argument, function in functions(cell).items():
            if activation_name(function) is None:
                name = getattr(function, "__name__", type(function).__name__)
                return f"{argument} {name!r} is not one that the engine has"
    reason: str | None = adapter().unavailable()
    return reason
