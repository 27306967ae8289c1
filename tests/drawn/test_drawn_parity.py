"""Models drawn by hypothesis from everything that is run: Keras's numbers, and step = predict on the prefix.

`make parity` compares each value of each option in 20 models or more; here it is one of each, on two workers.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from drawn_compare import EXACT, Refused, compare, compare32, stream
from drawn_models import Drawn, drawn
from drawn_operations import NOT_DRAWN, OPERATIONS
from drawn_options import ALIASES, EVERYWHERE, NO_LAYERS, OPTIONS, REFUSED
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from wide_floats import float64

from everystep.layers import Layer
from everystep.layers.operations import KINDS
from everystep.layers.refused import ConvLSTM
from everystep.models.reader import SUPPORTED

HERE = Path(__file__).parent
PARTS = 2


def arguments(cls: type) -> set[str]:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD} - {"self"}


def test_the_table_has_every_layer_of_the_reader() -> None:
    assert set(OPTIONS) == set(SUPPORTED) - set(NO_LAYERS) - set(ALIASES)
    assert set(NO_LAYERS) >= {"ConvLSTM", "InputLayer"}
    assert issubclass(ConvLSTM, Layer)
    for alias in ALIASES:  # other names, under which Keras writes no layer
        assert getattr(keras.layers, alias).__name__ in OPTIONS


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_table_has_every_argument_of_keras(kind: str) -> None:
    drawn_with = {name for name in OPTIONS[kind] if not name.startswith("call: ")}
    unsaid = arguments(getattr(keras.layers, kind)) - drawn_with - set(REFUSED) - set(EVERYWHERE)
    assert not unsaid
    assert not drawn_with & set(REFUSED)


def test_the_table_has_every_function() -> None:
    assert set(OPERATIONS) == set(KINDS) - set(NOT_DRAWN)


def test_the_closed_list_is_compared_to_the_bit() -> None:
    text = (HERE.parents[1] / "docs" / "streams.md").read_text()
    listed = {line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ") and line[2:] in OPTIONS}
    assert len(listed) > 20
    assert listed == EXACT - {"InputLayer", "LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}


@pytest.mark.parametrize("part", range(PARTS))
def test_everything_drawn_once_beside_keras_on_numpy(part: int) -> None:
    """In a process of its own, whose Keras does not compile: a model takes milliseconds there."""
    command = [sys.executable, str(HERE / "drawn_parity.py"), "--hits", "1", "--part", str(part), str(PARTS)]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "KERAS_BACKEND": "numpy"}
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # which Keras does, for seeds
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawing=st.data(), numbers=st.integers(0, 2**31))
def test_drawn_beside_keras_on_jax(tmp_path_factory: Any, drawing: Any, numbers: int) -> None:
    """Few, because JAX compiles each."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy().name
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with float64():
            try:
                found: Drawn = drawing.draw(drawn())
            except (ValueError, TypeError, NotImplementedError):  # of Keras, which refuses some of what is drawn
                reject()
            try:
                ours = compare(found.model, numbers, tmp_path_factory.mktemp("drawn"))
            except Refused:
                reject()
            stream(ours, numbers)
            compare32(found.model, ours, numbers)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
