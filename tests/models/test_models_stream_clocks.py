"""Layers that complete a step only at some steps of a stream: each step is the newest of predict, of what is there."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streams import copied, same
from topologies import random_weights

from everystep import Input, Model
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    AveragePooling1D,
    Concatenate,
    Conv1D,
    Cropping1D,
    Dense,
    DepthwiseConv1D,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    GRUCell,
    LayerNormalization,
    LSTMCell,
    Masking,
    MaxPooling1D,
    SeparableConv1D,
)
from everystep.layers.structure import flatten
from everystep.models import Stream

B, T, I, H = 3, 13, 4, 5
ALL = dict(return_sequences=True, return_state=True, return_gates=True)


def causal(x: Any) -> Any:
    y = Conv1D(H, 3, padding="causal", dilation_rate=2)(x)
    return [y, GRU(H)(y), Dense(2)(y)]


def pooled(x: Any) -> Any:
    y = MaxPooling1D(2)(Conv1D(H, 3, padding="causal")(x))
    return [y, *LSTM(H, return_cell_sequences=True, **ALL)(y), LSTM(H)(y), Dense(2, activation="relu")(y)]


def on_two_clocks(x: Any) -> Any:
    y = LSTM(H, return_sequences=True)(Conv1D(H, 2, strides=2, activation="tanh")(x))
    z = AveragePooling1D(3, strides=2)(y)
    return [y, z, RNN([GRUCell(H), LSTMCell(2)])(z), Dense(3)(GRU(2, return_sequences=True)(z))]


def same_clocks(x: Any) -> Any:
    """Both complete the same steps, so that they go together."""
    joined = Concatenate()([Conv1D(H, 3)(x), Cropping1D((2, 0))(x)])
    return [joined, GRU(H, zero_output_for_mask=True)(Masking()(joined)), GRU(2, **ALL)(Masking()(joined))]


def running(x: Any) -> Any:
    y = MaxPooling1D(3, strides=1)(x)
    return [GlobalAveragePooling1D()(x), GlobalAveragePooling1D()(y), GlobalMaxPooling1D(keepdims=True)(x)]


def chained(x: Any) -> Any:
    """Convolutions of every kind on top of each other, the causal ones before and after those with a clock."""
    y = Conv1D(H, 3, padding="causal", activation="softmax")(Conv1D(4, 1, activation="relu")(x))
    y = LayerNormalization()(Conv1D(H, 3, strides=2)(y))
    y = Conv1D(6, 2, padding="causal", groups=2)(Conv1D(6, 2, padding="causal")(y))
    z = SeparableConv1D(4, 2, depth_multiplier=2)(DepthwiseConv1D(1)(y))
    return [y, z, Dense(2)(LSTM(H, return_sequences=True)(z)), Dense(2, activation="tanh")(LSTM(H)(z))]


def averaged(x: Any) -> Any:
    y = Conv1D(H, 2, activation="relu")(AveragePooling1D(2)(x))
    joined = Add()([MaxPooling1D(2)(x), Conv1D(I, 2, strides=2)(x)])
    return [GlobalAveragePooling1D()(y), GlobalMaxPooling1D()(joined), GRU(2)(joined), joined]


def sliced(x: Any) -> Any:
    """The newest step, where not every step of the stream completes one."""
    y = MaxPooling1D(2)(x)
    return [y[:, -1], Dense(2)((LSTM(H, return_sequences=True)(y) * 2)[:, -1]), y[..., :1]]


# And how many steps predict refuses: a convolution wants as many as its kernel has, as in Keras.
MODELS: dict[Callable[[Any], Any], int] = {
    causal: 0,
    pooled: 0,
    on_two_clocks: 1,
    same_clocks: 2,
    running: 0,
    chained: 4,
    averaged: 3,
    sliced: 1,
}


def made(topology: Callable[[Any], Any]) -> tuple[Model, np.ndarray]:
    x = Input((None, I))
    model = Model(x, topology(x))
    rng = np.random.default_rng(7)
    random_weights(model, rng)
    return model, rng.normal(size=(B, T, I)).astype("float32")


def newest(model: Model, x: np.ndarray) -> list[np.ndarray]:
    """The newest step of what predict returns, NaN where it has none."""
    found = []
    for tensor, array in zip(model.outputs, flatten(model.run([x])[0]), strict=True):
        timed = tensor.ndim > 2 and tensor.shape[1] is None
        nothing = np.full((B, *array.shape[2:]), np.nan, array.dtype)
        found.append((array[:, -1] if array.shape[1] else nothing) if timed else array)
    return found


@pytest.fixture(params=MODELS, ids=lambda topology: topology.__name__)
def case(request: Any) -> tuple[Model, np.ndarray]:
    return made(request.param)


@pytest.mark.parametrize("topology", MODELS)
def test_each_step_is_the_newest_of_predict(topology: Any) -> None:
    model, x = made(topology)
    stream = model.stream(B)
    for t in range(T):
        found = stream.step(x[:, t])
        if t < MODELS[topology]:
            with pytest.raises(ShapeError, match=r"needs sequences of|there is no index -1"):
                newest(model, x[:, : t + 1])
        else:
            same(found, newest(model, x[:, : t + 1]))


def test_any_cut_gives_the_same(case: Any) -> None:
    model, x = case
    whole = flatten(model.run([x])[0])
    for cuts in ([0, T], [0, 1, 2, T], [0, 3, 4, 9, T]):
        stream, parts = model.stream(B), []
        for start, stop in itertools.pairwise(cuts):
            parts.append(flatten(stream.run(x[:, start:stop])))
        for tensor, *each, expected in zip(model.outputs, *parts, whole, strict=True):
            timed = tensor.ndim > 2 and tensor.shape[1] is None
            same(np.concatenate(each, axis=1) if timed else each[-1], expected)
        stepped = model.stream(B)
        for t in range(T):
            stepped.step(x[:, t])
        same(list(stream.state.values()), list(stepped.state.values()))


@pytest.mark.parametrize("seen", [1, 4, 5])
def test_a_state_goes_on_in_other_streams(case: Any, seen: int) -> None:
    model, x = case
    stream, mixed = model.stream(B), model.stream(B)
    for t in range(seen):
        stream.step(x[:, t])
    mixed.run(x[:, :seen])
    by_name = model.stream(B)
    by_name.state = stream.state
    others = [mixed, stream.fork(), by_name, Stream.from_bytes(model, stream.to_bytes())]
    for t in range(seen, T):
        expected = copied(stream.step(x[:, t]))
        for other in others:
            same(other.step(x[:, t]), expected)


def test_rows_out_of_phase_are_as_each_alone(case: Any) -> None:
    model, x = case
    stream, old, new = (model.stream(B) for _ in range(3))
    for t in range(T):
        if t == 5:
            stream.reset([1])
        if t >= 5:
            as_new = flatten(new.step(x[:, t]))
        found, as_old = flatten(stream.step(x[:, t])), flatten(old.step(x[:, t]))
        for a, b, c in zip(found, as_old, as_new if t >= 5 else as_old, strict=True):
            np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
            np.testing.assert_array_equal(a[1], c[1])


def test_memory_is_constant(case: Any) -> None:
    model, x = case
    stream = model.stream(B)

    def go(rounds: int) -> int:
        for t in range(rounds * T):
            stream.step(x[:, t % T])
        return tracemalloc.get_traced_memory()[0]

    sizes = {name: array.nbytes for name, array in stream.state.items()}
    go(3)
    tracemalloc.start()
    try:
        before = go(160)  # Python keeps up to 2,000 tuples of each small size once they are made
        assert go(160) - before < 2_000
    finally:
        tracemalloc.stop()
    assert {name: array.nbytes for name, array in stream.state.items()} == sizes


def test_a_run_of_rows_out_of_phase_is_refused_and_changes_nothing() -> None:
    model, x = made(pooled)
    stream = model.stream(B)
    stream.run(x[:, :3])
    stream.reset([0])
    state = stream.state
    with pytest.raises(OptionError, match=r"'max_pooling1d.*': the rows of its state wait for different steps"):
        stream.run(x[:, 3:])
    same(list(stream.state.values()), list(state.values()))


def test_out_takes_what_step_returns(case: Any) -> None:
    model, x = case
    stream, other = model.stream(B), model.stream(B)
    out = copied(stream.step(x[:, 0]))
    other.step(x[:, 0])
    for t in range(1, T):
        same(stream.step(x[:, t], out=out), other.step(x[:, t]))


@pytest.mark.parametrize(
    "join",
    [
        lambda x: Concatenate(name="wrong")([x, MaxPooling1D(2)(x)]),
        lambda x: Concatenate(name="wrong")([MaxPooling1D(3)(x), MaxPooling1D(2)(x)]),
        lambda x: Concatenate(name="wrong")([Cropping1D((1, 0))(x), Cropping1D((2, 0))(x)]),
    ],
)
def test_different_clocks_do_not_join(join: Any) -> None:
    x = Input((None, I))
    with pytest.raises(UnsupportedError, match=r"layer 'wrong' .*joins sequences whose steps are complete"):
        Model(x, join(x)).stream()


def test_the_first_step_that_is_not_there_is_nan() -> None:
    x = Input((None, I))
    stream = Model(x, Dense(2, activation="relu")(GRU(3, return_sequences=True)(MaxPooling1D(2)(x)))).stream()
    assert np.isnan(stream.step(np.ones((1, I)))).all()
    first = stream.step(np.ones((1, I)))
    assert np.isfinite(first).all()
    same(stream.step(np.full((1, I), 9.0)), first)  # it stays until there is another
