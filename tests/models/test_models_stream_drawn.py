"""Models drawn from the closed list of layers: step = predict on the prefix, whatever stands on what."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import same
from topologies import random_weights

from everystep import Input, Model
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    TimeDistributed,
)
from everystep.layers.structure import flatten

UNITS = st.integers(1, 5)
ELEMENTWISE = st.sampled_from(["tanh", "relu", "hard_sigmoid", "gelu", "softmax", "log_softmax"])
T = 6


@st.composite
def recurrent(draw: Any, dtype: str, last: bool) -> Any:
    """A recurrent layer; `last`: it returns its last output alone."""
    options = dict(return_sequences=not last, zero_output_for_mask=draw(st.booleans()), dtype=dtype)
    kind = draw(st.sampled_from(["lstm", "gru", "simple", "rnn", "stack"]))
    if kind in ("rnn", "stack"):
        cells = [cell(draw(UNITS), dtype=dtype) for cell in (LSTMCell, GRUCell, SimpleRNNCell)]
        cells = draw(st.permutations(cells))
        return RNN(cells[0] if kind == "rnn" else cells[:2], **options)
    options |= dict(use_bias=draw(st.booleans()), trainable_initial_state=draw(st.booleans()))
    if kind == "gru":
        options["reset_after"] = draw(st.booleans())
    return {"lstm": LSTM, "gru": GRU, "simple": SimpleRNN}[kind](draw(UNITS), **options)


@st.composite
def layers(draw: Any, x: Any, earlier: list[Any], dtype: str) -> Any:
    """x through one more layer, which keeps the time axis."""
    kind = draw(st.sampled_from(["recurrent", "dense", "activation", "masking", "dropout", "join", "apart", "model"]))
    if kind == "recurrent":
        return draw(recurrent(dtype, last=False))(x)
    if kind == "dense":
        return Dense(draw(UNITS), draw(ELEMENTWISE), dtype=dtype)(x)
    if kind == "activation":
        return Activation(draw(ELEMENTWISE), dtype=dtype)(x)
    if kind == "masking":
        return Masking(draw(st.sampled_from([0.0, 1.5])), dtype=dtype)(x)
    if kind == "dropout":
        return Dropout(0.5, dtype=dtype)(x)
    if kind == "join":
        return Concatenate(dtype=dtype)([x, draw(st.sampled_from(earlier))])
    if kind == "apart":
        return TimeDistributed(Dense(draw(UNITS), dtype=dtype))(x)
    p = Input(x.shape[1:], dtype=dtype)
    inner = Model(p, draw(recurrent(dtype, last=False))(Masking(dtype=dtype)(p)))
    y = inner(x)
    return inner(y) if y.shape[-1] == x.shape[-1] and draw(st.booleans()) else y


@st.composite
def models(draw: Any) -> Any:
    dtype = draw(st.sampled_from(["float32", "float64"]))
    if draw(st.booleans()):
        x = Input((None,), dtype="int32")
        earlier = [Embedding(4, draw(UNITS), mask_zero=draw(st.booleans()), dtype=dtype)(x)]
    else:
        x = Input((T, draw(UNITS)), dtype=dtype)
        earlier = [x]
    for _ in range(draw(st.integers(0, 4))):
        earlier.append(draw(layers(earlier[-1], earlier, dtype)))
    last = draw(recurrent(dtype, last=True))(earlier[-1])
    outputs = [last, Dense(2, draw(ELEMENTWISE), dtype=dtype)(last)]
    sequence = earlier[-1]
    return Model(x, [*outputs, Dropout(0.1, dtype=dtype)(sequence)])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(models(), st.integers(0, 2**31), st.integers(1, 3), st.sets(st.integers(1, T - 1)))
def test_a_drawn_model_streams(model: Any, seed: int, B: int, cuts: set[int]) -> None:
    rng = np.random.default_rng(seed)
    random_weights(model, rng)
    (tensor,) = model.inputs
    if tensor.dtype == "int32":
        x = rng.integers(0, 4, (B, T)).astype("int32")
    else:
        x = rng.normal(size=(B, T, tensor.shape[-1])).astype(tensor.dtype)
        x[rng.random((B, T)) < 0.3] = 0
        x[rng.random((B, T)) < 0.2] = 1.5
    stream, chunked = model.stream(B), model.stream(B)
    for t in range(T):
        found = stream.step(x[:, t])
        *lasts, sequence = flatten(model.run([x[:, : t + 1]])[0])
        same(found, [*lasts, sequence[:, -1]])
    parts = [chunked.run(x[:, start:stop]) for start, stop in itertools.pairwise([0, *sorted(cuts), T])]
    same(parts[-1][:-1], lasts)
    same(np.concatenate([part[-1] for part in parts], axis=1), sequence)
    same(list(stream.state.values()), list(chunked.state.values()))
