"""Changes of a config: nodes of it deleted, doubled, exchanged, renamed, or put in the place of others."""

from __future__ import annotations

import copy
import json
from typing import Any

from choices import Choices

from everystep.layers.refused import REASONS
from everystep.models.reader import LAYERS

NAMES = [*sorted({name for _, name in LAYERS}), *sorted(REASONS), "Functional", "Sequential", "NotEqual", "Add", "os"]
MODULES = [
    "keras.layers",
    "keras",
    "keras.src.models.functional",
    "keras.src.ops.numpy",
    "keras.initializers",
    "os",
    None,
]
TENSOR = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0], "shape": [None], "dtype": "int32"}}
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 5, -1, 0.5, 10**6, 10**9, 2**31, 2**63, -(2**63), 10**30, 1e308, float("nan"),
    float("inf"), "", "x", "y", "ids", "relu", "softmax", "float64", "float16", "int32", "/etc/passwd", "x" * 5000, [],
    {}, [None], [[]], [0], [None, 2], [None, None, 2], [2, 3, 4], ["x", 0, 0], ["x", 0, -1], ["x", 10**9, 0],
    [["x", 0, 0]], {"": None}, TENSOR, {"class_name": "__numpy__", "config": {"value": [1], "dtype": "float32"}},
    {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
    {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}, {"class_name": "__tuple__", "items": [1, 2]},
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
    {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float64"}, "registered_name": None},
    {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None},
    {"class_name": [], "config": {}}, {"class_name": {}, "config": []},
    {"module": [], "class_name": "LSTM", "config": {}},
]  # fmt: skip
KEYS = ["units", "name", "class_name", "module", "config", "layers", "inbound_nodes", "dtype", "registered_name",
        "axis", "batch_shape", "shared_object_id", "build_input_shape", "cell", "layer", "args", "kwargs", "mask",
        "stateful", "initial_state", "return_sequences", "input_layers", "output_layers", "activation"]  # fmt: skip


def mutated(data: bytes, choices: Choices) -> bytes:
    """A changed config, as bytes."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):  # changed to no JSON before
        return data
    kind = choices.below(10)
    if kind == 0:  # of the text
        cut = choices.below(len(data) + 1)
        return (
            data[:cut]
            + choices.one_of([b"", b"{", b'"', b"9" * 5000, b"[" * 2000, b"\xff", b"NaN", data[:cut]])
            + data[cut:]
        )
    places = list(nodes(config))
    if places:
        change(config, places, kind, choices)
    return json.dumps(config).encode()


def nodes(value: Any) -> Any:
    """Every (container, key) in a value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from nodes(value[key])


def change(config: Any, places: list[Any], kind: int, choices: Choices) -> None:
    container, key = choices.one_of(places)
    named = [place for place in places if place[1] == "class_name"]
    if kind == 1:
        del container[key]
    elif kind == 2 and named:
        container, key = choices.one_of(named)
        container[key] = choices.one_of(NAMES)
        container["module"] = choices.one_of(MODULES) if choices.below(2) else "keras.layers"
    elif kind == 3:
        other, its_key = choices.one_of(places)
        container[key] = copy.deepcopy(other[its_key])
    elif kind == 4:
        for _ in range(choices.below(120)):
            container[key] = [container[key]] if choices.below(2) else {"config": container[key]}
    elif kind == 5 and isinstance(container, list):
        container.insert(choices.below(len(container) + 1), copy.deepcopy(container[key]))
    elif kind == 6 and isinstance(container, dict):
        container[choices.one_of(KEYS)] = copy.deepcopy(choices.one_of(VALUES))
    elif kind == 7 and isinstance(container, dict):
        container[choices.one_of(KEYS)] = container.pop(key)
    elif kind == 8 and isinstance(container[key], int):
        container[key] += choices.one_of([1, -1, 2, -2, 100])
    else:
        container[key] = copy.deepcopy(choices.one_of(VALUES))
