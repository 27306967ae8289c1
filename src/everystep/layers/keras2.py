"""Layers whose masks Keras 2 treated otherwise than Keras 3 does.

                                Keras 2                              Keras 3
    merging arrays: masked is   where any array that has a mask is   where all arrays are, each with a mask of its own
    and its numbers are         of all arrays                        in some layers, of those that are not masked there
    Rescaling, Normalization    make an end of masks                 hand them on
    Reshape and the like        make an end of masks                 hand them on where nothing changes
    MultiHeadAttention          leaves its inputs' masks alone       takes them off

They are saved as Keras's classes of the same names; `saved.keras3_changes` says where that may make a difference.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from everystep import layers
from everystep.layers import masks
from everystep.layers.base import Layer
from everystep.layers.operation import Operation
from everystep.layers.tensor import Node, Tensor

MODULE = "keras2.layers"  # in configs on their way from Keras 2's form to a model, and in no file
NUMBERS = ("Maximum", "Minimum", "Multiply")  # whose numbers depend on masks in Keras 3


class Merging(Layer):
    """The base of layers that merge; it goes before Keras 3's class among the bases."""

    by_mask = False

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The `and` of those that there are; along the time axis, masks are joined as arrays are."""
        if isinstance(self, layers.Concatenate) and self.built_shape and self.axis % len(self.built_shape[0]) == 1:
            return super().compute_mask(inputs, mask)
        there = [one for one in mask or () if one is not None]
        return reduce(lambda a, b: masks.apply("LogicalAnd", a, b), there) if there else None


class Unmasking(Layer):
    """The base of layers without a mask; it goes before Keras 3's class among the bases."""

    passes_mask = False

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return False


class Add(Merging, layers.Add):
    """Keras 2's Add."""


class Average(Merging, layers.Average):
    """Keras 2's Average."""


class Concatenate(Merging, layers.Concatenate):
    """Keras 2's Concatenate."""


class Maximum(Merging, layers.Maximum):
    """Keras 2's Maximum."""


class Minimum(Merging, layers.Minimum):
    """Keras 2's Minimum."""


class Multiply(Merging, layers.Multiply):
    """Keras 2's Multiply."""


class Subtract(Merging, layers.Subtract):
    """Keras 2's Subtract."""


class Cropping1D(Unmasking, layers.Cropping1D):
    """Keras 2's Cropping1D."""


class Flatten(Unmasking, layers.Flatten):
    """Keras 2's Flatten."""


class Normalization(Unmasking, layers.Normalization):
    """Keras 2's Normalization."""


class Permute(Unmasking, layers.Permute):
    """Keras 2's Permute."""


class Rescaling(Unmasking, layers.Rescaling):
    """Keras 2's Rescaling."""


class Reshape(Unmasking, layers.Reshape):
    """Keras 2's Reshape."""


class MultiHeadAttention(layers.MultiHeadAttention):
    """Keras 2's MultiHeadAttention."""

    def unmasked(self, node: Node) -> list[Tensor]:
        return []


KERAS2: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        *(Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract),
        *(Cropping1D, Flatten, Normalization, Permute, Rescaling, Reshape),
        MultiHeadAttention,
    )
}


def differs_in_keras3(layer: Operation) -> str | None:
    """What Keras 3's class does otherwise with the masks that come to one of these in a graph; None: nothing."""
    calls = [node for node in layer.nodes if any(tensor.mask is not None for tensor in node.inputs)]
    if not calls or type(layer) is not KERAS2.get(layer.kind):
        return None
    if isinstance(layer, MultiHeadAttention):
        return "takes the masks off its inputs, for the layers after it, and Keras 2's does not"
    if isinstance(layer, Merging):
        differ = layer.kind in NUMBERS or any(len({id(tensor.mask) for tensor in node.inputs}) > 1 for node in calls)
        return "masks a step where all of its arrays are masked, and Keras 2's where any is" if differ else None
    theirs: type[Layer] = getattr(layers, layer.kind)
    kept = any(theirs.returns_its_input(layer, node.inputs[0], node.outputs[0]) for node in calls)
    return "hands the mask on, and Keras 2's does not" if theirs.passes_mask or kept else None
