"""What a model of Keras 2 needs to become one that stock Keras 3 computes equally.

`hard_sigmoid` was clip(0.2x + 0.5, 0, 1) and is clip(x/6 + 0.5, 0, 1): the old one of x is the new one of 1.2x. So
where it is applied to sums of products, as in gates, the weights of those sums are multiplied by 1.2, which rounds each
of them once. Where it is applied to something else, as to an LSTM's cell state, it stays a function of everystep.keras.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from everystep.layers import Conv1D, Dense, SeparableConv1D
from everystep.layers.base import Layer
from everystep.layers.cell import Cell
from everystep.layers.gru import GRUCell
from everystep.layers.keras2 import differs_in_keras3
from everystep.layers.lstm import LSTMCell
from everystep.layers.simple_rnn import SimpleRNNCell
from everystep.layers.tensor import Array
from everystep.models import Model
from everystep.models.reader import from_serialized

OLD, NEW, FACTOR = "hard_sigmoid_keras2", "hard_sigmoid", 1.2
FIRST = "depthwise_kernel"  # of a separable convolution: the sums are those of the second, and scaled once
ARGUMENTS = ("activation", "recurrent_activation")


def keras3_changes(model: Model) -> list[str]:
    """What `model.save` writes otherwise than it is, for stock Keras 3: a sentence for each layer; often none."""
    if model.beyond_keras():
        return []
    activations = [
        f"layer {path!r}: {argument} {OLD} (Keras 2's hard_sigmoid) becomes {NEW}, its weights multiplied by {FACTOR}"
        if gates is not None
        else f"layer {path!r}: {argument} {OLD} (Keras 2's hard_sigmoid) has no counterpart there; it is written as a "
        "function of everystep.keras, to be imported before the file is opened"
        for path, layer in model.flat_layers().items()
        for argument, gates in _old_activations(layer)
    ]
    masks = [
        f"layer {path!r}: Keras 3's {layer.kind} {difference}: masked steps may come out otherwise"
        for path, layer in model.flat_layers().items()
        if (difference := differs_in_keras3(layer))
    ]
    return activations + masks


def for_keras3(model: Model) -> Model:
    """The model as stock Keras 3 computes it: itself, or a copy with other weights where `keras3_changes` says so."""
    found = {path: dict(_old_activations(layer)) for path, layer in model.flat_layers().items()}
    if model.beyond_keras() or not any(gates is not None for one in found.values() for gates in one.values()):
        return model
    copy = from_serialized(model.serialized())
    copy.set_weights(model.get_weights())
    for path, layer in copy.flat_layers().items():
        for argument, gates in found[path].items():
            if gates is not None:
                setattr(layer, argument, NEW)
                named = layer.named_weights.items()
                layer.set_weights(
                    [weight if name == FIRST else _scaled(layer, weight, gates) for name, weight in named]
                )
    return copy


def _old_activations(layer: Layer) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Each argument with the old function, and the gates whose sums it is applied to; None: or to something else."""
    for argument in ARGUMENTS:
        if getattr(layer, argument, None) == OLD and (argument == "activation" or not isinstance(layer, SimpleRNNCell)):
            yield argument, _gates(layer, argument)


def _gates(layer: Layer, argument: str) -> tuple[str, ...] | None:
    if isinstance(layer, (Dense, Conv1D, SeparableConv1D)):
        return ("all",)
    if isinstance(layer, SimpleRNNCell):
        return ("h",)
    if isinstance(layer, LSTMCell):  # whose activation is also that of c
        return ("i", "f", "o") if argument == "recurrent_activation" else None
    if isinstance(layer, GRUCell):
        return ("z", "r") if argument == "recurrent_activation" else ("g",)
    return None


def _scaled(layer: Layer, weight: Array, gates: tuple[str, ...]) -> Array:
    """A weight with the columns of these gates multiplied."""
    names = layer.spec.gates if isinstance(layer, Cell) else gates
    factors = np.array([FACTOR if name in gates else 1.0 for name in names])
    columns = np.repeat(factors, weight.shape[-1] // len(names))
    return np.asarray(weight * columns, weight.dtype)
