"""Our Bidirectional against Keras's, and its additions, masks and resets against the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equations
import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_twins import B, H, I, T, every_cell, gradients, make, outputs, random_weights, stateless, states, weights_of
from tolerances import assert_close64
from wide_floats import float64

from everystep.cells import CELLS
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.keras import calls, layers, models, routes

MERGES = ["concat", "sum", "mul", "ave", None]
ALL = dict(return_sequences=True, return_state=True, dtype="float64")
OURS = dict(return_cell_sequences=True, return_gates=True)


def pair(
    rng: np.random.Generator, cell: str, merge_mode: str | None, backward: str | None = None, **options: Any
) -> tuple[Any, Any]:
    """Our Bidirectional and Keras's, with the same weights; `backward`: the other direction's cell."""
    found = []
    for names in (layers, keras.layers):
        other = None if backward is None else make(names, backward, go_backwards=True, use_cudnn=False, **options)
        layer = make(names, cell, use_cudnn=False, **options)
        found.append(names.Bidirectional(layer, merge_mode, backward_layer=other, dtype="float64"))
        found[-1].build((B, T, I))
    random_weights(found[0], rng)
    found[1].set_weights(found[0].get_weights())
    # A SimpleRNN's config lacks its seed, so that the copy which becomes the forward layer draws its own.
    for ours, theirs in zip(*(layer.non_trainable_variables for layer in found), strict=True):
        theirs.assign(ours)
    return found[0], found[1]


options = st.fixed_dictionaries(
    dict(
        {name: st.booleans() for name in ("return_sequences", "return_state", "stateful", "use_bias")},
        implementation=st.sampled_from([1, 2]),
        dropout=st.sampled_from([0.0, 0.4]),
        recurrent_dropout=st.sampled_from([0.0, 0.4]),
        activity_regularizer=st.sampled_from([None, None, "l2"]),
        seed=st.integers(0, 99),
    )
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    options, st.sampled_from(MERGES), st.sampled_from([None, *CELLS]), *[st.booleans()] * 3, st.integers(0, 2**32 - 1)
)
@every_cell
def test_all_options(
    cell: str, options: Any, merge: Any, backward: Any, masked: bool, given_state: bool, training: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with float64():
        if cell == "simple" or backward == "simple":  # Keras drops what a SimpleRNN is given
            options = options | {"activity_regularizer": None}
        if options["stateful"]:  # Keras's own compute_mask raises for a stateful layer that returns its states
            options = options | {"return_state": False}
        ours, theirs = pair(rng, cell, merge, backward, dtype="float64", **options)
        x = rng.normal(size=(B, T, I))
        mask = rng.random((B, T)) < 0.6 if masked else None
        # Keras splits the states in two halves, so that those of unequal directions do not fit.
        equal = backward is None or len(CELLS[backward].states) == len(CELLS[cell].states)
        state = [*states(rng, cell), *states(rng, backward or cell)] if given_state and equal else None
        call = dict(mask=mask, training=training)
        assert_close64(gradients(ours, x, state, seed, **call), gradients(theirs, x, state, seed, **call))
        for _ in range(2):  # the second call goes on with the seeds and, if stateful, with the states
            found = [outputs(layer, x, initial_state=state, **call) for layer in (ours, theirs)]
            assert_close64(*found)
            np.testing.assert_allclose(*(np.sum(layer.losses) for layer in (ours, theirs)), rtol=1e-10)
        if ours.stateful:
            assert_close64(*([np.asarray(v) for v in layer.states] for layer in (ours, theirs)))
            ours.reset_state()
            assert all(np.all(np.asarray(v) == 0) for v in ours.states)


def oracle(
    layer: Any, cells: tuple[str, str], x: np.ndarray, state: list[np.ndarray], **options: Any
) -> list[equations.Run]:
    """The two directions, each in its processing order."""
    n = len(CELLS[cells[0]].states)
    return [
        equations.run(cell, x, start, weights_of(side), backwards=backwards, **options)
        for side, cell, start, backwards in zip(
            (layer.forward_layer, layer.backward_layer), cells, (state[:n], state[n:]), (False, True), strict=True
        )
    ]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_resets", [False, True])
@pytest.mark.parametrize("merge", ["concat", None])
@pytest.mark.parametrize("cells", [("lstm", "lstm"), ("gru", "gru"), ("simple", "simple"), ("lstm", "gru"),
                                   ("gru_reset_before", "lstm")], ids="+".join)  # fmt: skip
def test_additions_in_time_order(cells: tuple[str, str], merge: str | None, masked: bool, with_resets: bool) -> None:
    """Values and gradients of everything that both directions return."""
    rng = np.random.default_rng([masked, with_resets])
    with float64():
        forward, backward = (make(layers, cell, go_backwards=k == 1, **ALL, **OURS) for k, cell in enumerate(cells))
        layer = layers.Bidirectional(forward, merge, backward_layer=backward, dtype="float64")
        layer.build((B, T, I))
        random_weights(layer, rng)
        x, state = rng.normal(size=(B, T, I)), [*states(rng, cells[0]), *states(rng, cells[1])]
        mask = rng.random((B, T)) < 0.6 if masked else None
        resets = rng.random((B, T)) < 0.4 if with_resets else None
        runs = oracle(layer, cells, x, state, mask=mask, resets=resets)
        h = [runs[0].h, runs[1].h[:, ::-1]]
        shown = h if mask is None else [np.where(mask[..., None], v, 0) for v in h]
        wanted = [*shown] if merge is None else [np.concatenate(shown, axis=-1)]
        wanted += [*runs[0].states, *runs[1].states]
        wanted += [run.c[:, :: 1 - 2 * k] for k, run in enumerate(runs) if run.c is not None]
        wanted += [run.gates[:, :: 1 - 2 * k] for k, run in enumerate(runs)]
        d = [rng.normal(size=v.shape) for v in wanted]

        def loss(x: Any, trainable: Any) -> Any:
            out = stateless(layer, trainable, x, initial_state=state, mask=mask, resets=resets)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True)), out

        trainable = [v.value for v in layer.trainable_variables]
        found, out = jax.grad(loss, (0, 1), has_aux=True)(x, trainable)
        assert_close64([np.asarray(v) for v in out], wanted)

        arriving = iter(d)
        d_h = [next(arriving) for _ in h] if merge is None else np.split(next(arriving), 2, axis=-1)
        d_states = [[next(arriving) for _ in run.states] for run in runs]
        d_c = [None if run.c is None else next(arriving) for run in runs]
        d_gates = list(arriving)
        gradient = []
        for k, run in enumerate(runs):
            seen = 1 if mask is None else mask[..., None]
            each = dict(d_h=d_h[k] * seen, d_c=d_c[k], d_gates=d_gates[k])
            if k == 1:
                each = {name: None if v is None else v[:, ::-1] for name, v in each.items()}
            gradient.append(equations.gradient(run, d_states=d_states[k], **each))
        weights = [g[name] for g in gradient for name in ("kernel", "recurrent_kernel", "bias")]
        assert_close64(
            [np.asarray(v) for v in keras.tree.flatten(found)], [gradient[0]["x"] + gradient[1]["x"], *weights]
        )


@every_cell
def test_padding_does_not_leak(cell: str) -> None:
    """Right-padded, the backward direction starts at each row's last real step: as if the row came alone."""
    rng = np.random.default_rng(3)
    with float64():
        layer = layers.Bidirectional(make(layers, cell, **(ALL | OURS)), dtype="float64")
        layer.build((B, T, I))
        random_weights(layer, rng)
        x, lengths = rng.normal(size=(B, T, I)), [T, 2, 1]
        padded = outputs(layer, x, mask=np.arange(T) < np.array(lengths)[:, None])
        for b, n in enumerate(lengths):
            alone = outputs(layer, x[b : b + 1, :n])
            shown = [v[b : b + 1, :n] if v.ndim > 2 else v[b : b + 1] for v in padded]
            for v, w in zip(shown, alone, strict=True):
                np.testing.assert_array_equal(v, w)


def test_both_directions_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    run = calls.run

    def watched(made: Any) -> Any:
        together.append(len(made))
        return run(made)

    monkeypatch.setattr(calls, "run", watched)
    x = np.zeros((B, T, I), np.float32)
    layers.Bidirectional(layers.GRU(2, return_gates=True))(x)
    assert together == [2]
    layers.Bidirectional(layers.GRU(2, activity_regularizer="l2"))(x)  # through each `__call__`, which adds a loss
    assert together == [2, 1, 1]


def test_unequal_units_and_what_does_not_merge() -> None:
    rng = np.random.default_rng(4)
    sides = dict(
        layer=layers.LSTM(2, return_sequences=True),
        backward_layer=layers.GRU(3, return_sequences=True, go_backwards=True),
    )
    layer = layers.Bidirectional(**sides)
    inputs = keras.Input((None, I))
    symbolic = layer(inputs)
    assert symbolic.shape == (None, None, 5)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    found = layer(x)
    np.testing.assert_array_equal(found[..., :2], layer.forward_layer(x))
    np.testing.assert_array_equal(found[..., 2:], layer.backward_layer(x)[:, ::-1])
    np.testing.assert_allclose(keras.Model(inputs, symbolic).predict(x, verbose=0), found, rtol=0, atol=1e-6)
    assert [v.shape for v in layers.Bidirectional(**sides, merge_mode=None)(x)] == [(B, T, 2), (B, T, 3)]
    for merge in ("sum", "mul", "ave"):
        with pytest.raises(OptionError, match=f"{merge!r} needs directions of equal units; got 2 forward and 3 back"):
            layers.Bidirectional(**sides, merge_mode=merge)


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("merge", ["concat", "ave", None])
@pytest.mark.parametrize("more", [{}, OURS], ids=["plain", "additions"])
def test_a_symbolic_call_says_what_an_eager_one_returns(
    return_sequences: bool, return_state: bool, merge: str | None, more: dict[str, bool]
) -> None:
    layer = layers.Bidirectional(
        layers.LSTM(H, return_sequences=return_sequences, return_state=return_state, **more), merge
    )
    x = np.random.default_rng(5).normal(size=(B, T, I)).astype(np.float32)
    mask = np.arange(T) < np.array([[T], [2], [1]])
    symbolic, eager = layer(keras.Input((T, I), batch_size=B)), layer(x, mask=mask)
    assert isinstance(symbolic, (tuple, list)) == isinstance(eager, (tuple, list))
    flat, symbolic = keras.tree.flatten(eager), keras.tree.flatten(symbolic)
    assert [tuple(v.shape) for v in symbolic] == [v.shape for v in flat]
    masks = layer.compute_mask(x, mask)
    masks = masks if isinstance(masks, tuple) else (masks,)
    own = 2 if merge is None else 1
    c = own + (4 if return_state else 0)
    wanted = [return_sequences] * own + [False] * (c - own) + ([True] * 2 + [False] * 2 if more else [])
    assert [m is not None for m in masks] == wanted
    assert all(m is None or m is mask for m in masks)  # all in time order


def test_saved_and_loaded(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    inputs, resets = keras.Input((T, I)), keras.Input((T,), dtype="bool")
    forward = layers.LSTM(2, return_sequences=True, trainable_initial_state=True, **OURS)
    backward = layers.GRU(3, return_sequences=True, go_backwards=True, return_gates=True)
    layer = layers.Bidirectional(forward, backward_layer=backward, name="both")
    found = layer(keras.layers.Masking()(inputs), resets=resets)
    model = keras.Model([inputs, resets], found)
    random_weights(layer, rng)
    assert layers.Bidirectional.from_config(layer.get_config()).get_config() == layer.get_config()
    model.save(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras")
    twin = loaded.get_layer("both")
    assert type(twin) is layers.Bidirectional
    assert (type(twin.forward_layer), type(twin.backward_layer)) == (layers.LSTM, layers.GRU)
    assert {route.name for route in routes(loaded).values()} == {"engine"}
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 2:] = 0  # masked
    given = x, rng.random((B, T)) < 0.4
    for a, b in zip(model.predict(given, verbose=0), loaded.predict(given, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_of_keras_inside_ours() -> None:
    """They run as Keras's; what only ours have is refused."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    layer = layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))
    plain = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))
    plain.build(x.shape)
    layer.build(x.shape)
    plain.set_weights(layer.get_weights())
    mask = rng.random((B, T)) < 0.6
    for call in (dict(), dict(mask=mask)):
        np.testing.assert_array_equal(layer(x, **call), plain(x, **call))
    with pytest.raises(UnsupportedError, match=r"'forward_lstm.*' is keras.*LSTM, which has no resets"):
        layer(x, resets=mask)


def test_an_initial_state_that_does_not_fit_is_named() -> None:
    layer = layers.Bidirectional(layers.LSTM(H), backward_layer=layers.GRU(H, go_backwards=True))
    x, state = np.zeros((B, T, I), np.float32), np.zeros((B, H), np.float32)
    layer.build(x.shape)
    with pytest.raises(ShapeError, match="a list of 3: the forward layer's 2, then the backward layer's 1; got 2"):
        layer.call(x, initial_state=[state] * 2)
    with pytest.raises(ShapeError, match=r"initial_state must be h, of shape \(3, 3\); got 1: \(3, 2\)"):
        layer.call(x, initial_state=[state, state, state[:, 1:]])


def test_a_trainable_initial_state_of_one_direction_reaches_no_fused_kernel() -> None:
    """Keras hands the forward layer's use_cudnn to the backward layer, then asks both for it."""
    forward = layers.LSTM(H)
    backward = layers.LSTM(H, go_backwards=True, trainable_initial_state=True)
    for names in (layers, keras.layers):
        layer = names.Bidirectional(forward, backward_layer=backward)
        assert (layer.forward_layer.use_cudnn, layer.backward_layer.use_cudnn) == ("auto", False)
        layer.build((B, T, I))
        assert not layer._can_attempt_fused_lstm(None)
    assert not hasattr(layers.SimpleRNN(H), "use_cudnn")
