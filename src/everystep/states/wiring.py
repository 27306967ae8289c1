"""A model's graph, read from its symbolic tensors: which layer was called on what, and where each tensor goes.

Tensors of everystep know where they come from as `history`, Keras's as `_keras_history`: the layer, which of its
calls, which of that call's tensors. The two kinds of graph are read alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Tensor = Any  # a symbolic tensor of everystep or of Keras
Layer = Any


class Call(NamedTuple):
    """One call of a layer in a model.

    Attributes:
        layer: what was called.
        label: the layer's name, and which call of it this is if there are several.
        inputs: the symbolic tensors that it was called with, each with the name of the argument that held it; ""
            for the first.
        outputs: those that it returned.
    """

    layer: Layer
    label: str
    inputs: list[tuple[Tensor, str]]
    outputs: list[Tensor]


def is_graph(model: Any) -> bool:
    """Whether the model was built from symbolic tensors, which a subclassed Keras model is not."""
    try:
        return bool(model.outputs)
    except (AttributeError, ValueError):  # Keras's Sequential, before it is built
        return False


def calls(model: Any) -> list[Call]:
    """Every call of a layer between the model's inputs and outputs, each after those that it depends on.

    Small operations that only compute the mask of a layer are left out: nobody wrote them.
    """
    given = {id(tensor) for tensor in model.inputs}
    found: dict[tuple[int, int], Layer] = {}  # (the layer's id, which call of it) in the order asked for
    waiting = [(tensor, False) for tensor in reversed([*model.inputs, *model.outputs])]
    while waiting:
        tensor, ready = waiting.pop()
        layer, index = _history(tensor)
        if (id(layer), index) in found:
            continue
        # What lies before a model's input is not the model's.
        needed = [] if ready or id(tensor) in given else [other for other, _ in _inputs(layer, index)]
        if needed:
            waiting.append((tensor, True))
            waiting.extend((other, False) for other in reversed(needed))
        else:
            found[id(layer), index] = layer
    ordered: list[Call] = []
    for (_, index), layer in found.items():
        indices = [of for (owner, of) in found if owner == id(layer)]
        several = f", call {indices.index(index) + 1} of {len(indices)}" if len(indices) > 1 else ""
        ordered.append(Call(layer, f"{layer.name}{several}", _inputs(layer, index), _outputs(layer, index)))
    return _without_masks(model, ordered)


def destinations(model: Any, ordered: list[Call]) -> dict[int, list[str]]:
    """Where each tensor goes, in words, by the tensor's id."""
    found: dict[int, list[str]] = {}
    for call in ordered:
        for tensor, argument in call.inputs:
            words = f"as {argument} into {call.label}" if argument else f"into {call.label}"
            if words not in found.setdefault(id(tensor), []):
                found[id(tensor)].append(words)
    for k, tensor in enumerate(model.outputs):
        found.setdefault(id(tensor), []).append(f"model output {k}")
    return found


def last_outputs(layer: Layer) -> list[Tensor]:
    """The symbolic tensors that the layer's latest call returned; none, if it has not been called on any."""
    count = len(_nodes(layer))
    return _outputs(layer, count - 1) if count else []


def _without_masks(model: Any, ordered: list[Call]) -> list[Call]:
    """The calls without those of operations, not layers, that lead to nothing but `mask` arguments."""
    seen = {id(tensor) for tensor in model.outputs}  # tensors that something other than a mask depends on
    kept = []
    for call in reversed(ordered):
        if hasattr(call.layer, "weights") or any(id(tensor) in seen for tensor in call.outputs):
            kept.append(call)
            seen |= {id(tensor) for tensor, argument in call.inputs if argument != "mask"}
    return kept[::-1]


def _history(tensor: Tensor) -> tuple[Layer, int]:
    """The layer that returned this tensor, and in which of its calls."""
    history = getattr(tensor, "history", None) or tensor._keras_history
    return history[0], history[1]


def _nodes(layer: Layer) -> list[Any]:
    """The layer's calls on symbolic tensors: everystep's `nodes`, Keras's `_inbound_nodes`."""
    nodes = getattr(layer, "nodes", None)
    return list(getattr(layer, "_inbound_nodes", ()) if nodes is None else nodes)


def _outputs(layer: Layer, index: int) -> list[Tensor]:
    return list(_nodes(layer)[index].outputs)


def _inputs(layer: Layer, index: int) -> list[tuple[Tensor, str]]:
    """The tensors that a call took, with the names of their arguments."""
    node = _nodes(layer)[index]
    arguments = getattr(node, "arguments", node)  # Keras keeps args and kwargs there
    second = "initial_state" if hasattr(layer, "return_state") else ""
    named = [("" if k == 0 else second, value) for k, value in enumerate(arguments.args)]
    named += [("" if name in ("inputs", "sequences") else name, value) for name, value in arguments.kwargs.items()]
    return [(tensor, name) for name, value in named for tensor in _tensors(value)]


def _tensors(value: Any) -> Iterator[Tensor]:
    """The symbolic tensors in an argument."""
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif hasattr(value, "history") or hasattr(value, "_keras_history"):
        yield value
