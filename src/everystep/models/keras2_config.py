"""Configs as Keras 2 wrote them, and tf.keras up to 2.15, in the form of Keras 3's; `reader` makes models of those.

What differs: no modules beside the classes' names, `batch_input_shape` on any layer, a Sequential that is a bare list,
calls as lists [layer, call, tensor, keywords], states among the inputs of a recurrent layer, CuDNN's layers, functions
of TensorFlow as layers (in `keras2_operations`), and names whose meaning changed: `hard_sigmoid` was clip(0.2x + 0.5),
and a GRU reset its state before the recurrent kernel unless told otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from everystep.errors import FileError, UnsupportedError
from everystep.layers.initializers import NAMES as INITIALIZERS
from everystep.layers.keras2 import KERAS2, MODULE
from everystep.layers.operation import Config
from everystep.models.keras2_operations import OPERATIONS, operation

FUNCTIONAL = ("Model", "Functional")
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
MASK_OF = "__mask_of__"  # in the place of a tensor of a call: that tensor's mask, if it has one
RENAMED = {**CUDNN, "ThresholdedReLU": "ReLU"}
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", *CUDNN)
GATED = ("LSTM", "GRU", "LSTMCell", "GRUCell")
ROOTS = ("keras", "tf_keras", "keras_core", "tensorflow")  # where classes of Keras's own lie
KINDS = {"_initializer": "keras.initializers", "_regularizer": "keras.regularizers", "_constraint": "keras.constraints"}
KERAS1 = ("output_dim", "nb_filter", "inner_activation", "init", "W_regularizer")
DROPPED = {  # arguments without a meaning here -> the values with which they have none
    "time_major": (False, None),
    "implementation": (0, 1, 2),
    "num_constants": (None, 0),
    "reverse_state_order": (False,),
    "ragged": (False, None),
    "sparse": (False, None),
    "fused": (None, False, True),
    "renorm": (False,),
    "virtual_batch_size": (None,),
    "batch_size": (None,),
    "autocast": (True, False, None),
}
UNREAD = {  # arguments that stand in a class's config and change nothing here: those that only its base reads, shapes
    "SeparableConv1D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "DepthwiseConv1D": ("filters", "groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout1D": ("noise_shape",),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
}
REASONS = {
    "time_major": "its arrays would be (T,B,I), and everystep's are (B,T,I): build it without, and transpose its input",
    "num_constants": "constants of a cell are not supported",
    "reverse_state_order": "Keras 2.1 returned the states of stacked cells from the last to the first",
}


def is_keras2(config: Any) -> bool:
    """Whether a model's config, or its serialized form, is one of Keras 2."""
    if isinstance(config, list):
        return True
    inner = config["config"] if "class_name" in config else config
    if isinstance(inner, list):
        return True
    entries = inner.get("layers", [])
    if any("module" not in entry or "batch_input_shape" in entry["config"] for entry in entries):
        return True
    return any(isinstance(call, list) for entry in entries for call in entry.get("inbound_nodes", ()))


def keras3_config(entry: Config, version: str) -> Config:
    """A model's serialized config in Keras 3's form.

    Args:
        entry: {"class_name", "config"} of a functional model or a Sequential.
        version: of the Keras that wrote it, "2.1.6", "2.2.4-tf", "2.15.0"; "" if it is unknown.

    Raises:
        UnsupportedError: an option has no counterpart, or Keras 1 wrote it. FileError: it is no config.
    """
    if version.split(".")[0] == "1":
        raise UnsupportedError(
            f"it was written by Keras {version}, whose arguments have other names: load it with Keras 2, and save it"
        )
    return _Converter(version).entry(copy.deepcopy(entry), "")


class _Converter:
    """Converts entries that one version of Keras wrote."""

    def __init__(self, version: str) -> None:
        self.version = version
        numbers = [int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit()]
        self.before_2_3 = bool(numbers) and numbers < [2, 3] and "tf" not in version

    def entry(self, entry: Config, path: str) -> Config:
        """{"module", "class_name", "config"} of a layer or model."""
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str) or "config" not in entry:
            raise FileError(f"at {path!r} there must be a class_name and a config")
        kind, config = entry["class_name"], entry["config"]
        if not _own(entry):
            return entry
        kept = {key: entry[key] for key in ("shared_object_id",) if key in entry}
        if kind in FUNCTIONAL:
            return {**kept, **_of("keras.src.models.functional", "Functional", self.functional(config, path))}
        if kind == "Sequential":
            return {**kept, **_of("keras", "Sequential", self.sequential(config, path, entry.get("name")))}
        module = MODULE if kind in KERAS2 else "keras.layers"
        return {**kept, **_of(module, RENAMED.get(kind, kind), self.layer(kind, config, path))}

    # ---- Layers ----

    def layer(self, kind: str, config: Config, path: str) -> Config:
        """The arguments of a layer."""
        config = dict(config)
        old = [key for key in KERAS1 if key in config and not (kind == "Embedding" and key == "output_dim")]
        if old:
            raise UnsupportedError(
                f"layer {path!r} has {old[0]}, as Keras 1 called it; load the file with Keras 2 and save it again"
            )
        shape = config.pop("batch_input_shape", None)
        if kind == "InputLayer" and shape is not None:
            config["batch_shape"] = shape
        for key, harmless in DROPPED.items():
            if key in config and config.pop(key) not in harmless:
                reason = REASONS.get(key, "which is not supported")
                raise UnsupportedError(f"layer {path!r} ({kind}) has {key}: {reason}")
        for key in UNREAD.get(kind, ()):
            config.pop(key, None)
        if isinstance(config.get("dtype"), dict):  # a policy
            config["dtype"] = config["dtype"].get("config", {}).get("name")
        if kind == "Embedding" and not str(config.get("dtype", "float32")).startswith("float"):
            del config["dtype"]  # that of its ids
        for key, value in config.items():
            config[key] = self._argument(key, value, path)
        if kind in CUDNN:
            config |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
        if kind == "CuDNNGRU":
            config["reset_after"] = True
        base = CUDNN.get(kind, kind)
        if base in GATED:
            config.setdefault("recurrent_activation", "hard_sigmoid_keras2" if self.before_2_3 else "sigmoid")
        if base in ("GRU", "GRUCell"):
            config.setdefault("reset_after", False)
        if base == "Bidirectional" and config.get("backward_layer", 0) is None:
            del config["backward_layer"]
        if base in ("BatchNormalization", "LayerNormalization"):
            axis = config.get("axis")
            config |= {"axis": axis[0]} if isinstance(axis, list) and len(axis) == 1 else {}
        if base == "LeakyReLU" and "alpha" in config:
            config["negative_slope"] = config.pop("alpha")
        if kind == "ThresholdedReLU":
            config["threshold"] = config.pop("theta", 1.0)
        return config

    def _argument(self, key: str, value: Any, path: str) -> Any:
        if key in ("activation", "recurrent_activation"):
            return self._activation(value)
        for ending, module in KINDS.items():
            if key.endswith(ending) and isinstance(value, dict):
                return _named(module, value)
        if key in ("layer", "cell", "backward_layer") and isinstance(value, dict):
            return self.entry(value, f"{path}/{_name(value)}")
        if key == "cells" and isinstance(value, list):
            return [self.entry(one, f"{path}/{_name(one)}") for one in value]
        return value

    def _activation(self, value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "function" and isinstance(value.get("config"), str):
            value = value["config"] if value.get("module") in (None, "builtins") else value
        return "hard_sigmoid_keras2" if value == "hard_sigmoid" else value

    # ---- Models ----

    def sequential(self, config: Any, path: str, name: str | None) -> Config:
        """A Sequential, which up to Keras 2.2 is a bare list of layers."""
        config = {"layers": config} if isinstance(config, list) else dict(config)
        name = config.get("name") or name
        entries = config["layers"]
        first: Config = entries[0] if entries else {"class_name": "InputLayer", "config": {}}
        shape = first["config"].get("batch_input_shape") if isinstance(first["config"], dict) else None
        made = [self.entry(entry, _join(path, name, _name(entry))) for entry in entries]
        if shape is not None and first["class_name"] != "InputLayer":
            dtype = first["config"].get("dtype", "float32")
            dtype = dtype if isinstance(dtype, str) else made[0]["config"]["dtype"]
            given = {"batch_shape": shape, "dtype": dtype, "name": f"{_name(first)}_input"}
            made.insert(0, _of("keras.layers", "InputLayer", given))
        found = {"name": name, "layers": made, "trainable": config.get("trainable", True)}
        has_input = made and made[0]["class_name"] == "InputLayer"
        if config.get("build_input_shape") is not None and not has_input:
            found["build_input_shape"] = config["build_input_shape"]
        return found

    def functional(self, config: Config, path: str) -> Config:
        """A functional model, with its calls."""
        entries = config["layers"]
        inside = _join(path, config.get("name"))
        firsts = _first_calls(config)
        made = []
        for entry in entries:
            name = entry.get("name", _name(entry))
            calls = [_call(call, firsts, name) for call in entry["inbound_nodes"]]
            if entry["class_name"] in OPERATIONS:
                made.append(operation(entry, name, calls, _join(inside, name)))
                continue
            one = self.entry(entry, _join(inside, name))
            if isinstance(one["config"], dict):
                one["config"]["name"] = name
            if entry["class_name"] in RECURRENT:
                calls = [_with_states(call) for call in calls]
            made.append({**one, "name": name, "inbound_nodes": calls})
        functional = {entry["name"] for entry in made if entry["class_name"] == "Functional"}

        def ends(structure: Any) -> Any:
            if isinstance(structure, dict):
                return {key: ends(value) for key, value in structure.items()}
            if _is_reference(structure, firsts):
                name, index, tensor = structure[:3]  # Keras 3 counts an inner functional model's from 1 here
                return [name, index - firsts[name] + int(name in functional), tensor]
            return [ends(one) for one in structure]

        found = {key: ends(config[key]) for key in ("input_layers", "output_layers")}
        return {"name": config.get("name"), "trainable": config.get("trainable", True), "layers": made, **found}


def _own(entry: Config) -> bool:
    """Whether a class is one of Keras's, by where the file says it is from; Keras 2 says it of few."""
    module, registered = entry.get("module"), entry.get("registered_name")
    if ">" in entry["class_name"] or (isinstance(registered, str) and ">" in registered):
        return False
    return module is None or str(module).split(".")[0] in ROOTS


def _of(module: str, kind: Any, config: Any) -> Config:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _named(module: str, value: Config) -> Config:
    """An initializer, a regularizer or a constraint."""
    if not _own(value):
        return value
    kind, config = value["class_name"], dict(value.get("config") or {})
    if module == "keras.initializers":
        config = {key: one for key, one in config.items() if key not in ("dtype", "verify_shape", "partition_info")}
        kind = INITIALIZERS.get(kind, kind)
    return _of(module, kind, config)


def _name(entry: Any) -> str:
    config = entry.get("config") if isinstance(entry, dict) else None
    return str(config.get("name") if isinstance(config, dict) else dict(entry).get("name"))


def _join(*parts: Any) -> str:
    return "/".join(str(part) for part in parts if part)


# ---- Calls ----


def _is_reference(value: Any, names: Any) -> bool:
    """Whether it is [layer, call, tensor], maybe with keywords after it."""
    if not isinstance(value, list) or len(value) not in (3, 4) or not isinstance(value[0], str):
        return False
    return value[0] in names and all(isinstance(one, int) and not isinstance(one, bool) for one in value[1:3])


def _references(value: Any, names: Any) -> Iterator[tuple[str, int]]:
    if _is_reference(value, names):
        yield value[0], value[1]
        value = value[3:]
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner, names)


def _first_calls(config: Config) -> dict[str, int]:
    """Each layer -> the number of its first call: an inner model's calls were counted from 1, after its making."""
    names = {entry.get("name", _name(entry)): entry["class_name"] for entry in config["layers"]}
    ends = [config["input_layers"], config["output_layers"]]
    lowest: dict[str, int] = {}
    for name, index in _references([*(entry["inbound_nodes"] for entry in config["layers"]), *ends], names):
        lowest[name] = min(index, lowest.get(name, index))
    inner = (*FUNCTIONAL, "Sequential")
    return {name: min(lowest.get(name, 0), 1) if kind in inner else 0 for name, kind in names.items()}


def _edge(reference: list[Any], firsts: dict[str, int]) -> Config:
    name, index, tensor = reference[:3]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, index - firsts[name], tensor]}}


def _call(call: Any, firsts: dict[str, int], name: str) -> Config:
    """{"args", "kwargs"} of a call; args holds one tensor, or a list of them."""
    if isinstance(call, dict):  # Keras 3's
        return call
    single = _is_reference(call, firsts) or (len(call) == 4 and call[0] == "_CONSTANT_VALUE")
    kwargs: Config = {}
    tensors = []
    for one in [call] if single else call:
        if one[0] == "_CONSTANT_VALUE":
            tensors.append(one[2])
        elif _is_reference(one, firsts):
            tensors.append(_edge(one, firsts))
        else:
            raise FileError(f"a call of layer {name!r} refers to {one[:3]!r}, which the model does not have")
        kwargs |= one[3] if len(one) > 3 and one[3] else {}
    kwargs = {key: _keyword(value, firsts) for key, value in kwargs.items() if value is not None and key != "training"}
    # Written as a list of one is also what a layer called on one tensor is.
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs}


def _keyword(value: Any, firsts: dict[str, int]) -> Any:
    if _is_reference(value, firsts):
        return _edge(value, firsts)
    if isinstance(value, dict):
        return {key: _keyword(inner, firsts) for key, inner in value.items()}
    return [_keyword(inner, firsts) for inner in value] if isinstance(value, list) else value


def _with_states(call: Config) -> Config:
    """A recurrent layer's call, whose inputs after the first are states; beside those, Keras 3 asks for the mask."""
    (inputs,) = call["args"]
    kwargs = call["kwargs"]
    if isinstance(inputs, list):
        inputs, kwargs = inputs[0], {"initial_state": inputs[1:], **kwargs}
    if kwargs.get("initial_state") and "mask" not in kwargs:
        kwargs = {**kwargs, "mask": {**inputs, "class_name": MASK_OF}}
    return {"args": [inputs], "kwargs": kwargs}
