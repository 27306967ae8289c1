"""Configs as Keras 2 wrote them, and tf.keras up to 2.15, in the form of Keras 3's; `reader` makes models of those.

What differs: no modules beside the classes' names, `batch_input_shape` on any layer, a Sequential that is a bare list,
calls as lists [layer, call, tensor, keywords], states among the inputs of a recurrent layer, CuDNN's layers, functions
of TensorFlow as layers (in `keras2_operations`), and names whose meaning changed: `hard_sigmoid` was clip(0.2x + 0.5),
and a GRU reset its state before the recurrent kernel unless told otherwise.
"""

from __future__ import annotations

import copy
from typing import Any

from everystep.errors import FileError, UnsupportedError
from everystep.layers.initializers import NAMES as INITIALIZERS
from everystep.layers.keras2 import KERAS2, MODULE
from everystep.layers.operation import Config
from everystep.models.keras2_calls import FUNCTIONAL, converted_call, entry_name, first_calls, is_reference, with_states
from everystep.models.keras2_operations import OPERATIONS, operation

CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
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
            return self.entry(value, f"{path}/{entry_name(value)}")
        if key == "cells" and isinstance(value, list):
            return [self.entry(one, f"{path}/{entry_name(one)}") for one in value]
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
        made = [self.entry(entry, _join(path, name, entry_name(entry))) for entry in entries]
        if shape is not None and first["class_name"] != "InputLayer":
            dtype = first["config"].get("dtype", "float32")
            dtype = dtype if isinstance(dtype, str) else made[0]["config"]["dtype"]
            given = {"batch_shape": shape, "dtype": dtype, "name": f"{entry_name(first)}_input"}
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
        firsts = first_calls(config)
        made = []
        for entry in entries:
            name = entry.get("name", entry_name(entry))
            calls = [converted_call(call, firsts, name) for call in entry["inbound_nodes"]]
            if entry["class_name"] in OPERATIONS:
                made.append(operation(entry, name, calls, _join(inside, name)))
                continue
            one = self.entry(entry, _join(inside, name))
            if isinstance(one["config"], dict):
                one["config"]["name"] = name
            if entry["class_name"] in RECURRENT:
                calls = [with_states(call) for call in calls]
            made.append({**one, "name": name, "inbound_nodes": calls})
        functional = {entry["name"] for entry in made if entry["class_name"] == "Functional"}

        def ends(structure: Any) -> Any:
            if isinstance(structure, dict):
                return {key: ends(value) for key, value in structure.items()}
            if is_reference(structure, firsts):
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


def _join(*parts: Any) -> str:
    return "/".join(str(part) for part in parts if part)
