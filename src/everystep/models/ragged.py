"""Ragged batches: sequences of different lengths as one padded array with a mask, and back.

A list of (T_b,...) becomes (B,T,...), padded on the right, and a mask (B,T) that is True at their own steps. The mask
goes through the graph as Keras takes an explicit mask of that input: the numbers are the padded array's to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DtypeError, ShapeError, UnsupportedError
from everystep.layers import Bidirectional, Concatenate, Embedding, Masking
from everystep.layers.base import Layer
from everystep.layers.checks import converted, sizes_fit
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Node, Tensor
from everystep.models.graph import Graph


class Steps(NamedTuple):
    """Where an array's steps come from.

    Attributes:
        source: the number of the input that its time axis is that of.
        padding: where it stands: "after" each row's own steps, "before" them in steps from the last to the first,
            "between" them where sequences are joined along time; "none" if all rows are as long as the input.
    """

    source: int
    padding: str


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


def own_steps(array: Array, lengths: Array, mask: Any, where: str) -> Array:
    """The mask (B,T) of an input's array of sequences of these lengths; where one is given too, of what both keep.

    Raises:
        ShapeError: the one given is not (B,T), nor (B,T,I) as Keras takes it.
    """
    own: Array = np.arange(array.shape[1]) < lengths[:, None]
    if mask is None:
        return own
    given: Array = np.asarray(mask, bool)
    if given.ndim == 3:  # as in Keras, a step counts if any of its features does
        given = np.any(given, axis=-1)
    if given.shape != own.shape:
        raise ShapeError(
            f"{where}: the mask of a ragged batch must be (B,T), here {own.shape}, as it is padded on the right; "
            f"got {np.shape(mask)}"
        )
    return np.logical_and(own, given)


def fill_of(graph: Graph, tensor: Tensor) -> float:
    """What to fill an input up with: what a Masking that reads it masks, else 0.

    Raises:
        UnsupportedError: a layer that reads it makes a mask of its own, in which the padding would not be masked.
    """
    layers = list(readers(graph, tensor))
    for layer in layers:
        if isinstance(layer, Embedding) and not layer.mask_zero:
            raise UnsupportedError(
                f"layer {layer.name!r} hands on no mask (mask_zero=False), so that the layers after it would read the "
                f"padding of input {tensor.name!r}. Pass sequences of one length at a time, or make it with "
                "mask_zero=True"
            )
    values = {layer.mask_value for layer in layers if isinstance(layer, Masking)}
    values |= {0 for layer in layers if isinstance(layer, Embedding)}
    if len(values) > 1:
        raise UnsupportedError(
            f"input {tensor.name!r} is read by layers that mask different values, {sorted(values)}, so that it cannot "
            "be filled up for all of them. Pass sequences of one length at a time"
        )
    return values.pop() if values else 0


def readers(graph: Graph, tensor: Tensor) -> Any:
    """The layers that take this tensor first, those in nested models too."""
    for node in graph.nodes:
        layer = node.operation
        if isinstance(layer, Layer) and node.inputs:
            given = flatten(layer.bind(node.args, node.kwargs)[layer.call_arguments[0]])
            for number, one in enumerate(given):
                if one is tensor:
                    inner = getattr(layer, "graph", None)
                    yield from [layer] if inner is None else readers(inner, inner.inputs[number])


def steps_of_outputs(graph: Graph, given: list[frozenset[Steps]]) -> list[frozenset[Steps]]:
    """For each output, where its steps come from, several if it is joined; from the same for each input.

    Raises:
        UnsupportedError: a recurrent layer would read the padding.
    """
    found = {id(tensor): steps for tensor, steps in zip(graph.inputs, given, strict=True)}
    read = {id(tensor) for tensors in (graph.outputs, *(node.inputs for node in graph.nodes)) for tensor in tensors}
    for node in graph.nodes:
        layer = node.operation
        if not isinstance(layer, Layer):
            its = frozenset[Steps]().union(*(found.get(id(tensor), frozenset()) for tensor in node.inputs))
            if {one.padding for one in its} - {"none"} and not _of_masks(node):
                raise UnsupportedError(
                    f"operation {layer.name!r} ({layer.kind}) hands on no mask, as in Keras, so that what comes after "
                    "it would read the padding of a ragged batch. Pass sequences of one length at a time"
                )
            found |= {id(tensor): its for tensor in node.outputs}
            continue
        if not node.inputs:
            continue
        call = layer.bind(node.args, node.kwargs)
        first = [found.get(id(one), frozenset()) for one in flatten(call[layer.call_arguments[0]])]
        steps: frozenset[Steps] = frozenset().union(*first)
        outputs = [steps] * len(node.outputs)
        inner = getattr(layer, "graph", None)
        if inner is not None:
            outputs = steps_of_outputs(inner, first)
        elif isinstance(layer, (Recurrent, Bidirectional)):
            _check_padding(layer, call, steps, [tensor for tensor in node.outputs if id(tensor) in read])
            if (layer.forward_layer if isinstance(layer, Bidirectional) else layer).go_backwards:
                steps = _moved(steps, {"after": "before", "between": "before"})
            outputs = [steps if tensor.ndim > 2 else frozenset() for tensor in node.outputs]
        elif isinstance(layer, Concatenate) and layer.axis % node.outputs[0].ndim == 1:
            outputs = [_moved(steps, {"after": "between"})]
        found |= {id(tensor): its for tensor, its in zip(node.outputs, outputs, strict=True)}
    return [found.get(id(tensor), frozenset()) for tensor in graph.outputs]


def _of_masks(node: Node) -> bool:
    """Whether a function between the layers is one that masks are computed by, step by step or turned."""
    by_step = node.operation.kind in ("Flip", "Concatenate") or node.operation.in_call(node).step_obstacle() is None
    return by_step and all(tensor.dtype == "bool" for tensor in node.outputs)


def _moved(steps: frozenset[Steps], places: dict[str, str]) -> frozenset[Steps]:
    return frozenset(one._replace(padding=places.get(one.padding, one.padding)) for one in steps)


def _check_padding(layer: Any, call: dict[str, Any], steps: frozenset[Steps], read: list[Tensor]) -> None:
    """Raises UnsupportedError where a recurrent layer, called on these steps, would take padding for steps.

    Args:
        read: those of its outputs that something reads.
    """
    places = {one.padding for one in steps} - {"none"}
    if "before" in places:
        raise UnsupportedError(
            f"layer {layer.name!r} reads the steps of a layer with go_backwards=True, which come from the last to the "
            "first, while their mask, as in Keras, stays in the order of time: it would read the padding of a ragged "
            "batch. Pass sequences of one length at a time"
        )
    if not places or call.get("initial_state") is None or call.get("mask") is not None:
        return
    # Without a mask each step is still right before the padding is reached; only what comes after it is not.
    forwards = isinstance(layer, Recurrent) and not layer.go_backwards
    if not (forwards and places == {"after"} and len(steps) == 1 and all(tensor.ndim > 2 for tensor in read)):
        raise UnsupportedError(
            f"layer {layer.name!r} is called with initial_state and without mask, and then, as in Keras, leaves out "
            "the mask that comes with its inputs: its states would go on over the padding of a ragged batch. Pass "
            "sequences of one length at a time, or make the call with mask="
        )


def sources(arrays: list[Array], lengths: list[Array | None]) -> list[frozenset[Steps]]:
    """Where the steps of each input come from: of itself, if it is ragged."""
    return [
        frozenset() if its is None else frozenset({Steps(k, "after" if (its < array.shape[1]).any() else "none")})
        for k, (array, its) in enumerate(zip(arrays, lengths, strict=True))
    ]


def cut(
    graph: Graph,
    inputs: list[Array],
    outputs: list[Array],
    masks: list[Any],
    lengths: list[Array | None],
    steps: list[frozenset[Steps]],
) -> list[Any]:
    """The outputs, each that has the steps of one ragged input as a list of arrays (T_b,...) of the true lengths."""
    found: list[Any] = []
    for tensor, array, mask, some in zip(graph.outputs, outputs, masks, steps, strict=True):
        one = next(iter(some)) if len(some) == 1 else None  # joined from several, it has no lengths of its own
        its, T = (None, 0) if one is None else (lengths[one.source], inputs[one.source].shape[1])
        # Gates follow the steps, and carry no mask.
        gates = getattr(tensor.history.operation, "return_gates", False) and array.ndim == 4
        follows = gates or (mask is not None and mask.ndim == 2)
        if its is None or one is None or not follows or array.shape[1] != T:
            found.append(array)
        else:
            turned = one.padding == "before"
            found.append([row[T - n :] if turned else row[:n] for row, n in zip(array, its, strict=True)])
    return found
