"""A model for pickle and copy: its layers with their weights, and the calls between them.

A layer is pickled without its calls, and they are made again here: through them pickle would recurse from layer to
layer, and a model of a few hundred layers would be too deep for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everystep.layers.structure import map_leaves
from everystep.layers.tensor import Node, Tensor

if TYPE_CHECKING:
    from everystep.models.model import Model


@dataclass(frozen=True)
class Reference:
    """Output number `tensor` of call number `call`."""

    call: int
    tensor: int


def taken_apart(model: Model) -> dict[str, Any]:
    """What `put_together` takes: each call is an operation, its args and its kwargs, parents first."""
    nodes = _in_order(model.graph.nodes)
    places = {id(t): Reference(k, number) for k, node in enumerate(nodes) for number, t in enumerate(node.outputs)}

    def refer(structure: Any) -> Any:
        return map_leaves(lambda leaf: places[id(leaf)] if isinstance(leaf, Tensor) else leaf, structure)

    return {
        "calls": [
            (node.operation, refer(node.args), {name: refer(value) for name, value in node.kwargs.items()})
            for node in nodes
        ],
        "inputs": refer(model.input_structure),
        "outputs": refer(model.output_structure),
        "name": model.name,
        "trainable": model.trainable,
    }


def _in_order(nodes: list[Node]) -> list[Node]:
    """The calls, each after its parents and after the earlier calls of its layer, which configs number."""
    inside, done, ordered = set(nodes), set[Node](), list[Node]()
    waiting = nodes
    while waiting:
        left = []
        for node in waiting:
            calls = node.operation.nodes
            before = {*node.parents, *calls[: calls.index(node)]}
            if before & inside <= done:
                done.add(node)
                ordered.append(node)
            else:
                left.append(node)
        waiting = left
    return ordered


def put_together(cls: type[Model], parts: dict[str, Any]) -> Model:
    """The model again."""
    made: list[list[Tensor]] = []

    def tensors(structure: Any) -> Any:
        return map_leaves(lambda r: made[r.call][r.tensor] if isinstance(r, Reference) else r, structure)

    for operation, args, kwargs in parts["calls"]:
        if args or kwargs:
            operation(*tensors(args), **{name: tensors(value) for name, value in kwargs.items()})
        made.append(operation.nodes[-1].outputs)  # an Input has made its own
    return cls(tensors(parts["inputs"]), tensors(parts["outputs"]), name=parts["name"], trainable=parts["trainable"])
