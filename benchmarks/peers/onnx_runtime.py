"""ONNX Runtime's LSTM, forward only. Its gates are in the order i, o, f, g; it takes and gives (T,B,...), which is
turned outside of the timed call."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from problem import Problem


def versions() -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], dict[str, Any]]]:
    if gradients:
        raise NotImplementedError("ONNX Runtime does not train")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(model(p).SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {"x": p.x.swapaxes(0, 1).copy(), "h0": p.h0[None], "c0": p.c0[None]}
    return lambda: session.run(["h"], inputs), lambda results: {"h": results[0][:, 0].swapaxes(0, 1)}


def model(p: Problem) -> onnx.ModelProto:
    B, T, I, H = p.shape

    def reorder(columns: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(columns, 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    constants = {
        "W": reorder(p.kernel).T[None],
        "R": reorder(p.recurrent_kernel).T[None],
        "b": np.concatenate([reorder(p.bias), np.zeros_like(p.bias)])[None],
    }
    node = helper.make_node("LSTM", ["x", "W", "R", "b", "", "h0", "c0"], ["h"], hidden_size=H)
    shapes = {"x": (T, B, I), "h0": (1, B, H), "c0": (1, B, H), "h": (T, 1, B, H)}
    tensor = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    weights = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([node], "lstm", [tensor["x"], tensor["h0"], tensor["c0"]], [tensor["h"]], weights)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(found)
    return found
