"""A stack of layers, each called on what the one before returns."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.errors import GraphError, UnsupportedError
from everystep.layers.base import Config, Layer
from everystep.layers.checks import policy
from everystep.layers.input import InputLayer
from everystep.layers.lstm import ADDITIONS
from everystep.layers.tensor import Tensor
from everystep.models import config as configs
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
        self.graph = None
        self._stack: list[Layer] = []
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
        if any(layer.name == other.name for other in self._stack):
            raise GraphError(f"Sequential {self.name!r} already has a layer {layer.name!r}: give one another name")
        if isinstance(layer, InputLayer) and self._stack:
            raise GraphError(f"Sequential {self.name!r} has layers already: an Input comes first")
        asked = [addition for addition in ADDITIONS[:2] if getattr(layer, addition, False)]
        if asked:
            raise UnsupportedError(
                f"layer {layer.name!r} has {', '.join(asked)}; Sequential hands one tensor from layer to layer. "
                "Use the functional API: h, c, gates = layer(x), then Model(inputs, outputs)"
            )
        if not self._stack and layer.input_shape_argument is not None:
            self._stack.append(InputLayer(layer.input_shape_argument, dtype=layer.dtype))
        if not self._stack and isinstance(layer, Model) and layer.graph is not None and len(layer.inputs) == 1:
            first = layer.inputs[0]
            self._stack.append(InputLayer(batch_shape=first.shape, dtype=first.dtype))
        self._stack.append(layer)
        if isinstance(self._stack[0], InputLayer):
            self._extend()

    def pop(self) -> Layer:
        """Takes the last layer off, and returns it."""
        layer = self._stack.pop()
        self.graph, self.built_shape = None, None
        if self._stack and isinstance(self._stack[0], InputLayer):
            self._extend()
        return layer

    def _extend(self) -> None:
        """Calls every layer that is not in the graph yet."""
        inputs = self._stack[0].output
        tensor: Any = inputs
        for layer in self._stack[1:]:
            called = [node.outputs for node in layer.nodes if node.inputs == [tensor]]
            if isinstance(tensor, tuple):
                raise UnsupportedError(
                    f"Sequential {self.name!r} hands one tensor from layer to layer, and the layer below "
                    f"{layer.name!r} returns {len(tensor)}. Use the functional API"
                )
            tensor = (called[0][0] if len(called[0]) == 1 else tuple(called[0])) if called else layer(tensor)
        if len(self._stack) > 1:
            self._connect(inputs, tensor)

    def build(self, input_shape: Any) -> None:
        """Builds the layers for an input of this shape, with the batch axis."""
        if not self._stack:
            raise GraphError(f"Sequential {self.name!r} has no layers")
        if not isinstance(self._stack[0], InputLayer):
            self._stack.insert(0, InputLayer(batch_shape=(None, *input_shape[1:]), dtype=self._stack[0].dtype))
            self._extend()

    @property
    def layers(self) -> list[Layer]:
        """The layers from the first to the last, without the Input."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def ensure_built(self, inputs: Any) -> None:
        if self.graph is None:
            self.build(tuple(inputs.shape))
        super().ensure_built(inputs)

    def _standardized(self, x: Any) -> Any:
        if self.graph is None:
            self.build(np.shape(x))
        return super()._standardized(x)

    def get_config(self) -> Config:
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policy(self.dtype),
            "layers": [configs.serialized(layer) for layer in self._stack],
        }
        if self.graph is not None:
            config["build_input_shape"] = self._stack[0].get_config()["batch_shape"]
        return config
