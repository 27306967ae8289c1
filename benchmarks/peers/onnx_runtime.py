"""ONNX Runtime's LSTM, GRU and RNN, forward only. They take and give (T,B,...), which is turned outside of the timed
call."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from problem import Problem, reorder

# Of each layer: its operator, where that one's gates are among ours, and what else it must be told.
OPERATORS: dict[str, tuple[str, tuple[int, ...], dict[str, int]]] = {
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),  # i, o, f, g
    "GRU": ("GRU", (0, 1, 2), {"linear_before_reset": 1}),
    "SimpleRNN": ("RNN", (0,), {}),
}


def versions() -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    if gradients:
        raise NotImplementedError("ONNX Runtime does not train")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(model(p).SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {"x": p.x.swapaxes(0, 1).copy()} | dict(zip(starts(p), (s[None] for s in p.states), strict=True))
    return lambda: session.run(["h"], inputs), lambda results: [results[0][:, 0].swapaxes(0, 1)]


def starts(p: Problem) -> list[str]:
    return [f"{letter}0" for letter in p.layer.cell.states]


def model(p: Problem) -> onnx.ModelProto:
    B, T, I, H = p.shape
    operator, order, attributes = OPERATORS[p.layer.name]
    kernel, recurrent_kernel, biases = (reorder(w, order) for w in (*p.weights[:2], p.biases))
    constants = {"W": kernel.T[None], "R": recurrent_kernel.T[None], "b": biases.reshape(1, -1)}
    weights = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    shapes = {"x": (T, B, I)} | dict.fromkeys(starts(p), (1, B, H)) | {"h": (T, 1, B, H)}
    *inputs, h = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    node = helper.make_node(operator, ["x", "W", "R", "b", "", *starts(p)], ["h"], hidden_size=H, **attributes)
    graph = helper.make_graph([node], p.layer.name, inputs, [h], weights)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(found)
    return found
