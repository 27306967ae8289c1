"""A stack of layers, each called on what the one before returns."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.errors import GraphError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.checks import policy
from everystep.layers.input import InputLayer
from everystep.layers.operation import Config
from everystep.layers.recurrent import EXTRA_OUTPUTS
from everystep.layers.tensor import Tensor
from everystep.models.graph import Graph
from everystep.models.model import Model


class Sequential(Model):
    """Keras's Sequential.

    It is built as soon as it knows the shape of its input: from an Input at its start, from the `input_shape` of its
    first layer, or from the first call.

    Args:
        layers: to begin with.
        name, trainable: as of a Model.
    """

    module: ClassVar[str] = "keras"

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None) -> None:
        Layer.__init__(self, name=name, trainable=trainable)
        self._graph = None
        self._stack: list[Layer] = []
        self._tensors: list[Any] = []  # what each layer of the stack returns; empty as long as no Input is at its start
        for layer in layers or ():
            self.add(layer)

    @property
    def kind(self) -> str:
        return "Sequential"

    def add(self, layer: Any) -> None:
        """Puts a layer, or a model, on top.

        Raises:
            GraphError: it is no layer, its name is taken, or it is an Input that is not at the start.
            UnsupportedError: the layer below, or this one, returns more than one tensor.
        """
        if isinstance(layer, Tensor) and isinstance(layer.history.operation, InputLayer):
            layer = layer.history.operation
        if not isinstance(layer, Layer):
            raise GraphError(f"Sequential {self.name!r} takes layers; got {type(layer).__name__}")
        if any(layer.name == other.name for other in self.layers):
            raise GraphError(f"Sequential {self.name!r} already has a layer {layer.name!r}: give one another name")
        if isinstance(layer, InputLayer) and self._stack:
            raise GraphError(f"Sequential {self.name!r} has layers already: an Input comes first")
        asked = [addition for addition in EXTRA_OUTPUTS if getattr(layer, addition, False)]
        if asked:
            raise UnsupportedError(
                f"layer {layer.name!r} has {', '.join(asked)}; Sequential hands one tensor from layer to layer. "
                "Use the functional API: h, c, gates = layer(x), then Model(inputs, outputs)"
            )
        if not self._stack and layer.input_shape_argument is not None:
            self._begin(layer.input_shape_argument, layer.dtype)
        elif not self._stack and isinstance(layer, Model) and layer.built and len(layer.inputs) == 1:
            self._begin(layer.inputs[0].shape[1:], layer.inputs[0].dtype)
        if isinstance(layer, InputLayer):
            self._tensors = [layer.output]
        elif self._tensors:
            self._tensors.append(self._called(layer))
        self._stack.append(layer)
        self._reconnect()

    def pop(self) -> Layer:
        """Takes the last layer off, and returns it."""
        if not self._stack:
            raise GraphError(f"Sequential {self.name!r} has no layers")
        self._tensors = self._tensors[:-1]
        layer = self._stack.pop()
        self._reconnect()
        return layer

    def build(self, input_shape: Any) -> None:
        """Builds the layers for an input of this shape, with the batch axis."""
        if not self._stack:
            raise GraphError(f"Sequential {self.name!r} has no layers")
        if self._tensors:
            _ = self.graph  # raises where there is but an Input
            return
        layers, self._stack = self._stack, []
        self._begin(tuple(input_shape[1:]), layers[0].dtype)
        for layer in layers:
            self.add(layer)

    @property
    def graph(self) -> Graph:
        if self._graph is None and self._tensors:
            raise GraphError(f"Sequential {self.name!r} has no layers on its Input: add one")
        return super().graph

    def _begin(self, shape: Any, dtype: str) -> None:
        """Puts an Input at the start."""
        self.add(InputLayer(shape, dtype=dtype))

    def _called(self, layer: Layer) -> Any:
        below = self._tensors[-1]
        if isinstance(below, tuple):
            raise UnsupportedError(
                f"Sequential {self.name!r} hands one tensor from layer to layer, and the layer below {layer.name!r} "
                f"returns {len(below)}. Use the functional API"
            )
        return layer(below)

    def _reconnect(self) -> None:
        self._graph, self.built_shape = None, None
        if len(self._tensors) > 1:
            self._connect(self._tensors[0], self._tensors[-1])

    @property
    def layers(self) -> list[Layer]:
        """The layers from the first to the last, without the Input."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def ensure_built(self, inputs: Any) -> None:
        if not self.built:
            self.build(tuple(inputs.shape))
        super().ensure_built(inputs)

    def _standardized(self, x: Any) -> Any:
        if not self.built:
            one = x[0] if isinstance(x, (list, tuple)) and x and hasattr(x[0], "shape") else None
            self.build(np.shape(x) if one is None else (None, None, *one.shape[1:]))
        return super()._standardized(x)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._stack, self.trainable, self.name)

    def get_config(self) -> Config:
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policy(self.dtype),
            "layers": [layer.serialized() for layer in self._stack],
        }
        if self.built:
            config["build_input_shape"] = self._stack[0].get_config()["batch_shape"]
        return config
