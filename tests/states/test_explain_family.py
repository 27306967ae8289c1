"""What `explain` says of GRU, SimpleRNN, stacks, both directions and TimeDistributed, computed and compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest

import everystep.keras
import everystep.layers
from everystep.states.explain import explain

B, T, I, H = 5, 6, 2, 3
LIBRARIES = {"everystep": everystep.layers, "everystep.keras": everystep.keras.layers, "keras": keras.layers}
RNG = np.random.default_rng(17)
X = RNG.normal(size=(B, T, I)).astype(np.float32)
MASK = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1], [1] * 6, [0] * 6], bool)
EPS = float(np.finfo(np.float32).eps)


def stack(k: Any) -> Any:
    return k.StackedRNNCells([k.LSTMCell(2), k.GRUCell(4), k.LSTMCell(H)])


MAKERS: dict[str, Callable[..., Any]] = {
    "GRU": lambda k, **options: k.GRU(H, **options),
    "reset before": lambda k, **options: k.GRU(H, reset_after=False, activation="softsign", **options),
    "SimpleRNN": lambda k, **options: k.SimpleRNN(H, **options),
    "one cell": lambda k, **options: k.RNN(k.GRUCell(H), **options),
    "stack": lambda k, **options: k.RNN(stack(k), **options),
    "both ways": lambda k, **options: k.Bidirectional(
        k.LSTM(H, **options), backward_layer=k.LSTM(4, **{**options, "go_backwards": not options.get("go_backwards")})
    ),
    "apart": lambda k, **options: k.Bidirectional(k.GRU(H, **options), merge_mode=None),
    "summed": lambda k, **options: k.Bidirectional(k.LSTM(H, **options), merge_mode="sum"),
    "both ways, stacked": lambda k, **options: k.Bidirectional(k.RNN(stack(k), **options)),
}
WITH_C = ("stack", "both ways", "summed", "both ways, stacked")


def made(library: str, kind: str, **options: Any) -> Any:
    k = LIBRARIES[library]
    if kind not in WITH_C:
        options.pop("return_cell_sequences", None)
    layer = MAKERS[kind](k, **options)
    if library == "everystep":
        layer(X)
    else:
        layer.build(X.shape)
    rng = np.random.default_rng(18)
    layer.set_weights([rng.normal(0, 0.7, w.shape).astype(np.float32) for w in layer.get_weights()])
    return layer


def called(layer: Any, **call: Any) -> list[np.ndarray]:
    with jax.disable_jit():  # so that Keras's own loops are run and not compiled, which takes longer
        return [np.asarray(array) for array in keras.tree.flatten(layer(X, **call))]


def options_of(library: str) -> Any:
    names = ["return_sequences", "return_state", "zero_output_for_mask"]
    names += [] if library == "keras" else ["return_cell_sequences", "return_gates"]
    for values in itertools.product((False, True), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", MAKERS)
def test_every_row_is_of_its_tensor_and_every_claim_holds(library: str, kind: str) -> None:
    checked = 0
    for options in options_of(library):
        layer = made(library, kind, **options)
        for mask in (None, MASK):
            arrays, rows = called(layer, mask=mask), explain(layer).rows
            assert [row.name for row in rows] == [f"{layer.name}: output {k}" for k in range(len(arrays))]
            seen_last = np.ones(B, bool) if mask is None else mask[:, -1]
            seen_first = np.ones(B, bool) if mask is None else mask[:, 0]
            for row, array in zip(rows, arrays, strict=True):
                assert len(row.axes) == array.ndim
                assert all(size in (None, n) for size, n in zip(row.shape, array.shape, strict=True)), row.name
                assert row.shape[-1] == array.shape[-1]
                for left, right in row.claims:
                    a, b = left.of(arrays), right.of(arrays)
                    holds = np.ones(B, bool)
                    if row.unless:
                        holds = seen_first if left.step == 0 else seen_last
                        assert holds.all() or (a[~holds] != b[~holds]).any(), "it did not fail"
                    # XLA may compute one thing twice for stock Keras's, and round it differently.
                    np.testing.assert_allclose(a[holds], b[holds], rtol=0, atol=1e-6 if library == "keras" else 0)
                    checked += 1
    assert checked or kind == "summed"


@pytest.mark.parametrize("library", ["everystep", "everystep.keras"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_gates_of_a_gru_and_of_a_simple_rnn(library: str, backwards: bool) -> None:
    for kind in ("GRU", "reset before", "SimpleRNN"):
        layer = made(library, kind, return_sequences=True, return_gates=True, go_backwards=backwards)
        row = explain(layer).rows[1]
        h, gates = called(layer, mask=MASK)
        seen = MASK[:, ::-1] if backwards else MASK
        if kind == "SimpleRNN":
            assert (row.equals, row.unless) == ("output 0", "at masked steps")
            np.testing.assert_array_equal(gates[:, :, 0][seen], h[seen])
            assert (gates[:, :, 0] != h)[~seen].any()
        else:
            assert row.equals == "up to rounding, h = z * h_before + (1 - z) * g"
            z, _, g = np.moveaxis(gates, 2, 0)
            before = np.concatenate([np.zeros((B, 1, H), np.float32), h[:, :-1]], axis=1)
            off = np.abs(z * before + (1 - z) * g - h)
            assert off[seen].max() < 4 * EPS
            assert off[2][~seen[2]].max() > 1e-3, "at masked steps the equation should fail"
        assert "0 at masked steps" in row.steps
        assert not gates[~seen].any()


@pytest.mark.parametrize("library", ["everystep", "everystep.keras"])
def test_the_additions_of_both_directions_are_in_time_order(library: str) -> None:
    more = dict(return_sequences=True, return_state=True, return_cell_sequences=True, return_gates=True)
    layer = made(library, "both ways", **more)
    rows, arrays = explain(layer).rows, called(layer)
    assert [row.what for row in rows[5:7]] == [
        "c, the cell state, at every step of the forward layer",
        "c, the cell state, at every step of the backward layer",
    ]
    assert all("first to last" in row.steps for row in rows[5:])
    assert (rows[5].equals, rows[6].equals) == ("its last step is output 2", "its first step is output 4")
    assert rows[7].what.endswith("at every step of the forward layer, after their activations")
    assert rows[8].equals.startswith("up to rounding, where before is after in time, c = f * c_before + i * g")
    h, (c, c_back), (gates, gates_back) = arrays[0], arrays[5:7], arrays[7:]
    for cells, own, four in ((c, h[..., :H], gates), (c_back, h[..., H:], gates_back)):
        assert np.abs(four[:, :, 3] * np.tanh(cells) - own).max() < 4 * EPS
        before = cells[:, 1:] if cells is c_back else cells[:, :-1]
        at = np.s_[:, :-1] if cells is c_back else np.s_[:, 1:]
        i, f, g, _ = np.moveaxis(four[at], 2, 0)
        assert np.abs(f * before + i * g - cells[at]).max() < 4 * EPS


def test_stacks_name_their_cells_and_what_their_states_are_for() -> None:
    layer = made("everystep", "stack", return_sequences=True, return_state=True, return_cell_sequences=True)
    rows, names = explain(layer).rows, [cell.name for cell in layer.cells]
    assert [row.what for row in rows] == [
        f"h, the hidden state, at every step, of {names[2]}",
        f"h, the hidden state, after the last step, of {names[0]}",
        f"c, the cell state, after the last step, of {names[0]}",
        f"h, the hidden state, after the last step, of {names[1]}",
        f"h, the hidden state, after the last step, of {names[2]}",
        f"c, the cell state, after the last step, of {names[2]}",
        f"c, the cell state, at every step, of {names[0]}",
        f"c, the cell state, at every step, of {names[2]}",
    ]
    assert rows[0].equals == "its last step is output 4"
    assert [row.equals for row in rows[4:6]] == ["the last step of output 0", "the last step of output 7"]
    assert rows[1].use.startswith("pass outputs 1 to 5, in this order, as initial_state")
    arrays = called(layer)
    going_on = [np.asarray(v) for v in keras.tree.flatten(layer(X, initial_state=arrays[1:6]))]
    whole = [np.asarray(v) for v in keras.tree.flatten(layer(np.concatenate([X, X], axis=1)))]
    np.testing.assert_array_equal(going_on[0], whole[0][:, T:])


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_step_by_itself(library: str) -> None:
    k = LIBRARIES[library]
    dense = k.TimeDistributed(k.Dense(4, name="dense"), name="each")
    rec = k.TimeDistributed(k.GRU(H, return_sequences=True), name="each_sequence")
    dense(k.Input((T, I)))
    rec(k.Input((None, 7, I)))
    [row] = explain(dense).rows
    assert row.what == "on each step by itself: activation(input @ kernel + bias)"
    assert row.shape == (None, T, 4)
    assert row.axes[:2] == ("rows", "steps")
    [row] = explain(rec).rows
    assert row.what == "on each step by itself: h, the hidden state, at every step"
    assert row.shape_in_words == f"(rows, steps, steps, units) = (None, None, 7, {H})"


def test_what_else_they_could_return() -> None:
    def said(layer: Any) -> list[str]:
        return [note.partition(": ")[2] for note in explain(layer).notes]

    gru, simple = everystep.layers.GRU(H, trainable_initial_state=True), keras.layers.SimpleRNN(H)
    assert said(gru) == [
        "it can also return: return_sequences=True (h at every step), return_state=True (the last h), "
        "return_gates=True (the gates at every step)",
        "its initial h is a weight (trainable_initial_state)",
    ]
    assert (
        "Keras's own SimpleRNN cannot return the gates at every step; everystep.keras.layers.SimpleRNN can, and "
        "everystep.keras.with_engine(model) puts it in the place of Keras's"
    ) in said(simple)
    model = keras.Sequential([keras.Input((T, I)), simple])
    assert type(everystep.keras.with_engine(model).layers[0]) is everystep.keras.layers.SimpleRNN


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["both ways", "apart", "summed"])
def test_what_both_directions_hold_at_masked_steps(library: str, kind: str) -> None:
    """In sequences 0, from either direction; without them the padding changes nothing."""
    layer = made(library, kind, return_sequences=True)
    arrays, rows = called(layer, mask=MASK), explain(layer).rows
    for row, h in zip(rows, arrays, strict=True):
        assert row.steps.endswith("for both directions; 0 at masked steps (zero_output_for_mask)")
        assert not h[~MASK].any()
        assert np.abs(h[MASK]).min() > 0
    layer = made(library, kind)
    assert all(
        row.steps == "each direction's own last step; masked steps are passed over" for row in explain(layer).rows
    )
    changed = X.copy()
    changed[~MASK] += 1
    with jax.disable_jit():
        others = keras.tree.flatten(layer(changed, mask=MASK))
    for h, other in zip(called(layer, mask=MASK), others, strict=True):
        np.testing.assert_array_equal(h, np.asarray(other))
        assert np.abs(h[:-1]).min() > 0  # the last row is all masked


class Negated(keras.layers.GRUCell):
    """A cell that returns something else than its state."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        h, states = super().call(*args, **kwargs)
        return -h, states


@pytest.mark.parametrize("library", ["everystep.keras", "keras"])
def test_a_cell_of_another_class_is_not_described_as_its_base(library: str) -> None:
    k = LIBRARIES[library]
    for cell in (Negated(H), [k.LSTMCell(2), Negated(H)]):
        layer = k.RNN(cell, return_state=True)
        model = keras.Model(x := k.Input((T, I)), layer(x))
        _, *rows = explain(model).rows
        assert len(rows) == len(keras.tree.flatten(model.outputs))
        assert all(row.what == "what the recurrent layer, not described here, RNN returns" for row in rows)
        assert not any(row.claims for row in rows)
        assert not explain(model).notes


def test_a_cell_of_ours_that_is_derived_from_runs_as_its_base() -> None:
    layer = everystep.layers.RNN(type("Mine", (everystep.layers.GRUCell,), {})(H))
    assert explain(layer).rows[0].what == "h, the hidden state, after the last step"
