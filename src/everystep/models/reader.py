"""Keras 3's serialized configs as models.

A config's classes are looked up in one table, by module and name: nothing that a config names is imported or run.
A layer's path, "encoder/lstm", is made of the names of the models that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everystep import layers
from everystep.errors import EverystepError, GraphError, OptionError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.composite import Composite
from everystep.layers.keras2 import KERAS2, MODULE
from everystep.layers.naming import names_given, with_article
from everystep.layers.operation import Config, Operation
from everystep.layers.operations import BY_CLASS, KINDS, Function
from everystep.layers.operations.constants import decoded, is_constant
from everystep.layers.refused import ConvLSTM, reason_against
from everystep.layers.registered import registered_class
from everystep.layers.tensor import Node, Tensor
from everystep.models.keras2_calls import MASK_OF
from everystep.models.keras2_config import is_keras2, keras3_config
from everystep.models.model import Model
from everystep.models.sequential import Sequential

LAYERS: dict[tuple[str, str], type[Layer]] = {
    (module, name): layer
    for name, layer in vars(layers).items()
    if isinstance(layer, type) and issubclass(layer, Layer) and layer is not Layer
    for module in (layer.module, layer.our_module)
    if module
} | {(MODULE, kind): layer for kind, layer in KERAS2.items()}
SUPPORTED = sorted({name for (_, name), layer in LAYERS.items() if not issubclass(layer, ConvLSTM)})
FUNCTIONAL = (("keras.src.models.functional", "Functional"), ("keras", "Functional"), ("keras.models", "Functional"))
SEQUENTIAL = (
    ("keras", "Sequential"),
    ("keras.models", "Sequential"),
    ("everystep.keras.containers", "Sequential"),
)


def model_from_config(cls: type[Model], config: Config) -> Model:
    """A Model, or a Sequential, of `get_config`'s result, in Keras 3's format or Keras 2's."""
    if is_keras2(config):
        kind = "Sequential" if issubclass(cls, Sequential) else "Functional"
        config = keras3_config({"class_name": kind, "config": config}, "")["config"]
    reader = Reader()
    return reader.sequential(config, "") if issubclass(cls, Sequential) else reader.functional(config, "")


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
        f"the model is {with_article(str(kind[1]))} ({kind[0]}); supported are functional models and Sequential. "
        "Build it with the functional API"
    )


class Reader:
    """Makes layers of configs.

    Args:
        shared: as in `from_serialized`.
    """

    def __init__(self, shared: Mapping[str, str] | None = None) -> None:
        self.shared = shared or {}
        self.made: dict[str | int, Operation] = {}  # by path, and by the number of a shared one

    def operation(self, entry: Config, path: str) -> Operation:
        """The layer, nested model or graph operation of an entry."""
        number = entry.get("shared_object_id")  # in a file: of a layer that it has more than once
        for original in (self.shared.get(path), number):
            if original in self.made:
                return self.made[original]
        kind = (str(entry.get("module")), str(entry.get("class_name")))
        made: Operation
        if kind in FUNCTIONAL:
            made = self.functional(entry["config"], f"{path}/")
        elif kind in SEQUENTIAL:
            made = self.sequential(entry["config"], f"{path}/")
        elif kind in BY_CLASS:
            made = self.function(kind[1], entry["config"], path)
        elif kind in LAYERS:
            made = self.layer(LAYERS[kind], entry["config"], path)
        elif registered_class(entry):
            made = self.layer(registered_class(entry), entry["config"], path)
            made.read_as = {key: entry.get(key) for key in ("module", "registered_name")}
        else:
            raise unknown(entry, path)
        self.made |= {path: made} if number is None else {path: made, number: made}
        return made

    def layer(self, cls: type[Layer], config: Config, path: str) -> Layer:
        """A layer of its config, and first those that it is made of."""
        if issubclass(cls, Composite):

            def made(value: Any) -> Any:
                if isinstance(value, list):
                    return [made(one) for one in value]
                return self.operation(value, f"{path}/{value['config'].get('name')}") if value else None

            config = {**config, **{argument: made(config[argument]) for argument in cls.parts if argument in config}}
        try:
            return cls(**config)
        except EverystepError as error:
            if "/" not in path:  # the message names the layer
                raise
            raise type(error)(f"in {path.rpartition('/')[0]!r}: {error}") from error

    def function(self, kind: str, config: Config, path: str) -> Function:
        """A function between the layers, of its config."""
        try:
            return Function(kind, **config)
        except TypeError as error:
            raise OptionError(f"operation {path!r} ({kind}): its config is not one: {error}") from error

    def sequential(self, config: Config, path: str) -> Sequential:
        model = Sequential(name=config.get("name"), trainable=config.get("trainable", True))
        for entry in config["layers"]:
            layer = self.operation(entry, f"{path}{entry['config'].get('name')}")
            model.add(layer)
        shape = config.get("build_input_shape")
        if shape is not None and not model.built:
            model.build(tuple(shape))
        return model

    def functional(self, config: Config, path: str) -> Model:
        with names_given([entry["name"] for entry in config["layers"]]):
            return self._functional(config, path)

    def _functional(self, config: Config, path: str) -> Model:
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
                args, kwargs = (_resolved(call[part], calls, path + name) for part in ("args", "kwargs"))
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
            found: Tensor = calls[name][node_index].outputs[tensor_index]
            return found

        return Model(
            _map_references(tensor, config["input_layers"]),
            _map_references(tensor, config["output_layers"]),
            name=config.get("name"),
            trainable=config.get("trainable", True),
        )


def unknown(entry: Config, path: str) -> UnsupportedError:
    """What to say of a layer of a class that is in no table."""
    module, kind = str(entry.get("module")), str(entry.get("class_name"))
    what = f"layer {path!r} is {with_article(kind)} ({module}), which is not supported"
    reason = reason_against(kind)
    if reason:
        return UnsupportedError(f"{what}: {reason}")
    if kind in {name for _, name in LAYERS}:
        return UnsupportedError(
            f"layer {path!r} is of a class named {kind} that is not Keras's own, from "
            f"{entry.get('module') or entry.get('registered_name')}; everystep runs Keras's {kind} and not "
            f'what derives from it or shares its name. everystep.register("package>{kind}", cls) supplies such a class'
        )
    if module.startswith("keras.src.ops."):
        return UnsupportedError(
            f"operation {path!r} is {with_article(kind)} ({module}), which is not supported between layers; supported "
            f"are {', '.join(sorted(KINDS))}. A layer of your own that computes it is supplied by everystep.register"
        )
    return UnsupportedError(
        f"{what}; supported are {', '.join(SUPPORTED)}, Functional and Sequential. "
        f'A class of your own is supplied by everystep.register("{kind}", cls)'
    )


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


def _resolved(value: Any, calls: dict[str, list[Node]], path: str) -> Any:
    """An argument of the call of `path`, with tensors in the place of what refers to them."""
    if _is_edge(value):
        name, node_index, tensor_index = value["config"]["keras_history"]
        return calls[name][node_index].outputs[tensor_index]
    if isinstance(value, dict) and value.get("class_name") == MASK_OF:
        return _resolved({**value, "class_name": "__keras_tensor__"}, calls, path).mask
    if is_constant(value):
        return decoded(value)
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        raise UnsupportedError(
            f"{path!r} is called on a constant that the config holds ({value['class_name']}), which is not supported; "
            "supported are tensors, numbers, slices and arrays. Make it an Input"
        )
    if isinstance(value, str):
        raise UnsupportedError(f"{path!r} is called on the string {value[:50]!r}; supported are tensors and numbers")
    if isinstance(value, dict):
        return {key: _resolved(inner, calls, path) for key, inner in value.items()}
    return [_resolved(inner, calls, path) for inner in value] if isinstance(value, (list, tuple)) else value


def _map_references(tensor: Any, structure: Any) -> Any:
    if isinstance(structure, (list, tuple)) and len(structure) == 3 and isinstance(structure[0], str):
        return tensor(structure)
    if isinstance(structure, dict):
        return {key: _map_references(tensor, inner) for key, inner in structure.items()}
    mapped = [_map_references(tensor, inner) for inner in structure]
    return tuple(mapped) if isinstance(structure, tuple) else mapped
