"""Ragged batches: sequences of different lengths as one padded array with a mask, and back.

A list of (T_b,...) becomes (B,T,...), padded on the right, and a mask (B,T) that is True at their own steps. The mask
goes through the graph as Keras takes an explicit mask of that input: the numbers are the padded array's to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DtypeError, ShapeError, UnsupportedError
from everystep.layers import Embedding, Masking
from everystep.layers.base import Layer
from everystep.layers.checks import converted, sizes_fit
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Tensor
from everystep.models.graph import Graph


class Steps(NamedTuple):
    """Where an output's steps come from.

    Attributes:
        source: the number of the input that its time axis is that of.
        turned: whether they come from the last to the first, so that the padding comes first.
    """

    source: int
    turned: bool


def is_ragged(value: Any, tensor: Tensor) -> bool:
    """Whether this is a list of sequences for the input: arrays of one axis less."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(getattr(item, "ndim", None) == tensor.ndim - 1 for item in value)
        and (tensor.ndim > 2 or (tensor.ndim == 2 and (tensor.shape[1] is None or np.dtype(tensor.dtype).kind in "iu")))
    )


def padded(sequences: list[Any], tensor: Tensor, fill: float) -> tuple[Array, Array]:
    """The sequences as one array for the input, filled up on the right, and their lengths (B).

    Raises:
        ShapeError: one has other features, or is too long. DtypeError: one cannot become the input's dtype.
    """
    where = [f"sequence {k} of input {tensor.name!r}" for k in range(len(sequences))]
    arrays = [np.asarray(sequence) for sequence in sequences]
    for name, array in zip(where, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise DtypeError(f"{name} must hold real numbers; got {array.dtype}")
        if not sizes_fit(array.shape[1:], tensor.shape[2:]) or array.shape[1:] != arrays[0].shape[1:]:
            wanted = arrays[0].shape[1:] if None in tensor.shape[2:] else tensor.shape[2:]
            sizes = ",".join(["T", *map(str, wanted)])
            raise ShapeError(f"{name} must be of shape ({sizes}{',' * (not wanted)}); got {array.shape}")
    lengths = np.array([len(array) for array in arrays])
    steps = int(lengths.max()) if tensor.shape[1] is None else tensor.shape[1]
    if lengths.max() > steps:
        raise ShapeError(
            f"{where[int(lengths.argmax())]} has {lengths.max()} steps, and the input takes {steps} at most: cut it, "
            "or make the Input with None for its steps"
        )
    whole = np.full((len(arrays), steps, *arrays[0].shape[1:]), fill, tensor.dtype)
    for row, name, array in zip(whole, where, arrays, strict=True):
        row[: len(array)] = converted(name, array, tensor.dtype)
    return whole, lengths


def own_steps(lengths: Array, steps: int) -> Array:
    """The mask (B,T) of sequences of these lengths."""
    return np.arange(steps) < lengths[:, None]


def fill_of(graph: Graph, tensor: Tensor) -> float:
    """What to fill an input up with: what a Masking that reads it masks, else 0.

    Raises:
        UnsupportedError: a layer that reads it makes a mask of its own, in which the padding would not be masked.
    """
    readers = list(_readers(graph, tensor))
    for layer in readers:
        if isinstance(layer, Embedding) and not layer.mask_zero:
            raise UnsupportedError(
                f"layer {layer.name!r} hands on no mask (mask_zero=False), so that the layers after it would read the "
                f"padding of input {tensor.name!r}. Pass sequences of one length at a time, or make it with "
                "mask_zero=True"
            )
    values = {layer.mask_value for layer in readers if isinstance(layer, Masking)}
    values |= {0 for layer in readers if isinstance(layer, Embedding)}
    if len(values) > 1:
        raise UnsupportedError(
            f"input {tensor.name!r} is read by layers that mask different values, {sorted(values)}, so that it cannot "
            "be filled up for all of them. Pass sequences of one length at a time"
        )
    return values.pop() if values else 0


def _readers(graph: Graph, tensor: Tensor) -> Any:
    """The layers that take this tensor first, those in nested models too."""
    for node in graph.nodes:
        layer = node.operation
        if isinstance(layer, Layer) and node.inputs:
            given = flatten(layer.bind(node.args, node.kwargs)[layer.call_arguments[0]])
            for number, one in enumerate(given):
                if one is tensor:
                    inner = getattr(layer, "graph", None)
                    yield from [layer] if inner is None else _readers(inner, inner.inputs[number])


def steps_of_outputs(graph: Graph, given: list[Steps | None]) -> list[Steps | None]:
    """For each output, where its steps come from, from the same for each input; None where that is of no matter."""
    found = {id(tensor): steps for tensor, steps in zip(graph.inputs, given, strict=True)}
    for node in graph.nodes:
        layer = node.operation
        if not isinstance(layer, Layer) or not node.inputs:
            continue
        first = [found.get(id(one)) for one in flatten(layer.bind(node.args, node.kwargs)[layer.call_arguments[0]])]
        inner = getattr(layer, "graph", None)
        if inner is not None:
            outputs = steps_of_outputs(inner, first)
        else:
            known = {steps for steps in first if steps is not None}
            steps = known.pop() if len(known) == 1 else None  # joined from several: it has no lengths of its own
            if steps is not None and getattr(layer, "go_backwards", False):
                steps = steps._replace(turned=not steps.turned)
            outputs = [steps] * len(node.outputs)
        found |= {id(tensor): steps for tensor, steps in zip(node.outputs, outputs, strict=True)}
    return [found.get(id(tensor)) for tensor in graph.outputs]


def cut(
    graph: Graph, inputs: list[Array], outputs: list[Array], masks: list[Any], lengths: list[Array | None]
) -> list[Any]:
    """The outputs, each that has the steps of a ragged input as a list of arrays (T_b,...) of the true lengths."""
    given = [None if one is None else Steps(k, False) for k, one in enumerate(lengths)]
    found: list[Any] = []
    for tensor, array, mask, steps in zip(graph.outputs, outputs, masks, steps_of_outputs(graph, given), strict=True):
        its, T = (None, 0) if steps is None else (lengths[steps.source], inputs[steps.source].shape[1])
        # Gates follow the steps, and carry no mask.
        gates = getattr(tensor.history.operation, "return_gates", False) and array.ndim == 4
        follows = gates or (mask is not None and mask.ndim == 2)
        if its is None or steps is None or not follows or array.shape[1] != T:
            found.append(array)
        else:
            found.append([row[T - n :] if steps.turned else row[:n] for row, n in zip(array, its, strict=True)])
    return found
