"""Bidirectional: two layers, put together; against Keras's, and against the two layers run by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from wide_floats import float64

import everystep
import everystep.keras
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import GRU, LSTM, RNN, Bidirectional, Dense, GRUCell, Input, LSTMCell, SimpleRNN

B, T, I, H = 4, 6, 2, 3
RNG = np.random.default_rng(30)
X, MASK, RESETS = RNG.normal(size=(B, T, I)), RNG.random((B, T)) < 0.6, RNG.random((B, T)) < 0.3
MASK[0], MASK[1] = False, [1, 1, 0, 0, 0, 0]
MODES = ("concat", "sum", "mul", "ave", None)
leaves = keras.tree.flatten


def with_weights(layer: Any) -> Any:
    layer(X)
    rng = np.random.default_rng(31)
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])
    return layer


def pair(library: Any, kind: str, merge_mode: Any, **options: Any) -> Any:
    """A Bidirectional of `library` whose layers are of unequal units where the mode allows it."""
    make, units = getattr(library.layers, kind), H + (merge_mode in ("concat", None))
    options = dict(options, dtype="float64")
    backward = make(units, go_backwards=True, activation="softsign", **options)
    return library.layers.Bidirectional(make(H, **options), merge_mode, backward_layer=backward, dtype="float64")


@pytest.mark.parametrize("merge_mode", MODES)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_as_keras_has_it(kind: str, merge_mode: Any) -> None:
    for sequences, state, masked, start in ((1, 0, 0, 0), (1, 1, 1, 0), (0, 1, 1, 1), (0, 0, 0, 1), (1, 1, 0, 1)):
        options = dict(return_sequences=bool(sequences), return_state=bool(state))
        ours = with_weights(pair(everystep, kind, merge_mode, **options))
        with float64():
            theirs = pair(keras, kind, merge_mode, **options)
            theirs(X)
            theirs.set_weights(ours.get_weights())
            sizes = [units for layer in ours.inner for _, units in layer.state_sizes]
            call: dict[str, Any] = {"mask": MASK if masked else None}
            call["initial_state"] = [RNG.normal(size=(B, size)) for size in sizes] if start else None
            found, expected = ours(X, **call), theirs(X, **call)
        keras.tree.assert_same_structure(found, expected)
        assert_close64(leaves(found), [np.asarray(v) for v in leaves(expected)])


def test_the_backward_layer_goes_the_other_way() -> None:
    """As in Keras 2; Keras 3 makes it go backwards, and refuses the pair."""
    ours = with_weights(Bidirectional(GRU(H, go_backwards=True, return_sequences=True, dtype="float64")))
    assert [each.go_backwards for each in ours.inner] == [True, False]
    with float64():
        theirs = keras.layers.Bidirectional.from_config(ours.get_config())
        theirs(X)
        theirs.set_weights(ours.get_weights())
        assert_close64([ours(X)], [np.asarray(theirs(X))])


def additions(layer: Any, outputs: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """What one layer returns: its h, its last states, its c, its gates."""
    outputs = list(outputs)
    states = [outputs.pop(1) for _ in layer.state_shapes(None)]
    cells = outputs[1 : 1 + len(layer.addition_shapes(None, None)[0])]
    return outputs[:1], states, cells, outputs[1 + len(cells) :]


@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_the_additions_of_both_in_time_order(merge_mode: Any) -> None:
    more = dict(return_sequences=True, return_state=True, return_gates=True, dtype="float64")
    one = LSTM(H, return_cell_sequences=True, trainable_initial_state=True, **more)
    other = RNN([GRUCell(2, dtype="float64"), LSTMCell(4, dtype="float64")], go_backwards=True, **more)
    other.return_cell_sequences = True
    layer = with_weights(Bidirectional(one, merge_mode, backward_layer=other))
    forward, backward = layer.inner
    found = leaves(layer(X, mask=MASK, resets=RESETS))
    h, states, cells, gates = additions(forward, forward(X, mask=MASK, resets=RESETS))
    back = additions(backward, backward(X, mask=MASK, resets=RESETS))
    h_back, cells_back, gates_back = ([v[:, ::-1] for v in back[k]] for k in (0, 2, 3))
    merged = [np.concatenate([*h, *h_back], axis=-1)] if merge_mode else [*h, *h_back]
    expected = [*merged, *states, *leaves(back[1]), *cells, *cells_back, *gates, *gates_back]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    symbolic = leaves(layer(Input((T, I), dtype="float64")))
    assert [(None, *v.shape[1:]) for v in found] == [tensor.shape for tensor in symbolic]
    assert len(layer.output_words()) == len(found)
    for gate in (*gates, *gates_back):
        assert not gate[~MASK].any()
    masks = layer.compute_mask(X, MASK)
    assert len(masks) == len(found)
    for mask, array in zip(masks, found, strict=True):
        assert (mask is None) == (array.ndim != 3)
        if mask is not None:
            np.testing.assert_array_equal(mask, MASK)


def test_each_layer_gets_its_own_states_and_resets_go_back_to_them() -> None:
    one = RNN([GRUCell(2, dtype="float64"), LSTMCell(4, dtype="float64")], return_state=True)
    other = GRU(H, go_backwards=True, return_state=True, trainable_initial_state=True, dtype="float64")
    layer = with_weights(Bidirectional(one, None, backward_layer=other))
    states = [RNG.normal(size=(B, size)) for size in (2, 4, 4, H)]
    forward, backward = layer.inner
    for given, back in ((states, states[3:]), (None, None)):
        expected = [forward(X, initial_state=given and states[:3], resets=RESETS), backward(X, back, resets=RESETS)]
        (h, *after), (h_back, after_back) = (leaves(outputs) for outputs in expected)
        for a, b in zip(leaves(layer(X, given, resets=RESETS)), [h, h_back, *after, after_back], strict=True):
            np.testing.assert_array_equal(a, b)
    outputs, state = layer.run(X)
    for a, b in zip(leaves(state), leaves(outputs)[2:], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(leaves(layer.run(X, state)[0]), leaves(layer(X, leaves(state))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_padding_does_not_leak_and_a_row_is_alone() -> None:
    layer = with_weights(pair(everystep, "GRU", "concat", return_sequences=True, return_state=True))
    whole = layer(X, mask=MASK)
    padded = X.copy()
    padded[~MASK] = np.nan
    for a, b in zip(layer(padded, mask=MASK), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    short = layer(X[1:2, :2])  # the row's real steps
    for a, b in zip(short, whole, strict=True):
        np.testing.assert_array_equal(a[0], b[1, :2] if b.ndim == 3 else b[1])
    for rows in (np.s_[2:3], np.s_[::-1]):
        for a, b in zip(layer(X[rows], mask=MASK[rows]), whole, strict=True):
            np.testing.assert_array_equal(a, b[rows])
    nothing = layer(X[:, :0])
    assert [v.shape for v in nothing] == [(B, 0, 2 * H + 1), (B, H), (B, H + 1)]
    assert [len(v) for v in layer(X[:0])] == [0, 0, 0]


def test_the_layers_are_made_as_keras_makes_them() -> None:
    for given in ("gru", "forward_gru", "backward_gru"):
        ours = Bidirectional(GRU(H, name=given), name="both")
        theirs = keras.layers.Bidirectional(keras.layers.GRU(H, name=given), name="both")
        for a, b in zip(ours.inner, (theirs.forward_layer, theirs.backward_layer), strict=True):
            assert a.get_config() == b.get_config()
    layer = LSTM(H)
    before = layer(np.zeros((1, T, I)))
    both = Bidirectional(layer)
    assert not both.forward_layer.built
    both(X)
    kernel, kernel_back = (each.get_weights()[0] for each in both.inner)
    assert np.abs(kernel - kernel_back).max() > 1e-3  # each draws its own
    np.testing.assert_array_equal(layer(np.zeros((1, T, I))), before)
    assert list(both.named_weights) == [
        f"{way}_{layer.name}/{name}"
        for way in ("forward", "backward")
        for name in ("kernel", "recurrent_kernel", "bias")
    ]
    again = Bidirectional(LSTM(H), weights=both.get_weights())
    np.testing.assert_array_equal(again(X), both(X))


def test_a_config_of_additions_is_that_of_our_keras_layer() -> None:
    entry = Bidirectional(GRU(H, return_gates=True), name="both").serialized()
    theirs = keras.saving.deserialize_keras_object(entry)
    assert type(theirs) is everystep.keras.layers.Bidirectional
    assert theirs.forward_layer.return_gates
    assert theirs.backward_layer.return_gates


x32 = X.astype(np.float32)
BAD: list[tuple[Any, Any, str]] = [
    (lambda: Bidirectional(3), OptionError, "Bidirectional takes an LSTM, a GRU, a SimpleRNN or an RNN; got int"),
    (lambda: Bidirectional(Dense(3, name="d")), UnsupportedError, "got layer 'd', a Dense"),
    (lambda: Bidirectional(GRU(3), "max", name="b"), OptionError, "layer 'b': merge_mode must be one of .*; got 'max'"),
    (
        lambda: Bidirectional(GRU(3), backward_layer=GRU(3)),
        OptionError,
        "opposite directions; both have go_b",
    ),
    (
        lambda: Bidirectional(GRU(3), backward_layer=GRU(3, go_backwards=True, return_state=True)),
        OptionError,
        "return_state must be the same in both layers; got False forward and True backward",
    ),
    (
        lambda: Bidirectional(GRU(3), "sum", backward_layer=GRU(4, go_backwards=True)),
        OptionError,
        "merge_mode 'sum' takes two layers of as many units; got 3 forward and 4 backward. Use 'concat' or None",
    ),
    (lambda: Bidirectional(GRU(3), dtype="float64"), OptionError, "must be of one dtype; got float32, float64"),
    (lambda: Bidirectional(GRU(3), mode="sum"), OptionError, "Bidirectional has no argument 'mode'"),
    (lambda: Bidirectional(GRU(3))(x32[0]), ShapeError, r"takes sequences \(B,T,I\)"),
    (lambda: Bidirectional(GRU(3))(x32, mask=MASK[:, 1:]), ShapeError, r"mask must be \(B,T\)"),
    (
        lambda: Bidirectional(LSTM(3))(x32, initial_state=[np.zeros((B, 3), np.float32)] * 3),
        ShapeError,
        "initial_state must be a list of 4 states, 2 of the forward layer and then 2 of the backward layer; got 3",
    ),
    (lambda: Bidirectional(GRU(3))(Input((T, I), dtype="int32")), DtypeError, "is float32 and its input is int32"),
    (
        lambda: Bidirectional(GRU(3), name="b").step(x32[:, 0]),
        UnsupportedError,
        "'b' cannot go one step at a time",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_what_cannot_be_is_named(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_model_with_it_says_why_it_cannot_be_stepped() -> None:
    x = Input((T, I))
    model = everystep.Model(x, Bidirectional(SimpleRNN(2), name="both")(x))
    with pytest.raises(UnsupportedError, match="layer 'both' cannot: its backward direction begins with the last step"):
        model.step(x32[:, 0])
