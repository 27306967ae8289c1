"""RNN over cells and stacks, the cells themselves, TimeDistributed, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from wide_floats import float64

import everystep
import everystep.keras
import everystep.layers as ours_layers
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    Dense,
    GRUCell,
    Input,
    Layer,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
    TimeDistributed,
)

B, T, I = 4, 5, 2
RNG = np.random.default_rng(40)
X, MASK, RESETS = RNG.normal(size=(B, T, I)), RNG.random((B, T)) < 0.6, RNG.random((B, T)) < 0.3
leaves = keras.tree.flatten

CELLS: dict[str, Any] = {
    "lstm": lambda k: k.LSTMCell(3, dtype="float64"),
    "gru": lambda k: k.GRUCell(3, reset_after=False, activation="softsign", dtype="float64"),
    "simple": lambda k: k.SimpleRNNCell(3, use_bias=False, dtype="float64"),
    "stack": lambda k: k.StackedRNNCells(
        [
            k.LSTMCell(3, dtype="float64"),
            k.GRUCell(4, dtype="float64"),
            k.SimpleRNNCell(2, dtype="float64"),
            k.LSTMCell(2, unit_forget_bias=False, dtype="float64"),
        ],
        dtype="float64",
    ),
}


def with_weights(layer: Any, x: np.ndarray = X) -> Any:
    layer(x)
    rng = np.random.default_rng(41)
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])
    return layer


def stack(**options: Any) -> Any:
    return with_weights(RNN(CELLS["stack"](ours_layers), dtype="float64", **options))


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
def test_as_keras_has_it(kind: str, backwards: bool) -> None:
    for sequences, zero, masked, start in ((0, 0, 1, 0), (1, 1, 1, 1), (1, 0, 0, 1), (0, 1, 1, 0)):
        options = dict(return_sequences=bool(sequences), zero_output_for_mask=bool(zero), return_state=True)
        options |= dict(go_backwards=backwards, dtype="float64")
        ours = with_weights(RNN(CELLS[kind](ours_layers), **options))
        with float64():
            theirs = keras.layers.RNN(CELLS[kind](keras.layers), **options)
            theirs(X)
            theirs.set_weights(ours.get_weights())
            state = [[RNG.normal(size=(B, cell.units)) for _ in cell.spec.states] for cell in ours.cells]
            call: dict[str, Any] = {"mask": MASK if masked else None}
            call["initial_state"] = (state if kind == "stack" else state[0]) if start else None
            found, expected = ours(X, **call), theirs(X, **call)
        keras.tree.assert_same_structure(
            keras.tree.map_structure(np.asarray, found), keras.tree.map_structure(np.asarray, expected)
        )
        assert_close64(leaves(found), [np.asarray(v) for v in leaves(expected)])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_stack_is_layers_on_layers_and_keeps_all_that_they_keep(backwards: bool) -> None:
    more = dict(return_sequences=True, return_state=True, return_gates=True)
    layer = stack(return_cell_sequences=True, go_backwards=backwards, **more)
    apart = [
        LSTM(3, return_cell_sequences=True, go_backwards=backwards, dtype="float64", **more),
        GRU(4, dtype="float64", **more),
        SimpleRNN(2, dtype="float64", **more),
        LSTM(2, return_cell_sequences=True, dtype="float64", **more),
    ]
    found = layer(X, mask=MASK, resets=RESETS)
    h, states, cells, gates, flags = X, [], [], [], (MASK, RESETS)
    for cell, each in zip(layer.cells, apart, strict=True):
        each(h)
        each.set_weights(cell.get_weights())
        h, *outputs = each(h, mask=flags[0], resets=flags[1])
        flags = tuple(v[:, ::-1] for v in (MASK, RESETS)) if backwards else flags
        count = len(cell.spec.states)
        states.append(outputs[:count])
        cells += outputs[count:-1]
        gates.append(outputs[-1])
    expected = [h, *states, *cells, *gates]
    keras.tree.assert_same_structure(list(found), expected)
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    words = layer.output_words()
    assert len(words) == len(leaves(found))
    assert words[1:3] == ["last h of lstm_cell", "last c of lstm_cell"] or words[1].startswith("last h of lstm_cell_")
    masks = layer.compute_mask(X, MASK)
    in_order = MASK[:, ::-1] if backwards else MASK
    assert len(masks) == len(words)
    for mask, word in zip(masks[1:], words[1:], strict=True):
        assert (mask is None) != word.startswith("c at every step")
        if mask is not None:
            np.testing.assert_array_equal(mask, in_order)
    symbolic = layer(Input((T, I), dtype="float64"))
    assert [tensor.shape for tensor in leaves(symbolic)] == [(None, *v.shape[1:]) for v in leaves(found)]


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple"])
def test_a_cell_takes_one_step_as_keras_cell(kind: str) -> None:
    with float64():
        cell, theirs = CELLS[kind](ours_layers), CELLS[kind](keras.layers)
        x_t, states = X[:, 0], [RNG.normal(size=(B, 3)) for _ in cell.spec.states]
        with_weights(cell, x_t)
        theirs.build((B, I))
        theirs.set_weights(cell.get_weights())
        found, expected = cell(x_t, states), theirs(x_t, states)
    keras.tree.assert_same_structure(found, keras.tree.map_structure(np.asarray, expected))
    assert_close64(leaves(found), [np.asarray(v) for v in leaves(expected)])
    h, after = cell.step(x_t)
    np.testing.assert_array_equal(h, cell(x_t)[0])
    assert len(after) == len(states)
    config = cell.get_config()
    assert config == type(theirs)(**config).get_config() == {**theirs.get_config(), "name": cell.name}


def test_stacked_cells_take_one_step() -> None:
    layer = stack(return_state=True)
    h, *states = layer(X[:, :1])
    found_h, found = layer.cell(X[:, 0])
    np.testing.assert_array_equal(found_h, h)
    for a, b in zip(leaves(found), leaves(states), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- TimeDistributed ----

X4 = RNG.normal(size=(B, T, 3, I))
MASK3 = RNG.random((B, T, 3)) < 0.6


@pytest.mark.parametrize("masked", [False, True])
def test_each_step_by_itself_as_keras_has_it(masked: bool) -> None:
    for make, x in (
        (lambda k: k.Dense(3, activation="softmax", dtype="float64"), X4),
        (lambda k: k.GRU(3, dtype="float64"), X4),
        (lambda k: k.Bidirectional(k.LSTM(3, return_sequences=True, dtype="float64"), dtype="float64"), X4),
        (lambda k: k.TimeDistributed(k.Dense(2, dtype="float64"), dtype="float64"), X4),
        (lambda k: k.Embedding(5, 2, dtype="float64"), RNG.integers(0, 5, (B, T, 3))),
    ):
        ours = with_weights(TimeDistributed(make(ours_layers), dtype="float64"), x)
        call = {"mask": MASK3} if masked and make(ours_layers).kind != "Embedding" else {}
        with float64():
            theirs = keras.layers.TimeDistributed(make(keras.layers), dtype="float64")
            theirs(x)
            theirs.set_weights(ours.get_weights())
            assert_close64([ours(x, **call)], [np.asarray(theirs(x, **call))])
        for t in range(T):
            at = {name: mask[:, t] for name, mask in call.items()}
            np.testing.assert_array_equal(ours.step(x[:, t], **at)[0], ours(x, **call)[:, t])
        assert ours.run(x[:, :0])[0].shape == (B, 0, *ours(x).shape[2:])


def test_a_model_at_each_step_and_the_mask_goes_on() -> None:
    p = Input((3, I))
    inner = everystep.Model(p, Dense(2)(GRU(3)(p)))
    x, mask = Input((None, 3, I)), Input((None,), dtype="bool")
    each = TimeDistributed(inner)
    y = each(x, mask=mask)
    assert y.shape == (None, None, 2)
    model = everystep.Model([x, mask], SimpleRNN(2)(y))
    expected = np.stack([inner.predict(X4[:, t]) for t in range(T)], axis=1)
    np.testing.assert_array_equal(each(X4.astype(np.float32)), expected)
    np.testing.assert_array_equal(model.predict([X4, MASK]), model.layers[-1](expected, mask=MASK))
    assert next(iter(each.named_weights)).startswith(f"{inner.name}/")


# ---- What is refused ----


class Own(Layer):
    """A user's cell is not known to the engine."""


x32 = X.astype(np.float32)
BAD: list[tuple[Any, Any, str]] = [
    (lambda: RNN(3), OptionError, "RNN takes an LSTMCell, a GRUCell, .* or StackedRNNCells; got int"),
    (lambda: RNN(LSTM(3, name="a")), UnsupportedError, "RNN takes an LSTMCell, .*; got layer 'a', an LSTM"),
    (
        lambda: RNN([GRUCell(2), Dense(2, name="d")]),
        UnsupportedError,
        "StackedRNNCells .* layer 'd', a Dense",
    ),
    (lambda: RNN(Own(name="mine")), UnsupportedError, "got layer 'mine', an Own"),
    (lambda: RNN([]), OptionError, r"takes a list of cells; got \[\]"),
    (lambda: RNN(GRUCell(2), return_cell_sequences=True), OptionError, "return_cell_sequences is of an LSTM"),
    (lambda: RNN(GRUCell(2), trainable_initial_state=True), UnsupportedError, "RNN has no trainable_initial_state"),
    (lambda: RNN([GRUCell(2), LSTMCell(2, dtype="float64")]), OptionError, "one dtype; got float32, float64"),
    (lambda: RNN(GRUCell(2), units=3), OptionError, "RNN has no argument 'units'"),
    (lambda: RNN(GRUCell(2), name="r")(x32[0]), ShapeError, r"layer 'r' takes sequences \(B,T,I\)"),
    (
        lambda: RNN([GRUCell(2), LSTMCell(3)])(x32, initial_state=[x32[:, 0]] * 2),
        ShapeError,
        r"initial_state must be h \(4, 2\), h \(4, 3\), c \(4, 3\); got 2: \(4, 2\), \(4, 2\). Pass a list of 3",
    ),
    (lambda: GRUCell(2, name="c")(x32), ShapeError, r"'c' is a cell and takes one step \(B,I\); got \(4, 5, 2\)"),
    (lambda: GRUCell(2, name="c")(Input((3,))), UnsupportedError, r"is a cell, .* RNN runs it: RNN\(cell\)\(x\)"),
    (lambda: StackedRNNCells([SimpleRNNCell(2, name="c")])(Input((3,))), UnsupportedError, "RNN runs it"),
    (lambda: TimeDistributed(3), OptionError, "TimeDistributed takes a layer; got int"),
    (lambda: TimeDistributed(Dense(2))(x32[:, 0]), ShapeError, r"\(B,T,...\) of three axes or more; got \(4, 2\)"),
    (
        lambda: TimeDistributed(LSTM(2, return_state=True, name="rec"), name="each")(Input((T, 3, I))),
        UnsupportedError,
        "'each' is a TimeDistributed of 'rec', which returns 3 arrays; it stacks one. Let that layer return one",
    ),
    (lambda: TimeDistributed(LSTM(2, return_state=True))(X4), UnsupportedError, "which returns 3 arrays"),
    *(
        (lambda cls=cls: cls(2, 2, name="film"), UnsupportedError, f"'film' is a {cls.__name__}, whose gates are conv")
        for cls in (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_what_cannot_be_is_named(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


H3 = np.ones((B, 3))


def both_ways(**options: Any) -> Any:
    return with_weights(Bidirectional(GRU(3, dtype="float64", **options), dtype="float64", name="one"))


def two_cells() -> Any:
    return with_weights(RNN([GRUCell(3, dtype="float64"), LSTMCell(2, dtype="float64")], dtype="float64", name="one"))


def one(cls: Any) -> Any:
    return with_weights(cls(3, dtype="float64", name="one"))


def stacked_cells() -> Any:
    cells = [GRUCell(3, dtype="float64"), LSTMCell(2, dtype="float64")]
    return with_weights(StackedRNNCells(cells, dtype="float64", name="one"), X[:, 0])


WRONG_STATES: list[tuple[Callable[[], Any], Any, str]] = [
    (two_cells, ((H3,),), r"a tuple of the states of each cell; got 1: tuple\. Pass what run or step returned"),
    (two_cells, ((H3,), (H3, H3), (H3,)), "each cell; got 3: tuple, tuple, tuple"),
    (two_cells, H3, "each cell; got ndarray"),
    (two_cells, ((H3,), (H3[:, :2], H3)), r"h \(4, 2\), c \(4, 2\); got 2: \(4, 2\), \(4, 3\)"),
    (stacked_cells, [[H3]], "a tuple of the states of each cell; got 1: list"),
    (stacked_cells, [[H3]] * 3, "each cell; got 3: list, list, list"),
    (lambda: one(LSTM), (H3,), r"h \(4, 3\), c \(4, 3\); got 1: \(4, 3\)"),
    (lambda: one(LSTM), (H3, H3, H3), "got 3:"),
    (lambda: one(GRU), (H3[:2],), r"h \(4, 3\); got 1: \(2, 3\)"),
    (lambda: one(GRU), "h", r"h \(4, 3\); got 1: str"),
]


@pytest.mark.parametrize("case", range(len(WRONG_STATES)))
@pytest.mark.parametrize("verb", ["run", "step"])
def test_a_state_that_does_not_fit_is_named_with_its_layer(case: int, verb: str) -> None:
    make, state, message = WRONG_STATES[case]
    layer = make()
    x = X[:, 0] if verb == "step" or isinstance(layer, StackedRNNCells) else X
    with pytest.raises(ShapeError, match=rf"layer 'one': the state must be .*{message}"):
        getattr(layer, verb)(x, state)
    good = layer.initial_state(B)
    for a, b in zip(leaves(getattr(layer, verb)(x, good)), leaves(getattr(layer, verb)(x)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_of_another_dtype_is_named_with_its_layer() -> None:
    for layer, state in ((one(GRU), H3.astype("f")), (two_cells(), ((H3,), (H3[:, :2].astype("f"), H3[:, :2])))):
        with pytest.raises(DtypeError, match="layer 'one' is float64, and the state that it was given float32"):
            layer.run(X, state)


def test_the_state_of_both_ways_is_of_both() -> None:
    layer = both_ways()
    for state, got in (((H3,), r"1: \(4, 3\)"), (((H3,),) * 3, "3: tuple, tuple, tuple"), (H3, "ndarray")):
        with pytest.raises(ShapeError, match=rf"layer 'one': the state must be \(of forward, of backward\); got {got}"):
            layer.run(X, state)
    with pytest.raises(ShapeError, match=r"layer 'forward_\w+': the state must be h \(4, 3\); got 1: \(4, 2\)"):
        layer.run(X, ((H3[:, :2],), (H3,)))
    symbolic = Input((T, I), dtype="float64"), [Input((3,), dtype="float64")]
    for states in ([H3], [H3] * 3):
        with pytest.raises(
            ShapeError,
            match="layer 'one': initial_state must be a list of 2 states, 1 of the forward layer and then 1 of the "
            f"backward layer; got {len(states)}",
        ):
            layer(X, initial_state=states)
        with pytest.raises(ShapeError, match=f"layer 'one': initial_state must be a list of 2 .*got {len(states)}"):
            layer(symbolic[0], initial_state=symbolic[1] * len(states))


def test_packed_weights_are_what_was_packed_whatever_another_thread_does() -> None:
    layer = one(GRU)
    layer.run(X)

    class Forgets(type(layer)):  # type: ignore[misc]
        """Its packed weights are gone as soon as they have been read, as if another thread had set new ones."""

        @property
        def _packed(self) -> Any:
            return self.__dict__.pop("kept", None)

        @_packed.setter
        def _packed(self, value: Any) -> None:
            self.__dict__["kept"] = value

    expected = layer.run(X)[0]
    layer.__class__ = Forgets
    layer._packed = layer.__dict__.pop("_packed")
    for _ in range(2):  # kept, and packed anew
        np.testing.assert_array_equal(layer.run(X)[0], expected)
