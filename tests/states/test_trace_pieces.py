"""Traces made of some rows, or some steps, at a time: the same bits; memory that the length does not move."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import assert_close64

from everystep import Input, Model
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Attention,
    AveragePooling1D,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    GRUCell,
    LSTMCell,
    Masking,
    SimpleRNN,
    TimeDistributed,
)
from everystep.states.trace import Trace

I, H = 3, 4
T = 13


def streamed(dtype: str) -> Any:
    """Masks, a stack of cells, a layer called twice, a model in a model, windows, steps of several at once."""
    d = dict(dtype=dtype)
    x = Input((None, I), name="x", **d)
    y = LSTM(H, return_sequences=True, name="lstm", trainable_initial_state=True, **d)(Masking(1.5, **d)(x))
    shared = GRU(H, return_sequences=True, reset_after=False, name="twice", **d)
    z = RNN([GRUCell(2, **d), LSTMCell(3, **d)], return_sequences=True, name="stack", **d)(shared(shared(y)))
    p = Input((None, 3), **d)
    inner = Model(p, SimpleRNN(2, return_sequences=True, name="simple", **d)(p), name="inner")
    v = AveragePooling1D(3, **d)(Conv1D(2, 3, padding="causal", **d)(inner(z)))
    return Model(x, [LSTM(H, name="pooled", **d)(v), Dense(2, **d)(y)])


def numbers(T: int, rows: int = 3) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(rows, T, I))
    x[0, 2:5] = x[1, -3:] = 1.5
    return x


def weighted(model: Any) -> Any:
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def same(one: Trace, other: Trace) -> None:
    assert list(one) == list(other)
    assert len(one) > 0
    for name in one:
        assert one.arrays(name).keys() == other.arrays(name).keys()
        for what, array in one.arrays(name).items():
            if what == "weights":  # attention keeps no bits
                assert_close64([other.arrays(name)[what]], [array])
            else:
                np.testing.assert_array_equal(other.arrays(name)[what], array)
    assert one.timeline() == other.timeline()


PIECES = [dict(batch_size=1), dict(batch_size=2), dict(chunk=1), dict(chunk=4), dict(chunk=5, batch_size=2),
          dict(chunk=T), dict(chunk=50, batch_size=9)]  # fmt: skip


@pytest.mark.parametrize("pieces", PIECES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_has_the_same_bits(dtype: str, pieces: dict[str, int], tmp_path: Path) -> None:
    model, x = weighted(streamed(dtype)), numbers(T)
    whole = model.trace(x)
    same(whole, model.trace(x, **pieces).compute())
    same(whole, model.trace(x, **pieces))
    model.trace(x, **pieces).save(tmp_path / "pieces.nc")
    same(whole, Trace.load(tmp_path / "pieces.nc"))
    assert Trace.load(tmp_path / "pieces.nc").to_xarray().identical(whole.to_xarray())


def encoder_decoder() -> Any:
    d = dict(dtype="float64")
    x, y = Input((None, I), name="x", **d), Input((None, I), name="y", **d)
    a, *states = LSTM(H, return_sequences=True, return_state=True, name="encoder", **d)(x)
    back = Bidirectional(GRU(2, return_sequences=True, name="gru", **d), name="both")(a)
    q = LSTM(H, return_sequences=True, name="decoder", **d)(y, initial_state=states)
    return weighted(Model([x, y], Attention(name="attention", **d)([q, Dense(H, **d)(back)])))


@pytest.mark.parametrize("pieces", [dict(chunk=3), dict(chunk=3, batch_size=2)], ids=str)
def test_a_static_encoder(pieces: dict[str, int], tmp_path: Path) -> None:
    model = encoder_decoder()
    arrays = [numbers(6), numbers(T)]
    whole = model.trace(arrays)
    cut = model.trace(arrays, static=["x"], **pieces)
    same(whole, cut)
    assert [segment.layers[-1] for segment in cut.timeline()] == ["both/backward_gru", "decoder"]
    model.trace(arrays, static=["x"], **pieces).save(tmp_path / "pieces.nc")
    same(whole, Trace.load(tmp_path / "pieces.nc"))


def test_rows_inside_time_distributed(tmp_path: Path) -> None:
    ids = Input((4, 6), dtype="int32")
    inner = TimeDistributed(LSTM(H, name="words"), name="lines")(Embedding(5, I, mask_zero=True)(ids))
    model = weighted(Model(ids, GRU(2, name="text")(inner)))
    x = np.random.default_rng(3).integers(0, 5, (5, 4, 6))
    whole, cut = model.trace(x), model.trace(x, batch_size=2)
    same(whole, cut)
    model.trace(x, batch_size=2).save(tmp_path / "rows.nc")
    same(whole, Trace.load(tmp_path / "rows.nc"))
    with pytest.raises(UnsupportedError, match="layer 'lines/words' runs on each step as if it were a row"):
        model.trace(x, chunk=2)


@pytest.mark.parametrize("pieces", [dict(batch_size=4), dict(batch_size=4, chunk=50)], ids=str)
def test_memory_does_not_grow_with_the_input(pieces: dict[str, int], tmp_path: Path) -> None:
    """A file is written of an input on disk, and of one eight times as long: what is held at once stays the same."""
    x = Input((None, I))
    model = weighted(Model(x, GRU(8, name="b")(LSTM(16, return_sequences=True, name="a")(x))))
    by_rows = "chunk" not in pieces
    peaks = []
    for times in (1, 8):
        shape = (32 * times, 200, I) if by_rows else (4, 400 * times, I)
        array = np.lib.format.open_memmap(tmp_path / f"{times}.npy", "w+", np.float32, shape)
        array[:] = np.random.default_rng(4).normal(size=shape)
        model.trace(array, **pieces).save(tmp_path / "warm.nc")
        tracemalloc.start()
        model.trace(array, **pieces).save(tmp_path / f"{times}.nc")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    steps = int(np.prod(shape[:2]))
    whole = steps * 4 * (16 * 6 + 8 * 4)  # bytes of h, c and gates of both layers
    labels = 6 * steps * 8 // (1 if not by_rows else 200)  # time, step and row for each layer
    assert peaks[1] < peaks[0] + labels + 50_000
    assert peaks[1] < whole / 4


def test_what_cannot_be_cut() -> None:
    x = Input((None, I), name="x")
    with pytest.raises(UnsupportedError, match="layer 'both' cannot go one step at a time"):
        Model(x, Bidirectional(GRU(2), name="both")(x)).trace(numbers(T), chunk=2)
    with pytest.raises(UnsupportedError, match="'back' cannot go one step at a time: go_backwards"):
        Model(x, GRU(2, go_backwards=True, name="back")(x)).trace(numbers(T), chunk=2)
    model = encoder_decoder()
    arrays = [numbers(6), numbers(T)]
    for static, match in ((["x", "y"], "and not all"), (["z"], "static names some of them"), ("x", "is a list of")):
        with pytest.raises(OptionError, match=match):
            model.trace(arrays, chunk=2, static=static)
    with pytest.raises(UnsupportedError, match="layer 'both' cannot go one step at a time"):
        model.trace(arrays, chunk=2)
    ids = Input((None,), dtype="int32")
    ragged = Model(ids, LSTM(H)(Embedding(5, I, mask_zero=True)(ids)))
    with pytest.raises(UnsupportedError, match="sequences of different lengths are not cut"):
        ragged.trace([np.array([1, 2]), np.array([3])], chunk=2)
    two = Input((None, I), name="two")
    both = Model([x, two], [LSTM(H)(x), LSTM(H)(two)])
    with pytest.raises(ShapeError, match="inputs that are not static have the same number of steps"):
        both.trace([numbers(4), numbers(5)], chunk=2).compute()
    shared = LSTM(H, name="shared")
    with pytest.raises(UnsupportedError, match="layer 'shared' is called several times, on what is static too"):
        Model([x, two], [shared(x), shared(two)]).trace([numbers(4), numbers(4)], chunk=2, static=["x"]).compute()
