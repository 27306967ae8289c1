"""Models as Keras 3's serialized configs; the way back is in `reader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from everystep import layers
from everystep.errors import UnsupportedError
from everystep.layers.base import ours
from everystep.layers.composite import Composite
from everystep.layers.operation import Config, Operation
from everystep.layers.operations.constants import encoded
from everystep.layers.tensor import Node, Tensor

if TYPE_CHECKING:
    from everystep.models.model import Model

OURS = {  # the layers that everystep.keras has classes of its own for -> their modules
    name: layer.our_module for name, layer in vars(layers).items() if getattr(layer, "our_module", None)
}


def functional_config(model: Model) -> Config:
    """The config of a Model: its layers, each with the calls that are in the graph."""
    graph = model.graph
    places = _node_numbers(graph.nodes)

    def refer(tensor: Tensor, first: int = 0) -> list[Any]:
        operation, node_index, tensor_index = tensor.history
        return [operation.name, first + places[operation, node_index], tensor_index]

    def serialize_edge(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return encoded(leaf)
        config = {"shape": leaf.shape, "dtype": leaf.dtype, "keras_history": refer(leaf)}
        return {"class_name": "__keras_tensor__", "config": config}

    def refer_model(tensor: Tensor) -> list[Any]:
        # At a model's ends Keras counts the calls of an inner functional model from 1, and on its edges from 0.
        return refer(tensor, first=int(tensor.history.operation.kind == "Functional"))

    entries = []
    inside = set(graph.nodes)
    for operation in graph.operations:
        calls = [
            {"args": [_map(serialize_edge, value) for value in node.args],
             "kwargs": {name: _map(serialize_edge, value) for name, value in node.kwargs.items()}}
            for node in operation.nodes
            if node in inside and node.inputs
        ]  # fmt: skip
        entries.append({**operation.serialized(), "name": operation.name, "inbound_nodes": calls})
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": entries,
        "input_layers": _map(refer_model, model.input_structure),
        "output_layers": _map(refer_model, model.output_structure),
    }


def _map(function: Any, structure: Any) -> Any:
    """As `map_leaves`, but a dictionary keeps its order."""
    if isinstance(structure, dict):
        return {key: _map(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_map(function, value) for value in structure]
    return function(structure)


def _node_numbers(nodes: list[Node]) -> dict[tuple[Operation, int], int]:
    """(operation, its call's number) -> that number among the calls that are in this graph."""
    numbers: dict[tuple[Operation, int], int] = {}
    inside = set(nodes)
    for operation in {node.operation for node in nodes}:
        kept = [index for index, node in enumerate(operation.nodes) if node in inside]
        numbers |= {(operation, index): number for number, index in enumerate(kept)}
    return numbers


def for_keras(model: Model) -> Config:
    """The model's serialized config, with the layers that `everystep.keras` has of its own."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            value = {key: convert(inner) for key, inner in value.items()}
            kind = value.get("class_name")
            if value.get("module") == "keras.layers" and kind in OURS:
                value |= ours(kind, OURS[kind])
            return value
        return [convert(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    converted: Config = convert(model.serialized())
    return converted


def keras_weights(model: Model) -> list[Any]:
    """The weights in the order of the Keras model that is made of the config.

    Raises:
        UnsupportedError: as `refuse_shared`.
    """
    refuse_shared(model)
    return model.get_weights()


def refuse_shared(model: Model) -> None:
    """Raises UnsupportedError where two models of one share a layer, which Keras reads no config of rightly.

    It makes two layers, or, if the config says that they are one, mistakes one's calls for the other's.
    """
    paths: dict[int, str] = {}

    def visit(inner: Any, path: str) -> None:
        for layer in inner.inner:
            here = f"{path}{layer.name}"
            if paths.setdefault(id(layer), here) != here and layer.count_params():
                raise UnsupportedError(
                    f"layer {here!r} is also {paths[id(layer)]!r}; Keras would make two layers of that config and "
                    "train them apart. Build the model under everystep.keras instead, and set its weights"
                )
            if isinstance(layer, Composite):
                visit(layer, f"{here}/")

    visit(model, "")
