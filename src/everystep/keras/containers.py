"""Keras's containers of layers. They pass on Keras's standard outputs, and refuse a layer that returns more."""

from __future__ import annotations

from typing import Any

import keras

from everystep.errors import UnsupportedError

ADDITIONS = ("return_cell_sequences", "return_gates")


@keras.saving.register_keras_serializable("everystep")
class Bidirectional(keras.layers.Bidirectional):
    """Keras's Bidirectional; refuses a layer with `return_cell_sequences` or `return_gates`."""

    def __init__(
        self,
        layer: keras.Layer,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: keras.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        for given in (layer, backward_layer):
            _refuse_additions(
                given,
                "Bidirectional merges one output of each direction",
                "call two LSTMs, the second with go_backwards=True, and merge their outputs yourself",
            )
        super().__init__(layer, merge_mode, weights, backward_layer, **kwargs)


@keras.saving.register_keras_serializable("everystep")
class TimeDistributed(keras.layers.TimeDistributed):
    """Keras's TimeDistributed; refuses a layer with `return_cell_sequences` or `return_gates`."""

    def __init__(self, layer: keras.Layer, **kwargs: Any) -> None:
        _refuse_additions(
            layer,
            "TimeDistributed stacks one output of its layer",
            "fold the outer time axis into the batch with Reshape, and call the LSTM on that",
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
    asked = [name for name in ADDITIONS if getattr(layer, name, False)]
    if asked:
        raise UnsupportedError(
            f"layer {layer.name!r} has {', '.join(asked)}; {reason}. Use the functional API: {instead}."
        )
