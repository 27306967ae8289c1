"""Nodes of ONNX's LSTM, GRU and RNN on our engine.

https://onnx.ai/onnx/operators/ has the equations. D directions (1 or 2) come first in every weight and state:

    X (T,B,I)   W (D,GH,I)   R (D,GH,H)   B (D,2GH): a bias of W, then one of R   sequence_lens (B)   initial_h (D,B,H)
    Y (T,D,B,H), zero behind a row's last step                                  Y_h and Y_c (D,B,H)

With layout 1 the batch comes first in X, Y and the states. Gates are i, o, f, c in an LSTM and z, r, h in a GRU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx

from everystep import engine

Array = np.ndarray[Any, np.dtype[Any]]
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}  # where our gates stand among ONNX's
ATTRIBUTES = {"hidden_size", "direction", "layout", "linear_before_reset"}
INPUTS = {"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c"}


class Node(NamedTuple):
    """A node with its inputs by name; absent ones are left out."""

    op: str
    attributes: dict[str, Any]
    inputs: dict[str, Array]


def cell_of(node: Node) -> str:
    if node.op == "GRU":
        return "gru" if node.attributes.get("linear_before_reset") else "gru_reset_before"
    return {"LSTM": "lstm", "RNN": "simple"}[node.op]


def weights_of(node: Node, direction: int) -> dict[str, Array]:
    """kernel (I,GH), recurrent_kernel (H,GH) and bias, in our order of gates."""
    order, cell = GATES[node.op], cell_of(node)

    def ours(rows: Array) -> Array:
        return np.concatenate([np.split(rows, len(order))[k] for k in order])

    W, R = node.inputs["W"][direction], node.inputs["R"][direction]
    weights = {"kernel": ours(W).T, "recurrent_kernel": ours(R).T}
    if "B" in node.inputs:
        both = np.stack([ours(part) for part in np.split(node.inputs["B"][direction], 2)])
        weights["bias"] = both if cell == "gru" else both[0] + both[1]
    return {name: np.ascontiguousarray(w) for name, w in weights.items()}


def run(node: Node) -> dict[str, Array]:
    """Y, Y_h, and of an LSTM Y_c, in the dtype of X."""
    left = (node.attributes.keys() - ATTRIBUTES) | (node.inputs.keys() - INPUTS)
    assert not left, f"this does not read {left}"
    batch_first = node.attributes.get("layout", 0) == 1
    x = node.inputs["X"] if batch_first else node.inputs["X"].swapaxes(0, 1)
    (B, T, _), (D, _, H) = x.shape, node.inputs["R"].shape
    way = node.attributes.get("direction", b"forward").decode()
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[way]
    assert len(backwards) == D
    lengths = node.inputs.get("sequence_lens", np.full(B, T))
    mask = np.arange(T) < lengths[:, None]
    names = ("h", "c") if node.op == "LSTM" else ("h",)
    start = {}
    for s in names:
        given = node.inputs.get(f"initial_{s}", np.zeros((B, D, H) if batch_first else (D, B, H), x.dtype))
        start[s] = given.swapaxes(0, 1) if batch_first else given
    x, cell = np.ascontiguousarray(x), cell_of(node)
    Y, last = [], []
    for d, backward in enumerate(backwards):
        states = [np.ascontiguousarray(start[s][d]) for s in names]
        packed = engine.pack(cell, **weights_of(node, d))
        h, after, *_ = engine.run(packed, x, states, mask=None if mask.all() else mask, backwards=backward)
        Y.append(np.where(mask[..., None], h[:, ::-1] if backward else h, 0))
        last.append(after)
    outputs = {"Y": np.stack(Y, axis=2)}  # (B,T,D,H)
    outputs |= {f"Y_{s}": np.stack([after[k] for after in last], axis=1) for k, s in enumerate(names)}  # (B,D,H)
    if not batch_first:
        outputs = {name: v.transpose(1, 2, 0, 3) if name == "Y" else v.swapaxes(0, 1) for name, v in outputs.items()}
    return outputs


def node_of(model: onnx.ModelProto, arrays: Any) -> tuple[Node, list[str]]:
    """The one node of a model, and the names of the outputs that it asks for."""
    (proto,) = model.graph.node
    schema = onnx.defs.get_schema(proto.op_type)
    present = [formal.name for formal, name in zip(schema.inputs, proto.input, strict=False) if name]
    inputs = dict(zip(present, map(np.asarray, arrays), strict=True))
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
    outputs = [formal.name for formal, name in zip(schema.outputs, proto.output, strict=False) if name]
    return Node(proto.op_type, attributes, inputs), outputs


def model_of(node: Node) -> onnx.ModelProto:
    """A model of the node alone, which asks for all outputs."""
    schema = onnx.defs.get_schema(node.op)
    names = [formal.name if formal.name in node.inputs else "" for formal in schema.inputs]
    ranks = {formal.name: 4 if formal.name == "Y" else 3 for formal in schema.outputs}
    proto = onnx.helper.make_node(node.op, names, list(ranks), **node.attributes)
    kind = onnx.helper.np_dtype_to_tensor_dtype
    given = [onnx.helper.make_tensor_value_info(k, kind(v.dtype), v.shape) for k, v in node.inputs.items()]
    returned = [
        onnx.helper.make_tensor_value_info(k, kind(node.inputs["X"].dtype), [None] * rank) for k, rank in ranks.items()
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph([proto], "one", given, returned))
    onnx.checker.check_model(model)
    return model
