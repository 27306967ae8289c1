"""Keras's own tests of its LSTM, run on ours."""

from types import SimpleNamespace

import pytest

from everystep.keras.layers import LSTM

own = pytest.importorskip("keras.src.layers.rnn.lstm_test", reason="older releases of Keras come without their tests")


class OurLayers(SimpleNamespace):
    LSTM = LSTM


own.layers = OurLayers()  # the only layer that these tests name is layers.LSTM


class TestKerasOwn(own.LSTMTest):
    __test__ = True


def test_the_tests_run_on_our_layer() -> None:
    assert own.layers.LSTM is LSTM
    assert sum(name.startswith("test_") for name in dir(TestKerasOwn)) >= 6
