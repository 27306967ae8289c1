"""What the numbers are that tokens are chosen from: probabilities, their logarithms, or logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import UnsupportedError
from everystep.layers import (
    Activation,
    Add,
    Average,
    Conv1D,
    Dense,
    Identity,
    Rescaling,
    Softmax,
    Subtract,
    TimeDistributed,
)
from everystep.layers.activations import activate
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Tensor
from everystep.models.model import Model

PROBABILITIES, LOGARITHMS, LOGITS = "probabilities", "log-probabilities", "logits"
BY_ACTIVATION = {"softmax": PROBABILITIES, "log_softmax": LOGARITHMS, "linear": LOGITS}
BY_FUNCTION = {"Softmax": PROBABILITIES, "LogSoftmax": LOGARITHMS}
LINEAR = ("Add", "Subtract", "Multiply", "TrueDivide")  # functions, of logits and numbers


def scale_of(tensor: Tensor) -> str:
    """The scale of an output along its last axis, by the layer that returns it.

    Raises:
        UnsupportedError: that layer does not say; the message is why.
    """
    operation, node_index, place = tensor.history
    node, rank = operation.nodes[node_index], tensor.ndim
    layer: Any = operation
    while isinstance(layer, TimeDistributed):
        layer, rank = layer.layer, rank - 1
    if isinstance(layer, Model):
        return scale_of(layer.graph.outputs[place])
    if isinstance(layer, Softmax):
        return _along_last(layer, layer.axis, rank, PROBABILITIES)
    if layer.kind in BY_FUNCTION and not hasattr(layer, "activation"):
        return _along_last(layer, layer.options["axis"], rank, BY_FUNCTION[layer.kind])
    if isinstance(layer, Activation) and layer.activation == "linear":
        try:
            return scale_of(node.inputs[0])
        except UnsupportedError:  # it says that these are logits
            return LOGITS
    if isinstance(layer, (Dense, Conv1D, Activation)):
        if layer.activation in BY_ACTIVATION:
            return BY_ACTIVATION[layer.activation]
        raise UnsupportedError(f"its activation is {layer.activation!r}, which makes no probabilities. {HOW_TO_END}")
    if isinstance(layer, Identity):
        return scale_of(node.inputs[0])
    if isinstance(layer, (Add, Subtract, Average, Rescaling)) or layer.kind in LINEAR:
        of_numbers = all(
            isinstance(leaf, (Tensor, int, float)) for leaf in flatten([*node.args, *node.kwargs.values()])
        )
        product_of_two = layer.kind in ("Multiply", "TrueDivide") and len(node.inputs) > 1
        if of_numbers and not product_of_two and {scale_of(one) for one in node.inputs} == {LOGITS}:
            return LOGITS
    raise UnsupportedError(f"it comes from {layer.name!r} ({layer.kind}), which does not say what it is. {HOW_TO_END}")


HOW_TO_END = "End the model in Dense or Activation with 'softmax', 'log_softmax', or 'linear', which is taken as logits"


def _along_last(layer: Any, axis: Any, rank: int, scale: str) -> str:
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if [one % rank for one in axes] != [rank - 1]:
        raise UnsupportedError(f"{layer.name!r} ({layer.kind}) goes along axis {axis}, and not along the last")
    return scale


def log_probabilities(y: Array, scale: str) -> Array:
    """The logarithms of the probabilities (...,V), in float64; a row's bits do not depend on the others."""
    x = y.astype(np.float64)
    if scale == LOGITS:
        return activate("log_softmax", x)
    if scale == PROBABILITIES:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.minimum(x, 1)))  # what was rounded to more than 1 is 1
    return x
