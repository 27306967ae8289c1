"""Keras's containers of layers. They pass on Keras's standard outputs, and refuse a layer that returns more."""

from __future__ import annotations

from typing import Any

import keras

from everystep.errors import UnsupportedError
from everystep.keras.recurrent import EXTRA_OUTPUTS


@keras.saving.register_keras_serializable("everystep")
class TimeDistributed(keras.layers.TimeDistributed):
    """Keras's TimeDistributed; refuses a layer with `return_cell_sequences` or `return_gates`."""

    def __init__(self, layer: keras.Layer, **kwargs: Any) -> None:
        _refuse_additions(
            layer,
            "TimeDistributed stacks one output of its layer",
            "fold the outer time axis into the batch with Reshape, and call the layer on that",
        )
        super().__init__(layer, **kwargs)


@keras.saving.register_keras_serializable("everystep")
class Sequential(keras.Sequential):
    """Keras's Sequential; refuses a layer with `return_cell_sequences` or `return_gates`."""

    def add(self, layer: Any, rebuild: bool = True) -> None:
        _refuse_additions(
            layer,
            "Sequential hands one tensor from layer to layer",
            "h, c, gates = layer(x), then Model(inputs, outputs)",
        )
        super().add(layer, rebuild=rebuild)


def _refuse_additions(layer: Any, reason: str, instead: str) -> None:
    asked = [name for name in EXTRA_OUTPUTS if getattr(layer, name, False)]
    if asked:
        raise UnsupportedError(
            f"layer {layer.name!r} has {', '.join(asked)}; {reason}. Use the functional API: {instead}."
        )
