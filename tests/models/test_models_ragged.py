"""Ragged batches: what a list of sequences gives is what the padded array with its mask gives, and each row alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from topologies import VOCABULARY, H, I, Names, random_weights
from wide_floats import float64

import everystep
from everystep import Input, Model, Sequential
from everystep.errors import DtypeError, ShapeError, UnsupportedError
from everystep.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Concatenate,
    Dense,
    Embedding,
    GRUCell,
    Masking,
    SimpleRNN,
    TimeDistributed,
)

LENGTHS = (4, 0, 7, 1, 7)
T = max(LENGTHS)
MASK = np.arange(T) < np.array(LENGTHS)[:, None]


def sequences(rng: np.random.Generator, *features: int) -> list[np.ndarray]:
    return [rng.normal(size=(n, *features)) for n in LENGTHS]


def filled(arrays: list[np.ndarray], value: float) -> np.ndarray:
    whole = np.full((len(arrays), T, *arrays[0].shape[1:]), value, float)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole


def tower(k: Any) -> Any:
    """Layers of every kind on one input, with outputs that have its steps and outputs that have not."""
    x = k.Input((None, I), name="x")
    y = k.Bidirectional(k.LSTM(H, return_sequences=True))(k.Dense(3)(x))
    z, h = k.GRU(H, return_sequences=True, return_state=True)(y)
    p = k.Input((None, H))
    inner = k.Model(p, [k.LSTM(2, return_sequences=True)(p), k.SimpleRNN(2)(p)])
    nested, last = inner(z)
    back = k.RNN(k.StackedRNNCells([k.GRUCell(2), k.LSTMCell(3)]), return_sequences=True, go_backwards=True)(z)
    each = k.TimeDistributed(k.Dense(2))(back)
    return k.Model(x, [y, h, nested, last, each, k.Concatenate()([z, y])])


TURNED = (False, None, False, None, True, False)  # of the outputs of tower; None: it has no steps


def test_as_the_padded_array_with_its_mask_and_as_keras() -> None:
    rng = np.random.default_rng(1)
    model = tower(Names(everystep))
    weights = random_weights(model, rng)
    x = sequences(rng, I)
    found = model.predict(x)
    with_mask = model(filled(x, 3.0), mask=MASK)
    assert [isinstance(output, list) for output in found] == [turned is not None for turned in TURNED]
    with float64():
        theirs = tower(Names(keras))
        theirs.set_weights(weights)
        expected = [np.asarray(v) for v in theirs(filled(x, -2.0), mask=MASK)]
    for output, masked, keras_output, turned in zip(found, with_mask, expected, TURNED, strict=True):
        if turned is None:
            np.testing.assert_array_equal(output, masked)
            assert_close64([output], [keras_output])
            continue
        for row, n, a, b in zip(output, LENGTHS, masked, keras_output, strict=True):
            own = np.s_[T - n :] if turned else np.s_[:n]
            np.testing.assert_array_equal(row, a[own])
            assert_close64([row], [b[own]])


def test_each_row_is_what_it_is_alone_and_batches_change_nothing() -> None:
    rng = np.random.default_rng(2)
    model = tower(Names(everystep, "float32"))
    random_weights(model, rng)
    x = sequences(rng, I)
    found = model.predict(x)
    for batch_size in (1, 2, 100):
        for a, b in zip(model.predict(x, batch_size=batch_size), found, strict=True):
            for one, other in zip(a, b, strict=True):
                np.testing.assert_array_equal(one, other)
    for k, row in enumerate(x):
        alone = model.predict(row[None])
        for output, one, turned in zip(found, alone, TURNED, strict=True):
            if turned is None or len(row):
                np.testing.assert_array_equal(output[k], one[0])
            else:
                assert output[k].shape == one[0].shape == (0, one.shape[2])
    for a, b in zip(flat(model(x)), flat(found), strict=True):
        np.testing.assert_array_equal(a, b)
    single = Model(model.input, model.outputs[0])
    one = single.predict([x[0]])
    assert type(one) is list
    np.testing.assert_array_equal(one[0], found[0][0])


def flat(value: Any) -> list[Any]:
    return [leaf for one in value for leaf in (flat(one) if isinstance(one, list) else [one])]


def test_several_inputs_ragged_or_not() -> None:
    rng = np.random.default_rng(3)
    ids, target = Input((None,), dtype="int32", name="ids"), Input((None, I), name="target")
    _, h, c = LSTM(H, return_state=True)(Embedding(VOCABULARY, I, mask_zero=True)(ids))
    y, gates = LSTM(H, return_sequences=True, return_gates=True)(target, initial_state=[h, c])
    model = Model([ids, target], {"y": Dense(2)(y), "gates": gates, "h": h})
    random_weights(model, rng)
    words = [rng.integers(0, VOCABULARY, n) for n in (3, 2, 5, 1, 4)]
    values = sequences(rng, I)
    found = model.predict([words, values])
    for x in ({"ids": words, "target": values}, (tuple(words), values)):
        for name, output in model.predict(x).items():
            for a, b in zip(output, found[name], strict=True):
                np.testing.assert_array_equal(a, b)
    assert type(found["h"]) is np.ndarray
    for k, n in enumerate(LENGTHS):
        alone = model.predict([words[k][None], values[k][None]])
        np.testing.assert_array_equal(found["h"][k], alone["h"][0])
        for name in ("y", "gates"):
            assert found[name][k].shape[0] == n
            np.testing.assert_array_equal(found[name][k], alone[name][0])
    padded = model.predict([words, filled(values, 0)])  # the second one whole: so are the outputs that have its steps
    assert padded["y"].shape == (5, T, 2)
    for k, n in enumerate(LENGTHS):
        np.testing.assert_array_equal(padded["y"][k, :n], found["y"][k])
    keyed = Model({"b": ids, "a": target}, y)
    for row, n in zip(keyed.predict({"a": values, "b": words}), LENGTHS, strict=True):
        assert len(row) == n


def test_the_padding_is_masked_by_layers_that_make_masks_themselves() -> None:
    rng = np.random.default_rng(4)
    x = Input((None, I), name="x")
    model = Model(x, [LSTM(H)(Masking(-1.0)(x)), Bidirectional(GRU(2, return_sequences=True))(Masking(-1.0)(x))])
    random_weights(model, rng)
    values = sequences(rng, I)
    values[0][1] = -1  # masked inside
    last, steps = model.predict(values)
    for k, row in enumerate(values):
        alone = model.predict(row[None])
        np.testing.assert_array_equal(last[k], alone[0][0])
        np.testing.assert_array_equal(steps[k], alone[1][0])


def test_a_fixed_number_of_steps_and_outputs_that_lose_them() -> None:
    rng = np.random.default_rng(5)
    x = Input((T + 2, I), name="x")
    y = SimpleRNN(H, return_sequences=True)(x)
    longer = Concatenate(axis=1)([y, y])
    model = Model(x, [y, longer])
    values = sequences(rng, I)
    found, joined = model.predict(values)
    assert [len(row) for row in found] == list(LENGTHS)
    assert joined.shape == (5, 2 * T + 4, H)
    with pytest.raises(ShapeError, match="sequence 1 of input 'x' has 10 steps, and the input takes 9 at most: cut it"):
        model.predict([values[0], rng.normal(size=(10, I))])
    stack = Sequential([LSTM(H, return_sequences=True), TimeDistributed(Dense(2))])  # built by the list
    assert [row.shape for row in stack.predict(values)] == [(n, 2) for n in LENGTHS]
    assert model.predict([v[:0] for v in values])[0][0].shape == (0, H)


BAD: list[tuple[Any, Any, str]] = [
    (
        [],
        ShapeError,
        "has 1 input, 'x'; got 0 arrays. Pass a NumPy array for each, or a list of sequences, arr",
    ),
    (
        [np.zeros((2, 3)), np.zeros((3, 2))],
        ShapeError,
        r"sequence 1 of input 'x' must be of shape \(T,3\); got \(3,",
    ),
    (
        [np.zeros((2, 2)), np.zeros((3, 2))],
        ShapeError,
        r"sequence 0 of input 'x' must be of shape \(T,3\); got \(2,",
    ),
    ([np.zeros((2, 3)), np.zeros(3)], ShapeError, "has 1 input, 'x'; got 2 arrays"),
    ([np.zeros((2, 3), complex)], DtypeError, "sequence 0 of input 'x' must hold real numbers; got complex128"),
    (
        [np.full((2, 3), 1e300)],
        DtypeError,
        "sequence 0 of input 'x' takes float32; got an array of float64 with",
    ),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD)
def test_what_is_no_ragged_batch_is_named(x: Any, error: Any, message: str) -> None:
    i = Input((None, 3), name="x")
    with pytest.raises(error, match=message):
        Model(i, GRU(2)(i)).predict(x)


def test_padding_that_would_be_read_is_refused() -> None:
    ids = Input((None,), dtype="int32", name="ids")
    p = Input((None,), dtype="int32")
    inner = Model(p, Embedding(5, 2, name="plain")(p))
    with pytest.raises(UnsupportedError, match=r"layer 'plain' hands on no mask \(mask_zero=False\).*input 'ids'"):
        Model(ids, GRU(2)(inner(ids))).predict([np.ones(2, int), np.ones(3, int)])
    x = Input((None, I), name="x")
    both = Concatenate()([Masking(1.0)(x), Masking(2.0)(x)])
    with pytest.raises(UnsupportedError, match=r"is read by layers that mask different values, \[1.0, 2.0\]"):
        Model(x, GRU(2)(both)).predict([np.zeros((2, I)), np.zeros((3, I))])


def test_a_list_of_one_array_that_may_be_either_is_refused() -> None:
    x, fixed = Input((None, 1), name="x"), Input((3, 1), name="x")
    model = Model(x, GRU(2, return_sequences=True)(x))
    with pytest.raises(ShapeError, match=r"of shape \(5, 1\) may be one sequence of 5 steps, or 5 rows of one step"):
        model.predict([np.zeros((5, 1))])
    assert model.predict([np.zeros((5, 1)), np.zeros((2, 1))])[1].shape == (2, 2)
    assert model.predict([np.zeros((5, 3))]).shape == (5, 3, 2)  # as Keras: the last axis is left out
    assert model.predict(np.zeros((1, 5, 1))).shape == (1, 5, 2)
    model = Model(fixed, GRU(2, return_sequences=True)(fixed))
    assert model.predict([np.zeros((4, 3))]).shape == (4, 3, 2)
    [one] = model.predict([np.zeros((2, 1))])
    assert one.shape == (2, 2)


def from_state(layer: Any, states: int = 1, before: Any = None) -> Model:
    """The layer on a ragged input, perhaps after others, called with initial_state."""
    x, starts = Input((None, I), name="x"), [Input((2,)) for _ in range(states)]
    return Model([x, *starts], layer(before(x) if before else x, initial_state=starts))


def back(x: Any) -> Any:
    return LSTM(2, return_sequences=True, go_backwards=True, name="back")(x)


def nested(x: Any) -> Any:
    p, h = Input((None, I)), Input((2,))
    return Model([p, h], GRU(2, name="one")(p, initial_state=[h]))([x, GRU(2)(x)])


def on(layer: Any) -> Model:
    x = Input((None, I), name="x")
    return Model(x, layer(x))


def values_for(model: Model, x: list[np.ndarray]) -> list[Any]:
    return [x, *(np.full((len(x), 2), 0.5) for _ in model.inputs[1:])]


READS_PADDING: dict[str, tuple[Any, str]] = {
    "last h": (lambda: from_state(GRU(2, name="one")), "is called with initial_state and without mask"),
    "backwards": (
        lambda: from_state(GRU(2, return_sequences=True, go_backwards=True, name="one")),
        "is called with initial_state and without mask",
    ),
    "both ways": (
        lambda: from_state(Bidirectional(GRU(2, return_sequences=True), name="one"), 2),
        "is called with initial_state and without mask",
    ),
    "cell": (lambda: from_state(RNN(GRUCell(2), name="one")), "is called with initial_state and without mask"),
    "state": (
        lambda: from_state(GRU(2, return_sequences=True, return_state=True, name="one")),
        "is called with initial_state and without mask",
    ),
    "after others": (
        lambda: from_state(GRU(2, name="one"), before=lambda x: Dense(3)(LSTM(2, return_sequences=True)(x))),
        "is called with initial_state and without mask",
    ),
    "joined": (
        lambda: from_state(GRU(2, return_sequences=True, name="one"), before=lambda x: Concatenate(axis=1)([x, x])),
        "is called with initial_state and without mask",
    ),
    "nested": (lambda: on(nested), "is called with initial_state and without mask"),
    "turned": (lambda: on(lambda x: SimpleRNN(2, name="one")(back(x))), "with go_backwards=True"),
    "turned, from a state": (
        lambda: from_state(SimpleRNN(2, return_sequences=True, name="one"), before=back),
        "with go_backwards=True",
    ),
    "turned, both ways": (
        lambda: on(lambda x: Bidirectional(GRU(2), name="one")(Dense(3)(back(x)))),
        "with go_backwards=True",
    ),
    "turned by both ways": (
        lambda: on(
            lambda x: GRU(2, name="one")(Bidirectional(GRU(2, return_sequences=True, go_backwards=True),
                                                       backward_layer=GRU(2, return_sequences=True))(x))
        ),
        "with go_backwards=True",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READS_PADDING)
def test_a_layer_that_would_read_the_padding_is_refused(case: str) -> None:
    make, why = READS_PADDING[case]
    model = make()
    random_weights(model, np.random.default_rng(6))
    x = sequences(np.random.default_rng(7), I)
    with pytest.raises(UnsupportedError, match=rf"layer 'one' .*{why}.*Pass sequences of one length at a time"):
        model.predict(values_for(model, x))
    alike = [row[:3] for row in x if len(row) > 3]  # then there is no padding
    found, whole = model.predict(values_for(model, alike)), model.predict(values_for(model, np.stack(alike)))
    several = len(model.outputs) > 1
    for one, other in zip(found if several else [found], whole if several else [whole], strict=True):
        np.testing.assert_array_equal(np.stack(one), other)


def test_a_call_from_a_state_whose_padding_nothing_reads_goes_through() -> None:
    """As a decoder's: h at every step, the last states left alone, and each sequence what it is alone."""
    x, h0 = Input((None, I)), Input((2,))
    y, _ = GRU(2, return_sequences=True, return_state=True)(x, initial_state=[h0])
    model = Model([x, h0], [y, SimpleRNN(3)(y)])
    random_weights(model, np.random.default_rng(8))
    values = values_for(model, sequences(np.random.default_rng(9), I))
    found, last = model.predict(values)
    for k, n in enumerate(LENGTHS):
        alone = model.predict([values[0][k][None], values[1][k : k + 1]])
        assert found[k].shape == (n, 2)
        np.testing.assert_array_equal(last[k], alone[1][0])
        np.testing.assert_array_equal(found[k], alone[0][0] if n else np.zeros((0, 2)))


def test_both_ways_from_the_last_are_cut_at_the_right_end() -> None:
    both = Bidirectional(
        LSTM(2, return_sequences=True, go_backwards=True), backward_layer=GRU(2, return_sequences=True)
    )
    model = on(both)
    random_weights(model, np.random.default_rng(10))
    x = sequences(np.random.default_rng(11), I)
    for row, output in zip(x, model.predict(x), strict=True):
        np.testing.assert_array_equal(output, model.predict(row[None])[0])


def test_a_mask_given_with_a_ragged_batch_masks_more_and_not_less() -> None:
    model = on(lambda x: [GRU(2)(x), LSTM(2, return_sequences=True)(x)])
    random_weights(model, np.random.default_rng(12))
    rng = np.random.default_rng(13)
    x, mask = sequences(rng, I), rng.random((len(LENGTHS), T)) < 0.6
    for given in (mask, np.ones_like(MASK), mask[:, :, None] & np.array([True, False, True])[:I]):
        per_step = given.any(axis=-1) if given.ndim == 3 else given
        found, expected = model(x, mask=given), model(filled(x, 5.0), mask=per_step & MASK)
        np.testing.assert_array_equal(found[0], expected[0])
        for output, whole, n in zip(found[1], expected[1], LENGTHS, strict=True):
            np.testing.assert_array_equal(output, whole[:n])
    with pytest.raises(ShapeError, match=r"input 'x': the mask of a ragged batch must be \(B,T\), here \(5, 7\)"):
        model(x, mask=mask[:, :4])
    with pytest.raises(ShapeError, match="has 1 inputs; got 2 masks"):
        model(x, mask=[mask, mask])
