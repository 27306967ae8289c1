"""ONNX's own cases of LSTM, GRU and RNN, and what its reference evaluator makes of random nodes of them."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator
from onnx_nodes import Node, model_of, node_of, run
from tolerances import assert_close64

OPS = ("LSTM", "GRU", "RNN")
CASES = (
    "test_gru_batchwise", "test_gru_bidirectional", "test_gru_defaults", "test_gru_reverse", "test_gru_seq_length",
    "test_gru_with_initial_bias",
    "test_lstm_batchwise", "test_lstm_bidirectional", "test_lstm_defaults", "test_lstm_reverse",
    "test_lstm_with_initial_bias",
    "test_rnn_seq_length", "test_simple_rnn_batchwise", "test_simple_rnn_bidirectional", "test_simple_rnn_defaults",
    "test_simple_rnn_reverse", "test_simple_rnn_with_initial_bias",
)  # fmt: skip
# Peepholes let the gates see c as well; neither Keras's cells nor the engine's have them.
CANNOT_APPLY = ("test_lstm_with_peepholes",)


@functools.cache
def cases() -> dict[str, Any]:
    """ONNX's node cases by name, of the three operators alone; some of their weights are drawn when they are made."""
    np.random.seed(0)  # noqa: NPY002, it is ONNX that draws
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other operators' cases
        found = collect_testcases(None)
    return {case.name: case for case in found if any(node.op_type in OPS for node in case.model.graph.node)}


def test_no_case_is_left_out() -> None:
    assert sorted(cases()) == sorted((*CASES, *CANNOT_APPLY))


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_onnx(name: str) -> None:
    """Its outputs are float32, for which the case has a tolerance; in float64 the evaluator has the numbers anew."""
    case = cases()[name]
    assert case.data_sets
    for arrays, expected in case.data_sets:
        node, outputs = node_of(case.model, arrays)
        found = run(node)
        for output, wanted in zip(outputs, expected, strict=True):
            assert found[output].dtype == wanted.dtype == np.float32
            assert found[output].shape == wanted.shape
            np.testing.assert_allclose(found[output], wanted, rtol=case.rtol, atol=case.atol, err_msg=output)
        check64(node)


def check64(node: Node) -> None:
    """Every output of the node in float64, beside the reference evaluator's."""
    node = node._replace(inputs={name: v.astype(np.float64) for name, v in node.inputs.items()})
    found, wanted = run(node), evaluated(node)
    assert found.keys() == wanted.keys()
    assert_close64([found[name] for name in wanted], list(wanted.values()))


SIZES = dict(B=3, T=5, I=2, H=4)
KINDS = (("LSTM", 0), ("RNN", 0), ("GRU", 0), ("GRU", 1))  # and linear_before_reset


def random_node(rng: np.random.Generator, op: str, linear: int, direction: str, layout: int) -> Node:
    """With everything that a node may have but sequence_lens and P."""
    (B, T, I, H), G = SIZES.values(), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    D = 2 if direction == "bidirectional" else 1
    state = (B, D, H) if layout else (D, B, H)
    shapes = {"X": (B, T, I) if layout else (T, B, I), "W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    shapes["initial_h"] = state
    if op == "LSTM":
        shapes["initial_c"] = state
    attributes = dict(hidden_size=H, direction=direction.encode(), layout=layout)
    if op == "GRU":
        attributes["linear_before_reset"] = linear
    return Node(op, attributes, {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()})


def evaluated(node: Node) -> dict[str, Any]:
    """By ONNX's reference evaluator, which has no notion of sequence_lens."""
    model = model_of(node)
    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, node.inputs), strict=True))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "linear"), KINDS)
def test_random_nodes(op: str, linear: int, direction: str, layout: int) -> None:
    rng = np.random.default_rng(len(direction) + layout)
    check64(random_node(rng, op, linear, direction, layout))


@pytest.mark.parametrize("without", ["B", "initial_h"])
@pytest.mark.parametrize(("op", "linear"), KINDS)
def test_optional_inputs(op: str, linear: int, without: str) -> None:
    """Left out they are zeros; an LSTM may have one of its two states."""
    node = random_node(np.random.default_rng(5), op, linear, "bidirectional", 0)
    node.inputs.pop(without)
    check64(node)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "linear"), KINDS)
def test_sequence_lengths(op: str, linear: int, direction: str, layout: int) -> None:
    """A row of a certain length is what the evaluator makes of it cut to that length, and then zeros."""
    rng = np.random.default_rng(7)
    node = random_node(rng, op, linear, direction, layout)
    T, lengths = SIZES["T"], np.array([3, 5, 1], np.int32)
    found = run(node._replace(inputs=node.inputs | {"sequence_lens": lengths}))
    rows = 0 if layout else 1  # the axis of the batch in X and the states
    steps = 1 if layout else 0
    for b, length in enumerate(lengths):
        inputs = dict(node.inputs, X=node.inputs["X"].take(range(length), axis=steps))
        for name in ("X", "initial_h", "initial_c"):
            if name in inputs:
                inputs[name] = inputs[name].take([b], axis=rows)
        wanted = evaluated(node._replace(inputs=inputs))
        padding = [(0, T - length) if axis == steps else (0, 0) for axis in range(4)]
        wanted["Y"] = np.pad(wanted["Y"], padding)
        at = {name: v.take([b], axis=(0 if layout else 2 if name == "Y" else 1)) for name, v in found.items()}
        assert_close64([at[name] for name in wanted], list(wanted.values()))
