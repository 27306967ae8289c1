"""What predict takes and gives, what a model says about itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from topologies import H, I, Names, T, data, encoder_decoder, nested, random_weights, shared_layer, states

import everystep
from everystep import Input, Model, Sequential
from everystep.errors import DtypeError, GraphError, OptionError, ShapeError, UnsupportedError
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Concatenate,
    Dense,
    Embedding,
    GRUCell,
    LSTMCell,
    Masking,
    SimpleRNN,
    TimeDistributed,
)
from everystep.layers.structure import flatten

K = Names(everystep, "float32")


def echo(**inputs: Any) -> Model:
    """A model that returns its inputs, each through a layer that changes nothing."""
    tensors = [Input(shape, name=name) for name, shape in inputs.items()]
    return Model(tensors, [Activation("linear")(tensor) for tensor in tensors])


def test_inputs_by_place_by_name_and_in_any_real_dtype() -> None:
    model = echo(a=(2,), b=(3,))
    a, b = np.arange(8).reshape(4, 2), np.ones((4, 3), bool)
    for x in ([a, b], (a, b), {"b": b, "a": a, "more": a}, [a.astype(np.float16), b.astype(np.int8)]):
        found = model.predict(x)
        assert type(found) is list
        for got, given in zip(found, (a, b), strict=True):
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, given)


def test_a_last_axis_of_one_may_be_left_out_or_be_too_much() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(echo(a=(3, 1)).predict(x), x[..., None])
    np.testing.assert_array_equal(echo(a=(3,)).predict(x[..., None]), x)


def test_whole_numbers_stay_whole() -> None:
    ids = Input((None,), dtype="int32", name="ids")
    model = Model(ids, Embedding(5, 2)(ids))
    x = np.array([[0, 4]])
    for dtype in ("int64", "uint8", "float64"):
        np.testing.assert_array_equal(model.predict(x.astype(dtype)), model.predict(x))
    for bad in (np.array([[0.5]]), np.array([[2**40]]), np.array([[np.nan]])):
        with pytest.raises(DtypeError, match=r"input 'ids' takes int32; got an array of .* that int32 cannot hold"):
            model.predict(bad)
    with pytest.raises(OptionError, match="got -1 at"):
        model.predict(np.array([[-1]]))


BAD = [
    (
        np.zeros((4, 3)),
        ShapeError,
        r"input 'a' takes an array of shape \(any number of rows, 2\); got \(4, 3\). Reshape",
    ),
    (np.zeros((4, 2, 2)), ShapeError, r"input 'a' takes an array of shape"),
    (
        np.array([["x", "y"]]),
        DtypeError,
        r"input 'a' takes float32; got an array of <U1 \(ndarray\). Pass real numbers",
    ),
    (np.zeros((4, 2), complex), DtypeError, "got an array of complex128"),
    ([1.0, 2.0], ShapeError, "model 'm' has 1 input, 'a'; got lists of numbers. Pass a NumPy array for each"),
    ([np.zeros((4, 2))] * 2, ShapeError, "has 1 input, 'a'; got 2 arrays"),
    ({"b": np.zeros((4, 2))}, ShapeError, "has the inputs 'a'; the dictionary has no 'a', but 'b'"),
    (None, DtypeError, r"got an array of object \(NoneType\)"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD)
def test_bad_inputs_are_named(x: Any, error: Any, message: str) -> None:
    a = Input((2,), name="a")
    with pytest.raises(error, match=message):
        Model(a, Dense(1)(a), name="m").predict(x)


def test_rows_must_agree_and_dictionaries_be_whole() -> None:
    model = echo(a=(2,), b=(3,))
    with pytest.raises(ShapeError, match="same number of rows; got 4 of 'a', 5 of 'b'"):
        model.predict([np.zeros((4, 2)), np.zeros((5, 3))])
    a, b = Input((2,), name="a"), Input((2,), name="b")
    keyed = Model({"one": a, "two": b}, Concatenate()([a, b]))
    x = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(keyed.predict({"two": x, "one": -x}), np.concatenate([-x, x], axis=1))
    with pytest.raises(ShapeError, match="the dictionary of inputs has no 'two'"):
        keyed.predict({"one": x})
    with pytest.raises(ShapeError, match="has its inputs in a dictionary: pass one with the keys 'one', 'two'"):
        keyed.predict([x, x])


@pytest.mark.parametrize("topology", [states, encoder_decoder, nested, shared_layer])
def test_no_rows_no_steps_and_rows_alone(topology: Any) -> None:
    rng = np.random.default_rng(40)
    model = topology(K)
    random_weights(model, rng)
    x = data(model, rng, rows=6)

    def predict(arrays: list[np.ndarray], **options: Any) -> list[np.ndarray]:
        named = {t.name: a for t, a in zip(model.inputs, arrays, strict=True)}
        return flatten(model.predict(named, **options))

    whole = predict(x)
    for rows in (np.s_[2:3], np.s_[1:5]):
        for a, b in zip(predict([v[rows] for v in x]), whole, strict=True):
            np.testing.assert_array_equal(a, b[rows])
    for a, b in zip(predict(x, batch_size=4), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [v.shape for v in predict([v[:0] for v in x])] == [(0, *v.shape[1:]) for v in whole]
    if topology is not nested and topology is not shared_layer:
        found = predict([v[:, :0] for v in x])
        for tensor, array in zip(model.outputs, found, strict=True):
            assert array.shape == tuple({0: 6, 1: 0}.get(k, s) if s is None else s for k, s in enumerate(tensor.shape))


def test_stepping_a_model_gives_what_it_gives_on_the_prefix() -> None:
    """Masks made at each step, states of a layer called twice kept apart, a model in a model."""
    rng = np.random.default_rng(41)
    x = Input((None, H), name="x")
    ids = Input((None,), dtype="int32", name="ids")
    p = Input((None, H))
    inner = Model(p, Dense(H)(LSTM(H, return_sequences=True)(p)))
    seen = Concatenate()([Masking()(x), Embedding(3, 2, mask_zero=True)(ids)])
    y = LSTM(H, return_sequences=True, zero_output_for_mask=True)(seen)
    model = Model([x, ids], [inner(inner(y)), LSTM(2)(y)])
    random_weights(model, rng)
    whole_x, whole_ids = rng.normal(size=(3, T, H)).astype(np.float32), rng.integers(0, 3, (3, T))
    whole_x[0, 1:3] = 0
    whole_ids[0] = 0
    state = model.initial_state(3)
    for t in range(T):
        (first, last), state = model.step([whole_x[:, t], whole_ids[:, t]], state)
        expected = model.predict([whole_x[:, : t + 1], whole_ids[:, : t + 1]])
        np.testing.assert_array_equal(first, expected[0][:, -1])
        np.testing.assert_array_equal(last, expected[1])
    chunks, state = [], None
    for cut in (np.s_[:, :2], np.s_[:, 2:]):
        out, state = model.run([whole_x[cut], whole_ids[cut]], state)
        chunks.append(out)
    np.testing.assert_array_equal(np.concatenate([c[0] for c in chunks], axis=1), expected[0])
    np.testing.assert_array_equal(chunks[-1][1], expected[1])


def test_the_family_steps_as_it_predicts() -> None:
    """Stacks, cells with one state and with two, layers on each step by itself, masks made at each step."""
    rng = np.random.default_rng(46)
    x = Input((None, I), name="x")
    y, h = GRU(H, return_sequences=True, return_state=True, trainable_initial_state=True)(Masking()(x))
    stack = RNN(
        [LSTMCell(3), GRUCell(2, reset_after=False)], return_sequences=True, return_state=True, return_gates=True
    )
    z, hc, g, gates, more_gates = stack(y)
    each = TimeDistributed(Dense(2, "softmax"))(z)
    model = Model(x, [each, h, *hc, g, gates, more_gates, SimpleRNN(2, zero_output_for_mask=True)(each)])
    random_weights(model, rng)
    values = rng.normal(size=(3, T, I)).astype(np.float32)
    values[0, 1:3] = values[1, -1] = 0
    timed = [True, False, False, False, False, True, True, False]
    state = model.initial_state(3)
    for t in range(T):
        found, state = model.step(values[:, t], state)
        for a, b, in_time in zip(found, model.predict(values[:, : t + 1]), timed, strict=True):
            np.testing.assert_array_equal(a, b[:, -1] if in_time else b)


def test_a_model_that_cannot_be_stepped_names_the_layer() -> None:
    x = Input((None, I))
    model = Model(x, LSTM(2, go_backwards=True, name="back")(x), name="m")
    with pytest.raises(
        UnsupportedError, match="layer 'm' cannot go one step at a time: its layer 'back' cannot: go_back"
    ):
        model.step(np.zeros((1, I), np.float32))


def test_weights_are_set_all_or_none() -> None:
    model = shared_layer(K)
    before = model.get_weights()
    assert [name.split("/")[1] for name in model.named_weights] == [
        "kernel",
        "recurrent_kernel",
        "bias",
        *["kernel", "bias"] * 2,
    ]
    with pytest.raises(ShapeError, match="has 7 weights; got 6"):
        model.set_weights(before[:-1])
    with pytest.raises(ShapeError, match="bias must be of shape"):
        model.set_weights([w + 1 for w in before[:-1]] + [np.zeros(99)])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="read-only"):
        model.weights[0][:] = 0


def test_new_weights_count_at_once() -> None:
    model = Sequential([Input((T, I)), LSTM(H), Dense(2)])
    x = np.ones((1, T, I))
    assert model.predict(x).any()
    model.set_weights([w * 0 for w in model.get_weights()])
    assert not model.predict(x).any()


def test_sequential_grows_shrinks_and_waits_for_its_input() -> None:
    x = np.random.default_rng(42).normal(size=(2, T, I)).astype(np.float32)
    lstm, dense = LSTM(H, name="rec"), Dense(2, name="head")
    model = Sequential([lstm])
    with pytest.raises(GraphError, match="does not know its inputs yet: begin with an Input"):
        _ = model.outputs
    model.add(dense)
    y = model.predict(x)
    np.testing.assert_array_equal(y, dense(lstm(x)))
    assert [layer.name for layer in model.layers] == ["rec", "head"]
    assert model.input_shape == (None, T, I)
    assert model.pop() is dense
    np.testing.assert_array_equal(model.predict(x), lstm(x))
    assert model.output_shape == (None, H)
    short = Sequential([LSTM(H, input_shape=(T, I))])
    assert short.output_shape == (None, H)
    assert Sequential([Dense(2, input_dim=3)]).input_shape == (None, 3)
    stacked = Sequential([model, Dense(3)])
    np.testing.assert_array_equal(stacked.predict(x), stacked.layers[1](lstm(x)))
    with pytest.raises(GraphError, match="already has a layer 'rec'"):
        model.add(LSTM(2, name="rec"))
    with pytest.raises(GraphError, match="has layers already: an Input comes first"):
        model.add(Input((2,)))
    with pytest.raises(UnsupportedError, match="layer 'g' has return_gates; Sequential hands one tensor"):
        model.add(LSTM(2, return_gates=True, name="g"))
    several = Sequential([Input((T, I)), LSTM(2, return_state=True, name="s")])
    assert len(several.predict(x)) == 3
    with pytest.raises(UnsupportedError, match="the layer below 'top' returns 3"):
        several.add(Dense(1, name="top"))
    assert len(several.predict(x)) == 3
    assert len(lstm.nodes) == 1


def test_layers_are_found_and_tensors_come_from_them() -> None:
    model = shared_layer(K)
    lstm = model.layers[2]
    assert model.get_layer(lstm.name) is model.get_layer(index=2) is lstm
    with pytest.raises(OptionError, match="has no layer 'x'; it has 'b', 'a', 'lstm"):
        model.get_layer("x")
    with pytest.raises(OptionError, match="there is none at 9"):
        model.get_layer(index=9)
    with pytest.raises(GraphError, match="has no single output: it is called 2 times"):
        _ = lstm.output
    head = model.layers[-1]
    part = Model(model.input, head.input)
    x = data(model, np.random.default_rng(43))
    assert {np.array_equal(part.predict(x), one) for one in (lstm(x[0]), lstm(x[1]))} == {True, False}
    assert model.output_names == [t.history.operation.name for t in model.outputs]
    assert model.outputs[0].history == (model.outputs[0].history.operation, 0, 0)


def test_summary_names_what_an_lstm_returns(capsys: Any) -> None:
    x = Input((None, I), name="x")
    layer = LSTM(H, return_sequences=True, return_state=True, return_cell_sequences=True, return_gates=True, name="rec")
    model = Model(x, layer(x), name="m")
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert capsys.readouterr().out == ""
    text = "\n".join(lines)
    for words in (
        "rec    LSTM        h at every step                 (?, ?, 4)     128",
        "last h                          (?, 4)",
        "last c                          (?, 4)",
        "c at every step                 (?, ?, 4)",
        "gates i, f, g, o at every step  (?, ?, 4, 4)",
        "128 parameters",
    ):
        assert words in text
    model.summary()
    assert capsys.readouterr().out.strip() == text
    model.predict(np.zeros((1, 2, I)), verbose=1)
    assert capsys.readouterr() == ("", "")


def test_training_is_said_to_be_elsewhere() -> None:
    model = shared_layer(K)
    for method in (model.fit, model.compile, model.evaluate):
        with pytest.raises(
            UnsupportedError, match=r"only runs; to train it, use model.to_keras\(\), or the same code un"
        ):
            method()


def test_graphs_that_are_none() -> None:
    a, b = Input((2,), name="a"), Input((2,), name="b")
    both = Concatenate()([a, b])
    with pytest.raises(GraphError, match="depend on the input 'b', which is not among the model's inputs: 'a'"):
        Model(a, both)
    with pytest.raises(GraphError, match=r"outputs must be symbolic tensors.*got ndarray"):
        Model(a, np.zeros(3))
    with pytest.raises(GraphError, match="is not made by Input"):
        Model(both, Dense(2)(both))
    with pytest.raises(GraphError, match="two layers of one model have the name 'same'"):
        Model(a, Dense(2, name="same")(Dense(2, name="same")(a)))
    with pytest.raises(ShapeError, match="input 'a' takes float32 of shape"):
        Model(a, Dense(2)(a))(Input((3,)))


def test_a_float64_model_and_no_cast_between_layers() -> None:
    x = Input((T, I), dtype="float64")
    y = LSTM(H, return_sequences=True, dtype="float64")(x)
    with pytest.raises(DtypeError, match="layer 'low' is float32 and its input is float64; nothing is cast"):
        LSTM(H, name="low")(y)
    model = Model(x, Dense(2, dtype="float64")(y))
    values = np.random.default_rng(44).normal(size=(2, T, I))
    found = model.predict(values)
    assert found.dtype == np.float64
    assert not np.array_equal(found, model.predict(values.astype(np.float32)))


def test_the_gates_carry_no_mask() -> None:
    x = Input((T, I))
    options = dict(return_sequences=True, return_cell_sequences=True, return_gates=True)
    _, c, gates = LSTM(H, **options)(Masking()(x))
    assert gates.mask is None
    assert c.mask is not None
    model = Model(x, [gates, Concatenate()([gates, gates])])
    values = np.random.default_rng(45).normal(size=(2, T, I))
    values[0, 2:] = 0
    found, joined = model.predict(values)
    np.testing.assert_array_equal(joined, np.concatenate([found, found], axis=-1))
    assert not found[0, 2:].any()
    assert found[0, :2].all()


def test_a_sequential_of_an_input_alone_and_no_weights_at_all_are_named() -> None:
    model = Sequential([Input((6, 3))], name="bare")
    for call in (model.predict, model):
        with pytest.raises(GraphError, match="Sequential 'bare' has no layers on its Input: add one"):
            call(np.zeros((1, 6, 3)))
    model.add(Dense(2))
    assert model.predict(np.zeros((1, 6, 3))).shape == (1, 6, 2)
    with pytest.raises(DtypeError, match="model 'bare': set_weights takes a list of arrays; got NoneType"):
        model.set_weights(None)
    with pytest.raises(DtypeError, match="set_weights takes a list of arrays; got float"):
        model.layers[0].set_weights(1.0)


def test_a_model_runs_and_steps_on_arrays_for_its_inputs() -> None:
    model = echo(a=(2,), b=(3,))
    for verb in (model.run, model.step):
        with pytest.raises(ShapeError, match="has 2 inputs; got 1"):
            verb(None)
        with pytest.raises(DtypeError, match="takes NumPy arrays; got NoneType"):
            verb([None, None])


def test_numbers_that_the_inputs_dtype_cannot_hold_are_refused() -> None:
    model = echo(a=(1,))
    for good in (2**24, -(2**24), 2**62, np.uint64(2**63), np.float64(0.1), np.inf, np.nan):
        np.testing.assert_array_equal(model.predict(np.array([[good]])), [[np.float32(good)]])
    for bad in (1e300, -1e300, 2**62 + 1, 2**24 + 1, -(2**24) - 1, np.uint64(2**64 - 1)):
        with pytest.raises(DtypeError, match=r"input 'a' takes float32; got an array of .* that float32 cannot hold"):
            model.predict(np.array([[bad]]))
    wide = Input((1,), dtype="float64", name="w")
    model = Model(wide, Activation("linear", dtype="float64")(wide))
    assert model.predict(np.array([[2**53]])).item() == 2**53
    with pytest.raises(DtypeError, match="input 'w' takes float64; got an array of int64"):
        model.predict(np.array([[2**53 + 1]]))
    assert model.predict(np.zeros((0, 1), int)).shape == (0, 1)


def test_ids_for_a_model_in_a_model_that_takes_float32() -> None:
    """As a Sequential that begins with Embedding does."""
    encoder = Sequential([Embedding(10, 4, mask_zero=True), LSTM(H)])
    ids = Input((None,), dtype="int32")
    model = Model(ids, encoder(ids))
    assert encoder.inputs[0].dtype == "float32"
    given = np.random.default_rng(46).integers(0, 10, (2, T)).astype("int32")
    found, stream = model.predict(given), model.stream(2)
    np.testing.assert_array_equal(found, encoder.predict(given))
    np.testing.assert_array_equal(stream.run(given), found)
    for t in range(T):
        last = stream.step(given[:, t])
    np.testing.assert_array_equal(last, model.predict(np.concatenate([given, given], axis=1)))
    with pytest.raises(DtypeError, match=r"model 'sequential.*': input .* takes float32; got .* cannot hold"):
        model.predict(np.full((1, 1), 2**24 + 1))
    with pytest.raises(ShapeError, match="takes float32 of shape"):
        encoder(Input((None,), dtype="float64"))
