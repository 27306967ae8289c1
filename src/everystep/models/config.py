"""Models as Keras 3's serialized configs, and back.

A config's classes are looked up in one table, by module and name: nothing that a config names is imported or run.
A layer's path, "encoder/lstm", is made of the names of the models that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from everystep import layers
from everystep.errors import EverystepError, GraphError, UnsupportedError
from everystep.layers.base import Config, Layer, Operation
from everystep.layers.lstm import ADDITIONS
from everystep.layers.operations import KINDS, MaskOperation
from everystep.layers.tensor import Node, Tensor

if TYPE_CHECKING:
    from everystep.models.model import Model
    from everystep.models.sequential import Sequential

LAYERS: dict[tuple[str, str], type[Layer]] = {
    ("keras.layers", "Activation"): layers.Activation,
    ("keras.layers", "Concatenate"): layers.Concatenate,
    ("keras.layers", "Dense"): layers.Dense,
    ("keras.layers", "Dropout"): layers.Dropout,
    ("keras.layers", "Embedding"): layers.Embedding,
    ("keras.layers", "InputLayer"): layers.InputLayer,
    ("keras.layers", "LSTM"): layers.LSTM,
    ("keras.layers", "Masking"): layers.Masking,
    ("everystep.keras.lstm", "LSTM"): layers.LSTM,
}
FUNCTIONAL = (("keras.src.models.functional", "Functional"), ("keras", "Functional"), ("keras.models", "Functional"))
SEQUENTIAL = (
    ("keras", "Sequential"),
    ("keras.models", "Sequential"),
    ("everystep.keras.containers", "Sequential"),
)
OUR_LSTM = {"module": "everystep.keras.lstm", "class_name": "LSTM", "registered_name": "everystep>LSTM"}


# ---- To a config ----


def serialized(operation: Operation) -> Config:
    """{"module", "class_name", "config", "registered_name"} of a layer, an operation of a graph, or a model."""
    own = {"module": operation.module, "class_name": operation.kind, "registered_name": None}
    if any(getattr(operation, addition, False) for addition in ADDITIONS):
        own = dict(OUR_LSTM)  # Keras's has no such arguments
    elif operation.module.startswith("keras.src"):
        own["registered_name"] = operation.kind
    return {**own, "config": operation.get_config()}


def functional_config(model: Model) -> Config:
    """The config of a Model: its layers, each with the calls that are in the graph."""
    graph = model._connected()
    places = _node_numbers(graph.nodes)

    def refer(tensor: Tensor, first: int = 0) -> list[Any]:
        operation, node_index, tensor_index = tensor.history
        return [operation.name, first + places[operation, node_index], tensor_index]

    def serialize_edge(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
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
        entries.append({**serialized(operation), "name": operation.name, "inbound_nodes": calls})
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
    numbers = {}
    inside = set(nodes)
    for operation in {node.operation for node in nodes}:
        kept = [index for index, node in enumerate(operation.nodes) if node in inside]
        numbers |= {(operation, index): number for number, index in enumerate(kept)}
    return numbers


def for_keras(model: Model) -> Config:
    """The model's serialized config, with every LSTM that of `everystep.keras`."""

    def ours(value: Any) -> Any:
        if isinstance(value, dict):
            value = {key: ours(inner) for key, inner in value.items()}
            return (
                value | OUR_LSTM
                if (value.get("module"), value.get("class_name")) == ("keras.layers", "LSTM")
                else value
            )
        return [ours(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    converted: Config = ours(serialized(model))
    return converted


def keras_weights(model: Model) -> list[Any]:
    """The weights in the order of the Keras model that is made of the config.

    Raises:
        UnsupportedError: two models of one share a layer; a config would make two layers of it.
    """
    paths: dict[int, str] = {}

    def visit(inner: Model, path: str) -> None:
        for layer in inner.layers:
            here = f"{path}{layer.name}"
            if paths.setdefault(id(layer), here) != here and layer.count_params():
                raise UnsupportedError(
                    f"layer {here!r} is also {paths[id(layer)]!r}; in a config these would be two layers, to be trained "
                    "apart. Build the model under everystep.keras instead, and set its weights"
                )
            if hasattr(layer, "flat_layers"):
                visit(layer, f"{here}/")

    visit(model, "")
    return model.get_weights()


# ---- From a config ----


def model_from_config(cls: type[Model], config: Config) -> Model:
    """A Model, or a Sequential, of `get_config`'s result."""
    reader = Reader()
    return reader.sequential(config, "") if hasattr(cls, "add") else reader.functional(config, "")


def from_serialized(entry: Config, shared: Mapping[str, str] | None = None) -> Model:
    """A model from its serialized form {"module", "class_name", "config", ...}.

    Args:
        entry: in Keras 3's format.
        shared: path of a layer -> path of an earlier one that is the same layer.

    Raises:
        UnsupportedError: the model's class, or that of a layer, or an option, is not supported.
    """
    kind = (entry.get("module"), entry.get("class_name"))
    reader = Reader(shared)
    if kind in FUNCTIONAL:
        return reader.functional(entry["config"], "")
    if kind in SEQUENTIAL:
        return reader.sequential(entry["config"], "")
    raise UnsupportedError(
        f"the model is a {kind[1]} ({kind[0]}); supported are functional models and Sequential. "
        "Build it with the functional API"
    )


class Reader:
    """Makes layers of configs.

    Args:
        shared: as in `from_serialized`.
    """

    def __init__(self, shared: Mapping[str, str] | None = None) -> None:
        self.shared = shared or {}
        self.made: dict[str, Operation] = {}

    def operation(self, entry: Config, path: str) -> Operation:
        """The layer, nested model or graph operation of an entry."""
        original = self.shared.get(path)
        if original in self.made:
            return self.made[original]
        kind = (entry.get("module"), entry.get("class_name"))
        made: Operation
        if kind in FUNCTIONAL:
            made = self.functional(entry["config"], f"{path}/")
        elif kind in SEQUENTIAL:
            made = self.sequential(entry["config"], f"{path}/")
        elif kind[0] == MaskOperation.module and kind[1] in KINDS:
            made = MaskOperation(str(kind[1]), **entry["config"])
        elif kind in LAYERS:
            made = _layer(LAYERS[kind], entry["config"], path)  # type: ignore[index]
        else:
            raise UnsupportedError(
                f"layer {path!r} is a {kind[1]} ({kind[0]}), which is not supported; supported are "
                f"{', '.join(sorted({name for _, name in LAYERS}))}, Functional and Sequential"
            )
        self.made[path] = made
        return made

    def sequential(self, config: Config, path: str) -> Sequential:
        from everystep.models.sequential import Sequential

        model = Sequential(name=config.get("name"), trainable=config.get("trainable", True))
        for entry in config["layers"]:
            layer = self.operation(entry, f"{path}{entry['config'].get('name')}")
            model.add(layer)
        shape = config.get("build_input_shape")
        if shape is not None and model.graph is None:
            model.build(tuple(shape))
        return model

    def functional(self, config: Config, path: str) -> Model:
        from everystep.models.model import Model

        operations: dict[str, Operation] = {}
        for entry in config["layers"]:
            operations[entry["name"]] = self.operation(entry, f"{path}{entry['name']}")
        calls: dict[str, list[Node]] = {
            name: operation.nodes[:1] if isinstance(operation, layers.InputLayer) else []
            for name, operation in operations.items()
        }
        waiting = [(entry["name"], call) for entry in config["layers"] for call in entry["inbound_nodes"]]
        while waiting:
            left = []
            held: set[str] = set()  # a layer's calls are made in their order, because they are referred to by number
            for name, call in waiting:
                if name in held or not all(_made(calls, path, *reference) for reference in _references(call)):
                    held.add(name)
                    left.append((name, call))
                    continue
                args, kwargs = (_resolved(call[part], calls) for part in ("args", "kwargs"))
                operations[name](*args, **kwargs)
                calls[name].append(operations[name].nodes[-1])
            if len(left) == len(waiting):
                names = ", ".join(sorted({repr(path + name) for name, _ in left}))
                raise GraphError(f"the config's graph has a loop, or calls that lead nowhere, at {names}")
            waiting = left

        def tensor(reference: Any) -> Tensor:
            name, node_index, tensor_index = reference
            if operations[name].kind == "Functional":
                node_index -= 1
            return calls[name][node_index].outputs[tensor_index]

        return Model(
            _map_references(tensor, config["input_layers"]),
            _map_references(tensor, config["output_layers"]),
            name=config.get("name"),
            trainable=config.get("trainable", True),
        )


def _layer(cls: type[Layer], config: Config, path: str) -> Layer:
    try:
        return cls(**config)
    except EverystepError as error:
        raise type(error)(f"at {path!r}: {error}") from error


def _is_edge(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _references(value: Any) -> list[Any]:
    """[layer name, node index, tensor index] of every tensor in a call."""
    if _is_edge(value):
        return [value["config"]["keras_history"]]
    if isinstance(value, dict):
        return [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, (list, tuple)):
        return [found for inner in value for found in _references(inner)]
    return []


def _made(calls: dict[str, list[Node]], path: str, name: str, node_index: int, tensor_index: int) -> bool:
    if name not in calls:
        raise GraphError(f"the config refers to a layer {path + name!r} that it does not have")
    return node_index < len(calls[name])


def _resolved(value: Any, calls: dict[str, list[Node]]) -> Any:
    if _is_edge(value):
        name, node_index, tensor_index = value["config"]["keras_history"]
        return calls[name][node_index].outputs[tensor_index]
    if isinstance(value, dict):
        return {key: _resolved(inner, calls) for key, inner in value.items()}
    return [_resolved(inner, calls) for inner in value] if isinstance(value, (list, tuple)) else value


def _map_references(tensor: Any, structure: Any) -> Any:
    if isinstance(structure, (list, tuple)) and len(structure) == 3 and isinstance(structure[0], str):
        return tensor(structure)
    if isinstance(structure, dict):
        return {key: _map_references(tensor, inner) for key, inner in structure.items()}
    mapped = [_map_references(tensor, inner) for inner in structure]
    return tuple(mapped) if isinstance(structure, tuple) else mapped
