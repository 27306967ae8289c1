"""The calls in Keras 2's functional configs, [layer, call, tensor, keywords], in the form of Keras 3's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from everystep.errors import FileError
from everystep.layers.operation import Config

FUNCTIONAL = ("Model", "Functional")
MASK_OF = "__mask_of__"  # in the place of a tensor of a call: that tensor's mask, if it has one


def entry_name(entry: Any) -> str:
    """The name of a layer, of its entry in a config."""
    config = entry.get("config") if isinstance(entry, dict) else None
    return str(config.get("name") if isinstance(config, dict) else dict(entry).get("name"))


def is_reference(value: Any, names: Any) -> bool:
    """Whether it is [layer, call, tensor], maybe with keywords after it."""
    if not isinstance(value, list) or len(value) not in (3, 4) or not isinstance(value[0], str):
        return False
    return value[0] in names and all(isinstance(one, int) and not isinstance(one, bool) for one in value[1:3])


def _references(value: Any, names: Any) -> Iterator[tuple[str, int]]:
    if is_reference(value, names):
        yield value[0], value[1]
        value = value[3:]
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner, names)


def first_calls(config: Config) -> dict[str, int]:
    """Each layer -> the number of its first call: an inner model's calls were counted from 1, after its making."""
    names = {entry.get("name", entry_name(entry)): entry["class_name"] for entry in config["layers"]}
    ends = [config["input_layers"], config["output_layers"]]
    lowest: dict[str, int] = {}
    for name, index in _references([*(entry["inbound_nodes"] for entry in config["layers"]), *ends], names):
        lowest[name] = min(index, lowest.get(name, index))
    inner = (*FUNCTIONAL, "Sequential")
    return {name: min(lowest.get(name, 0), 1) if kind in inner else 0 for name, kind in names.items()}


def _edge(reference: list[Any], firsts: dict[str, int]) -> Config:
    name, index, tensor = reference[:3]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, index - firsts[name], tensor]}}


def converted_call(call: Any, firsts: dict[str, int], name: str) -> Config:
    """{"args", "kwargs"} of a call; args holds one tensor, or a list of them."""
    if isinstance(call, dict):  # Keras 3's
        return call
    single = is_reference(call, firsts) or (len(call) == 4 and call[0] == "_CONSTANT_VALUE")
    kwargs: Config = {}
    tensors = []
    for one in [call] if single else call:
        if one[0] == "_CONSTANT_VALUE":
            tensors.append(one[2])
        elif is_reference(one, firsts):
            tensors.append(_edge(one, firsts))
        else:
            raise FileError(f"a call of layer {name!r} refers to {one[:3]!r}, which the model does not have")
        kwargs |= one[3] if len(one) > 3 and one[3] else {}
    kwargs = {key: _keyword(value, firsts) for key, value in kwargs.items() if value is not None and key != "training"}
    # Written as a list of one is also what a layer called on one tensor is.
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs}


def _keyword(value: Any, firsts: dict[str, int]) -> Any:
    if is_reference(value, firsts):
        return _edge(value, firsts)
    if isinstance(value, dict):
        return {key: _keyword(inner, firsts) for key, inner in value.items()}
    return [_keyword(inner, firsts) for inner in value] if isinstance(value, list) else value


def with_states(call: Config) -> Config:
    """A recurrent layer's call, whose inputs after the first are states; beside those, Keras 3 asks for the mask."""
    (inputs,) = call["args"]
    kwargs = call["kwargs"]
    if isinstance(inputs, list):
        inputs, kwargs = inputs[0], {"initial_state": inputs[1:], **kwargs}
    if kwargs.get("initial_state") and "mask" not in kwargs:
        kwargs = {**kwargs, "mask": {**inputs, "class_name": MASK_OF}}
    return {"args": [inputs], "kwargs": kwargs}
