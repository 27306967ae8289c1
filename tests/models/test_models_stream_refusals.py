"""What cannot be streamed is refused by name when a stream is opened, and what does not fit changes nothing."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streams import B, Case, same
from topologies import (
    H,
    I,
    Names,
    T,
    bidirectional,
    both_ways,
    encoder_decoder,
    explicit_mask,
    grus,
    masks,
    one_lstm,
    shared_layer,
    stacked,
    states,
)

import everystep
from everystep import Input, Model
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import GRU, LSTM, Activation, Bidirectional, Concatenate, Dense, Layer, Masking, TimeDistributed
from everystep.models import Stream
from everystep.models.stream_state import MAGIC


class Mean(Layer):
    """Of a whole sequence."""

    def apply(self, inputs: Any) -> Any:
        return inputs.mean(axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *input_shape[2:])


class Swap(Layer):
    def apply(self, inputs: Any) -> Any:
        return np.swapaxes(inputs, 1, 2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[2], input_shape[1])


def changing_start(x: Any) -> Any:
    return LSTM(H, name="wrong")(x, initial_state=LSTM(H, return_state=True)(x)[1:])


def inner_backwards(x: Any) -> Any:
    p = Input((T, I))
    return Model(p, GRU(2, go_backwards=True, name="wrong")(p), name="inner")(x)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "go_backwards": (lambda x: LSTM(H, go_backwards=True, name="wrong")(x), "'wrong'.*begins with the last step"),
    "bidirectional": (lambda x: Bidirectional(GRU(H), name="wrong")(x), "'wrong'.*backward direction begins with the"),
    "inner": (inner_backwards, "'inner/wrong'.*begins with the last step"),
    "joined in time": (lambda x: Concatenate(axis=1, name="wrong")([x, x]), "'wrong'.*along the time axis"),
    "changing start": (changing_start, "'wrong'.*its initial_state changes with every step"),
    "whole sequence": (lambda x: Mean(name="wrong")(x), "'wrong'.*looks at the whole sequence at once"),
    "moved": (lambda x: Swap(name="wrong")(x), "'wrong'.*moves the time axis"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_cannot_stream_are_named(name: str) -> None:
    make, message = REFUSED[name]
    x = Input((T, I))
    model = Model(x, make(x))
    with pytest.raises(UnsupportedError, match=rf"layer {message}"):
        model.stream()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Dense(2, name="wrong"),
        lambda: Activation("softmax", name="wrong"),
        lambda: Activation("log_softmax", name="wrong"),
        lambda: Swap(name="wrong"),
    ],
)
def test_what_goes_along_the_only_axis_is_named(layer: Any) -> None:
    """A streamed (B,T) has no features, and what would go along them would go along time."""
    x = Input((T,))
    y = Activation("tanh")(x)
    if isinstance(made := layer(), Swap):
        made.compute_output_shape = lambda shape: shape
    with pytest.raises(UnsupportedError, match="'wrong' cannot go one step at a time: its input has no axis but time"):
        Model(x, made(y)).stream()
    with pytest.raises(UnsupportedError, match="'joined' cannot go one step at a time"):
        Model(x, Concatenate(name="joined")([y, x])).stream()


def test_a_streamed_and_a_whole_sequence_do_not_join() -> None:
    x, whole = Input((T, I), name="x"), Input((T, I), name="whole")
    model = Model([x, whole], GRU(H)(Concatenate(name="wrong")([x, whole])))
    with pytest.raises(UnsupportedError, match=r"'wrong'.*a streamed sequence together with one that is not streamed"):
        model.stream(static={"whole": np.zeros((1, T, I))})
    model.stream()
    mask = Input((T,), dtype="bool", name="mask")
    model = Model([x, mask], GRU(H, name="wrong")(x, mask=mask))
    with pytest.raises(UnsupportedError, match=r"'wrong'.*together with one that is not streamed"):
        model.stream(static={"mask": np.ones((1, T), bool)})


@pytest.mark.parametrize("topology", [masks, explicit_mask, grus, bidirectional, both_ways])
def test_topologies_that_read_from_the_end(topology: Any) -> None:
    with pytest.raises(
        UnsupportedError, match=r"layer '.*' cannot go one step at a time: (it |go_backwards=True |its )"
    ):
        topology(Names(everystep)).stream(2)


def test_inputs_without_time() -> None:
    for shape in ((), (None, None)):
        x = Input(shape, name="odd")
        with pytest.raises(UnsupportedError, match=r"input 'odd' of shape .* has no time axis, or an unknown size"):
            Model(x, Activation("tanh")(x)).stream()


def test_static_inputs_that_do_not_fit() -> None:
    model = Case(encoder_decoder).model
    for static, error, message in (
        ([1], OptionError, "static must be a dictionary of arrays by inputs' names; got list"),
        (np.ones(3), OptionError, "static must be a dictionary of arrays by inputs' names; got ndarray"),
        ({"wrong": 1}, OptionError, "has the inputs 'ids', 'target'; static holds some of them.*Got 'wrong'"),
        ({"ids": 1, "target": 1}, OptionError, "by name, and not all"),
        ({"ids": np.zeros((1, 3))}, ShapeError, r"input 'ids': this stream has 2 rows \(batch_size\); got 1"),
        ({"ids": np.full((2, 3), 0.5)}, DtypeError, "input 'ids' takes int32"),
    ):
        with pytest.raises(error, match=message):
            model.stream(2, static=static)
    for batch_size in (0, 1.5, True):
        with pytest.raises(OptionError, match="batch_size must be a whole number from 1 on"):
            model.stream(batch_size)


def unchanged(stream: Any) -> Callable[[], None]:
    state, steps = stream.state, stream.steps

    def check() -> None:
        same(list(stream.state.values()), list(state.values()))
        assert stream.steps == steps

    return check


def test_steps_that_do_not_fit_change_nothing() -> None:
    stream = Case(one_lstm).open()
    stream.step(np.ones((B, I)))
    check = unchanged(stream)
    for bad, error, message in (
        (np.zeros((B, I + 1)), ShapeError, "takes an array of shape"),
        (np.zeros((1, I)), ShapeError, r"this stream has 3 rows \(batch_size\); got 1"),
        (np.zeros((B, 1, I)), ShapeError, "takes an array of shape"),
        (np.full((B, I), 1e300), DtypeError, "that float32 cannot hold"),
        (np.full((B, I), "x"), DtypeError, "takes float32; got an array of <U1"),
        (None, DtypeError, "takes float32"),
        ({"wrong": 1}, ShapeError, "has 1 streamed input, .*; got a dictionary of 'wrong'"),
        ({"x": np.zeros((B, I)), "more": 1}, ShapeError, "has 1 streamed input, .*; got a dictionary of 'x', 'more'"),
    ):
        with pytest.raises(error, match=message):
            stream.step(bad)
        check()
    with pytest.raises(ShapeError, match="same number of steps of each input, from 1 on"):
        stream.run(np.zeros((B, 0, I)))
    frozen = np.zeros((B, H), np.float32)
    frozen.flags.writeable = False
    for out, error in (
        (np.zeros((B, H)), DtypeError),
        (np.zeros((1, H), np.float32), ShapeError),
        (frozen, DtypeError),
        ([frozen.copy()], DtypeError),
    ):
        with pytest.raises(error, match=r"out\[0\] must be"):
            stream.step(np.ones((B, I)), out=out)
        check()


def test_an_id_out_of_range_changes_nothing() -> None:
    """Though the layers before the one that refuses have gone on by then, in the order of the graph."""
    x, ids = Input((None, I), name="x"), Input((None,), dtype="int32", name="ids")
    first = LSTM(H, return_sequences=True)(x)
    model = Model([x, ids], GRU(2)(Concatenate()([first, everystep.layers.Embedding(4, 2)(ids)])))
    stream = model.stream(2)
    stream.step({"x": np.ones((2, I)), "ids": np.array([1, 3])})
    check = unchanged(stream)
    for bad in (-1, 4):
        with pytest.raises(OptionError, match=f"has ids from 0 to 3 .*; got {bad} at"):
            stream.step([np.ones((2, I)), np.array([1, bad])])
        with pytest.raises(OptionError, match=f"; got {bad} at"):
            stream.run([np.ones((2, 3, I)), np.full((2, 3), bad)])
        check()
    with pytest.raises(ShapeError, match=r"same number of steps of each input, from 1 on; got \[2, 3\]"):
        stream.run([np.ones((2, 3, I)), np.ones((2, 2))])
    with pytest.raises(ShapeError, match="has 2 streamed inputs, 'x', 'ids'; got 1"):
        stream.step(np.ones((2, I)))


def test_states_and_rows_that_do_not_fit_change_nothing() -> None:
    stream = Case(states).open()
    stream.step(np.ones((B, I)))
    (h, c), good = stream.state, stream.state
    check = unchanged(stream)
    for bad, error, message in (
        ({h: good[h]}, OptionError, f"state must be a dictionary of '{h}', '{c}'; got '{h}'"),
        ([1, 2], OptionError, "got list"),
        (good | {"more": good[h]}, OptionError, "'more'"),
        ({h: good[h] + 1, c: good[c][:1]}, ShapeError, f"state '{c}' must be of shape"),
        ({h: good[h] + 1, c: good[c].astype(float)}, DtypeError, f"state '{c}' must be float32; got float64"),
        ({h: good[h] + 1, c: [1.0]}, DtypeError, "got list"),
    ):
        with pytest.raises(error, match=message):
            stream.state = bad
        check()
    for bad, error in (
        ([3], OptionError),
        ([-1], OptionError),
        (np.array([True]), ShapeError),
        ([0.5], DtypeError),
        (1, DtypeError),
    ):
        with pytest.raises(error, match="rows"):
            stream.reset(bad)
        check()


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def written(blob: bytes, **changes: Any) -> bytes:
    """The bytes with another header, and a check sum that is right."""
    start = len(MAGIC) + 6
    (length,) = struct.unpack_from("<I", blob, len(MAGIC) + 2)
    header = json.dumps(json.loads(blob[start : start + length]) | changes).encode()
    return sealed(MAGIC + struct.pack("<HI", 1, len(header)) + header + blob[start + length : -4])


def test_bytes_that_are_damaged_are_refused() -> None:
    case = Case(stacked)
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    blob, model = stream.to_bytes(), case.model
    for size in range(len(blob)):
        with pytest.raises(OptionError, match=r"not the bytes of|are damaged: their check sum"):
            Stream.from_bytes(model, blob[:size])
    for place in range(len(blob)):
        with pytest.raises(OptionError, match=r"these (are not the|bytes)"):
            Stream.from_bytes(model, blob[:place] + bytes([blob[place] ^ 4]) + blob[place + 1 :])
    same(list(Stream.from_bytes(model, written(blob)).state.values()), list(stream.state.values()))
    name = next(iter(stream.state))
    for changes, message in (
        ({"states": [[name, "<f4", [B, 10**9]]]}, "does not fit in them"),
        ({"states": [[name, "<f4", [-B, -4]]]}, "does not fit in them"),
        ({"states": [[name, "|O", [B]]]}, "header is not one"),
        ({"states": [[name, "1" * 5000 + ",f4", [B]]]}, "header is not one"),
        ({"states": [[name, ["f4"], [B]]]}, "header is not one"),
        ({"states": [[name, "<f4", [B, H]]]}, "bytes are left over"),
        ({"states": 3}, "header is not one"),
        ({"states": [[name, "no", [1]]]}, "header is not one"),
        ({"steps": -1}, "header is not one"),
        ({"more": 1}, "header is not one"),
    ):
        with pytest.raises(OptionError, match=message):
            Stream.from_bytes(model, written(blob, **changes))
    with pytest.raises(OptionError, match="version 2 of a stream's state; this everystep reads 1"):
        Stream.from_bytes(model, sealed(MAGIC + struct.pack("<HI", 2, 2) + b"{}"))
    with pytest.raises(DtypeError, match="got str"):
        Stream.from_bytes(model, "text")


def test_bytes_of_another_model_are_refused() -> None:
    case = Case(encoder_decoder)
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    blob, model = stream.to_bytes(), case.model
    with pytest.raises(OptionError, match="of a stream of another model than"):
        Stream.from_bytes(model, blob, {"ids": (case.static["ids"] + 1) % 3})
    with pytest.raises(OptionError, match="of a stream of another model than"):
        Stream.from_bytes(Case(shared_layer).model, blob)
    weights = model.get_weights()
    weights[-1][0] += 1
    model.set_weights(weights)
    with pytest.raises(OptionError, match="of a stream of another model than"):
        Stream.from_bytes(model, blob, case.static)
    weights[-1][0] -= 1


def test_a_masked_time_distributed_can() -> None:
    """What is refused on sequences is not on what has no time axis, nor inside TimeDistributed."""
    x = Input((None, 4, I))
    y = TimeDistributed(Bidirectional(GRU(2)))(x)
    last = LSTM(H)(Masking()(y))
    Model(x, Activation("softmax")(Concatenate(axis=1)([last, Dense(2)(last)]))).stream()
