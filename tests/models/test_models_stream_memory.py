"""Once warm, a step with `out` allocates no array, and no step adds to what the process holds."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from everystep import Input, Model
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Concatenate,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
)

B, I, H = 8, 128, 128
SMALLEST = 4 * B * H  # bytes of the smallest array with features that a step works on


def closed_list() -> Any:
    """Every layer of the closed list: those whose steps are bound."""
    x, ids = Input((None, I), name="x"), Input((None,), dtype="int32", name="ids")
    y = Concatenate()([Masking(1.5)(x), Embedding(9, I, mask_zero=True)(ids)])
    options = dict(return_sequences=True, return_state=True, return_gates=True)
    y, h, c, every_c, gates = LSTM(H, zero_output_for_mask=True, return_cell_sequences=True, **options)(y)
    y = RNN([GRUCell(H), SimpleRNNCell(H)], return_sequences=True)(Dropout(0.5)(y))
    windows = Conv1D(H, 2, activation="softmax", padding="causal")(Conv1D(H, 3, padding="causal", dilation_rate=2)(x))
    last = GRU(H, reset_after=False)(Activation("log_softmax")(Activation("gelu")(y)))
    heads = [Dense(H, activation="softmax")(last), Dense(H, "tanh")(y), SimpleRNN(H)(Masking()(y))]
    return Model([x, ids], [*heads, windows, h, c, every_c, gates])


def small() -> Any:
    x = Input((None, I))
    return Model(x, Dense(H)(LSTM(H)(x)))


@pytest.mark.parametrize("model", [small(), closed_list()], ids=["small", "closed_list"])
def test_a_warm_step_allocates_nothing(model: Any) -> None:
    rng, stream = np.random.default_rng(5), model.stream(B)
    steps = [
        [rng.normal(size=(B, I)).astype("float32"), rng.integers(0, 9, B).astype("int32")][: len(model.inputs)]
        for _ in range(10)
    ]
    steps = [x_t[0] if len(x_t) == 1 else x_t for x_t in steps]
    out = stream.step(steps[0])
    stream.step(steps[1], out=out)
    tracemalloc.start()
    try:
        for n in range(3_000):  # Python keeps up to 2,000 tuples of each small size once they are made
            stream.step(steps[n % 10], out=out)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for n in range(3_000):
            stream.step(steps[n % 10], out=out)
        after, peak = tracemalloc.get_traced_memory()
        assert after - before < 2_000
        assert peak - before < SMALLEST
    finally:
        tracemalloc.stop()


def test_a_stream_that_is_gone_leaves_nothing() -> None:
    """Its bound calls hold its arrays, and nothing holds them: so it needs no search for cycles."""
    streams = [closed_list().stream(B) for _ in range(2)]
    streams.append(streams[0].fork())
    arrays = [weakref.ref(array) for stream in streams for array in (value.array for value in stream._inputs)]
    arrays += [weakref.ref(held.now) for stream in streams for held in stream._states.values()]
    streams[0].step([np.ones((B, I), "float32"), np.ones(B, "int32")])
    gc.disable()
    try:
        del streams
        assert [array() for array in arrays] == [None] * len(arrays)
    finally:
        gc.enable()
