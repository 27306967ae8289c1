"""Whole models as Keras 2 wrote them: a Sequential, and a functional model of two inputs."""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import numpy as np

Weights = dict[str, list[tuple[str, tuple[int, ...]]]]  # layer -> names and shapes

GATES = [("kernel:0", (2, 8)), ("recurrent_kernel:0", (2, 8)), ("bias:0", (8,))]
SEQUENTIAL = {
    "class_name": "Sequential",
    "config": {"name": "model", "layers": [
        {"class_name": "LSTM", "config": {"name": "rec", "units": 2, "batch_input_shape": [None, 3, 2],
         "return_sequences": True, "dtype": "float32", "recurrent_activation": "hard_sigmoid", "time_major": False}},
        {"class_name": "CuDNNLSTM", "config": {"name": "fast", "units": 2, "go_backwards": False}},
        {"class_name": "Dense", "config": {"name": "out", "units": 1, "activation": "linear"}},
    ]},
}  # fmt: skip
SEQUENTIAL_WEIGHTS: Weights = {
    "rec": GATES,
    "fast": [("kernel:0", (2, 8)), ("recurrent_kernel:0", (2, 8)), ("bias:0", (16,))],
    "out": [("kernel:0", (2, 1)), ("bias:0", (1,))],
}
FUNCTIONAL = {
    "class_name": "Model",
    "config": {"name": "model", "layers": [
        {"name": "x", "class_name": "InputLayer", "inbound_nodes": [],
         "config": {"name": "x", "batch_input_shape": [None, None, 2], "dtype": "float32", "sparse": False}},
        {"name": "h", "class_name": "InputLayer", "inbound_nodes": [],
         "config": {"name": "h", "batch_input_shape": [None, 2], "dtype": "float32", "sparse": False}},
        {"name": "rec", "class_name": "LSTM", "config": {"name": "rec", "units": 2},
         "inbound_nodes": [[["x", 0, 0, {}], ["h", 0, 0, {}], ["h", 0, 0, {}]]]},
        {"name": "out", "class_name": "Dense", "config": {"name": "out", "units": 1},
         "inbound_nodes": [[["rec", 0, 0, {}]]]},
    ], "input_layers": [["x", 0, 0], ["h", 0, 0]], "output_layers": [["out", 0, 0]]},
}  # fmt: skip
FUNCTIONAL_WEIGHTS: Weights = {"x": [], "h": [], "rec": GATES, "out": [("kernel:0", (2, 1)), ("bias:0", (1,))]}


def legacy_file(version: str, config: dict[str, Any], weights: Weights) -> bytes:
    """The bytes of an .h5 file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        made.attrs["keras_version"], made.attrs["backend"] = version, "tensorflow"
        made.attrs["model_config"] = json.dumps(config)
        root = made.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, shapes in weights.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{name}".encode() for name, _ in shapes], "S40")
            for name, shape in shapes:
                group[f"{layer}/{name}"] = np.ones(shape, np.float32)
    return file.getvalue()


def legacy_seeds() -> list[bytes]:
    return [
        legacy_file("2.2.4", SEQUENTIAL, SEQUENTIAL_WEIGHTS),
        legacy_file("2.9.0", FUNCTIONAL, FUNCTIONAL_WEIGHTS),
    ]
