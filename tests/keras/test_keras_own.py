"""Keras's own tests of its recurrent layers, on ours: `layers` in each of its modules is everystep.keras.layers."""

from __future__ import annotations

import importlib
from types import ModuleType

import keras
import pytest

from everystep.keras import layers

pytest.importorskip("keras.src.layers.rnn.lstm_test", reason="older releases of Keras come without their tests")

# module -> how many tests it has at least, as of Keras 3.15, so that none goes missing unseen
MODULES = {
    "lstm": 5,
    "gru": 9,
    "simple_rnn": 5,
    "bidirectional": 13,
    "rnn": 14,
    "stacked_rnn_cells": 7,
    "time_distributed": 11,
}

# Tests that do not apply to ours here -> why. Keras itself skips each of them on JAX.
NOT_HERE = {
    ("gru", "test_stateful_with_symbolic_batch_size"): "it builds a tf.function; we run these tests on JAX",
    ("gru", "test_torch_cudnn_dispatch_fires"): "it asks whether torch's cuDNN kernel was called",
    ("bidirectional", "test_torch_cudnn_bidirectional_gru_dispatch_fires"): "it asks the same of the fused kernel",
}


def on_our_layers(name: str) -> tuple[ModuleType, type, type]:
    """Keras's module of tests, its one class of tests, and that class for pytest to find."""
    own = importlib.import_module(f"keras.src.layers.rnn.{name}_test")
    own.layers = layers  # type: ignore[attr-defined]
    (found,) = (v for v in vars(own).values() if isinstance(v, type) and issubclass(v, own.testing.TestCase))
    left_out = {test: None for module, test in NOT_HERE if module == name}
    return own, found, type(f"TestKerasOwn_{name}", (found,), {"__test__": True, **left_out})


OWN = {name: on_our_layers(name) for name in MODULES}
globals().update({ours.__name__: ours for _, _, ours in OWN.values()})


@pytest.mark.parametrize("name", MODULES)
def test_the_tests_run_on_our_layers(name: str) -> None:
    own, found, ours = OWN[name]
    assert own.layers is layers
    assert globals()[ours.__name__] is ours
    assert sum(test.startswith("test_") and test in vars(found) for test in dir(found)) >= MODULES[name]
    for module, test in NOT_HERE:
        assert module != name or hasattr(found, test)


def test_the_layers_are_ours() -> None:
    for name in ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "TimeDistributed"):
        assert getattr(layers, name) is not getattr(keras.layers, name)
