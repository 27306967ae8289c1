"""Our RNN over one cell or a stack of them, against Keras's loop over steps, and its additions against the oracle."""

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
from keras_twins import NAMES, B, I, T, gradients, outputs, random_weights, stateless
from tolerances import assert_close64
from wide_floats import float64

from everystep.cells import CELLS
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.keras import layers, models, routes, with_engine, without_engine
from everystep.keras.route import layer_route

CELL_CLASSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (keras.layers.LSTMCell, {}),
    "gru": (keras.layers.GRUCell, {}),
    "gru_reset_before": (keras.layers.GRUCell, {"reset_after": False}),
    "simple": (keras.layers.SimpleRNNCell, {}),
}
UNITS = (3, 2, 4)
OURS = dict(return_cell_sequences=True, return_gates=True)


def cells_of(names: tuple[str, ...], **options: Any) -> Any:
    """Cells of different units, from the bottom up, stacked; of one name a cell."""
    found = []
    for name, units in zip(names, UNITS, strict=False):
        cls, fixed = CELL_CLASSES[name]
        lacks = ("implementation", "recurrent_activation") if name == "simple" else ()
        found.append(cls(units, **fixed, **{key: v for key, v in options.items() if key not in lacks}))
    # Keras's RNN makes a stack of a list in its default dtype, and starts from states of that.
    return keras.layers.StackedRNNCells(found, dtype=options.get("dtype")) if len(found) > 1 else found[0]


def pair(rng: np.random.Generator, names: tuple[str, ...], cell: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    found = [of.RNN(cells_of(names, **cell), **options) for of in (layers, keras.layers)]
    for layer in found:
        layer.build((B, T, I))
    random_weights(found[0], rng)
    found[1].set_weights(found[0].get_weights())
    return found[0], found[1]


def states(rng: np.random.Generator, names: tuple[str, ...]) -> list[Any]:
    """In Keras's structure: of one cell a list, of a stack a list of lists."""
    found = [[rng.normal(size=(B, H)) for _ in CELLS[n].states] for n, H in zip(names, UNITS, strict=False)]
    return found if len(found) > 1 else found[0]


STACKS = [(name,) for name in CELLS]
STACKS += [("lstm", "lstm"), ("gru", "lstm"), ("simple", "gru_reset_before", "lstm"), ("gru", "simple")]

options = st.fixed_dictionaries(
    {name: st.booleans() for name in ("return_sequences", "return_state", "go_backwards", "stateful")}
    | {"zero_output_for_mask": st.booleans()}
)
cell_options = st.fixed_dictionaries(
    dict(
        use_bias=st.booleans(),
        dropout=st.sampled_from([0.0, 0.4]),
        recurrent_dropout=st.sampled_from([0.0, 0.4]),
        implementation=st.sampled_from([1, 2]),
        activation=st.sampled_from(["tanh", "softsign"]),
        recurrent_activation=st.sampled_from(["sigmoid", "softplus"]),
        seed=st.integers(0, 99),
    )
)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(options, cell_options, *[st.booleans()] * 4, st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("names", STACKS, ids="+".join)
def test_all_options(
    names: tuple[str, ...], options: Any, cell: Any, unroll: bool, masked: bool, given_state: bool, training: bool,
    seed: int,
) -> None:  # fmt: skip
    """`unroll` is ours alone: under a mask Keras's unrolled loop starts from zeros and ignores zero_output_for_mask."""
    rng = np.random.default_rng(seed)
    with float64():
        ours, theirs = pair(rng, names, dict(cell, dtype="float64"), dtype="float64", **options)
        ours.unroll = unroll
        assert layer_route(ours) == ("engine", "jax, float64")
        x = rng.normal(size=(B, T, I))
        mask = rng.random((B, T)) < 0.6 if masked else None
        state = states(rng, names) if given_state else None
        call = dict(mask=mask, training=training)
        assert_close64(gradients(ours, x, state, seed, **call), gradients(theirs, x, state, seed, **call))
        for _ in range(2):  # the second call goes on with the seeds and, if stateful, with the states
            found = [layer(x, initial_state=state, **call) for layer in (ours, theirs)]
            keras.tree.assert_same_structure(*found)
            assert_close64(*([np.asarray(v) for v in keras.tree.flatten(each)] for each in found))
        assert_close64(*([np.asarray(v) for v in layer.non_trainable_variables] for layer in (ours, theirs)))
        if ours.stateful:
            assert_close64(*([np.asarray(v) for v in keras.tree.flatten(layer.states)] for layer in (ours, theirs)))
            ours.reset_state()  # Keras's own fails on a stack
            assert all(np.all(np.asarray(v) == 0) for v in keras.tree.flatten(ours.states))


@pytest.mark.parametrize("names", STACKS, ids="+".join)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_resets", [False, True])
def test_additions_of_every_cell(names: tuple[str, ...], backwards: bool, masked: bool, with_resets: bool) -> None:
    """The oracle runs layer by layer, each over what the one below it returned, in processing order."""
    rng = np.random.default_rng([backwards, masked, with_resets])
    more = dict(OURS, return_cell_sequences="lstm" in names)
    with float64():
        layer = layers.RNN(
            cells_of(names, dtype="float64"),
            go_backwards=backwards, return_sequences=True, return_state=True, dtype="float64", **more,
        )  # fmt: skip
        layer.build((B, T, I))
        random_weights(layer, rng)
        x, state = rng.normal(size=(B, T, I)), states(rng, names)
        mask = rng.random((B, T)) < 0.6 if masked else None
        resets = rng.random((B, T)) < 0.4 if with_resets else None
        runs, below, left = [], x[:, ::-1] if backwards else x, iter(layer.get_weights())
        in_order = [v if v is None or not backwards else v[:, ::-1] for v in (mask, resets)]
        for name, start in zip(names, state if len(names) > 1 else [state], strict=True):
            weights = dict(zip(NAMES, left, strict=False))
            runs.append(equations.run(name, below, start, weights, mask=in_order[0], resets=in_order[1]))
            below = runs[-1].h
        with_c = [run for run in runs if run.c is not None]
        wanted = [below, *(s for run in runs for s in run.states), *(run.c for run in with_c), *(r.gates for r in runs)]
        d = [rng.normal(size=v.shape) for v in wanted]

        def loss(x: Any, trainable: Any) -> Any:
            out = stateless(layer, trainable, x, initial_state=state, mask=mask, resets=resets)
            out = keras.tree.flatten(out)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True)), out

        trainable = [v.value for v in layer.trainable_variables]
        found, out = jax.grad(loss, (0, 1), has_aux=True)(x, trainable)
        assert_close64([np.asarray(v) for v in out], wanted)

        d_h, arriving = d[0], iter(d[1:])
        d_states = [[next(arriving) for _ in run.states] for run in runs]
        d_c = [None if run.c is None else next(arriving) for run in runs]
        by_weights: list[np.ndarray] = []
        for run, d_last, c, gates in reversed([*zip(runs, d_states, d_c, arriving, strict=True)]):
            gradient = equations.gradient(run, d_h=d_h, d_states=d_last, d_c=c, d_gates=gates)
            by_weights = [*(gradient[name] for name in NAMES), *by_weights]
            d_h = gradient["x"]
        by_x = d_h[:, ::-1] if backwards else d_h
        assert_close64([np.asarray(v) for v in keras.tree.flatten(found)], [by_x, *by_weights])


@pytest.mark.parametrize("names", [("lstm",), ("gru", "lstm", "lstm")], ids="+".join)
@pytest.mark.parametrize("return_state", [False, True])
def test_a_symbolic_call_says_what_an_eager_one_returns(names: tuple[str, ...], return_state: bool) -> None:
    layer = layers.RNN(cells_of(names), return_sequences=True, return_state=return_state, **OURS)
    x = np.random.default_rng(1).normal(size=(B, T, I)).astype(np.float32)
    mask = np.arange(T) < np.array([[T], [2], [1]])
    symbolic, eager = (keras.tree.flatten(layer(v)) for v in (keras.Input((T, I), batch_size=B), x))
    assert [tuple(v.shape) for v in symbolic] == [v.shape for v in eager]
    n = sum(len(CELLS[name].states) for name in names) if return_state else 0
    masks = layer.compute_mask(x, mask)
    assert [m is not None for m in masks] == [True] + [False] * n + [True] * names.count("lstm") + [False] * len(names)


def test_one_cell_in_a_list_is_that_cell() -> None:
    """Keras's own fails here on JAX."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    alone = layers.RNN(keras.layers.LSTMCell(3), return_state=True)
    listed = layers.RNN([keras.layers.LSTMCell(3)], return_state=True)
    for layer in (alone, listed):
        layer.build(x.shape)
    listed.set_weights(alone.get_weights())
    for a, b in zip(outputs(alone, x), outputs(listed, x), strict=True):
        np.testing.assert_array_equal(a, b)


class Twice(keras.layers.Layer):
    """A cell that we do not know: h' = 2 x + h."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def call(self, x: Any, states: Any) -> Any:
        h = 2 * x + states[0]
        return h, [h]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class MyLSTMCell(keras.layers.LSTMCell):
    """It may compute anything."""


def test_any_other_cell_runs_on_keras_loop() -> None:
    x = np.random.default_rng(3).normal(size=(B, T, I)).astype(np.float32)
    mask = np.arange(T) < np.array([[T], [2], [1]])
    layer, plain = (names.RNN(Twice(I), return_sequences=True, return_state=True) for names in (layers, keras.layers))
    for call in (dict(), dict(mask=mask), dict(initial_state=[x[:, 0]])):
        for a, b in zip(layer(x, **call), plain(x, **call), strict=True):
            np.testing.assert_array_equal(a, b)
    reason = "its cell Twice is none of LSTMCell, GRUCell, SimpleRNNCell"
    assert layer_route(layer) == ("loop", reason)
    assert layer_route(layers.RNN([keras.layers.GRUCell(I), Twice(I)])) == ("loop", reason)
    assert layer_route(layers.RNN(MyLSTMCell(2))).reason.startswith("its cell MyLSTMCell is none of")
    with pytest.raises(UnsupportedError, match=rf"resets cannot be had, since {reason}"):
        layer.call(x, resets=mask)
    for option in OURS:
        with pytest.raises(UnsupportedError, match=rf"{option} cannot be had, since {reason}"):
            layers.RNN(Twice(I), **{option: True})


def test_a_cell_of_another_dtype_runs_on_keras_loop() -> None:
    x = np.random.default_rng(4).normal(size=(B, T, I)).astype(np.float32)
    layer, plain = (
        names.RNN(
            keras.layers.GRUCell(2, recurrent_initializer="glorot_uniform", name="half", dtype="bfloat16"),
            dtype="float32",
        )
        for names in (layers, keras.layers)
    )
    assert layer_route(layer) == ("loop", "its cell 'half' has the dtype bfloat16, the layer float32")
    plain.build(x.shape)
    layer.build(x.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(x), plain(x))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(OptionError, match="has return_cell_sequences and no LSTMCell"):
        layers.RNN([keras.layers.GRUCell(2), keras.layers.SimpleRNNCell(3)], return_cell_sequences=True)
    layer = layers.RNN([keras.layers.GRUCell(2), keras.layers.LSTMCell(3)])
    layer.build((B, T, I))
    wanted = r"initial_state must be h, of shape \(3, 2\); h and c, of shape \(3, 3\) each; got 2: \(3, 2\), \(3, 3\)"
    with pytest.raises(ShapeError, match=wanted):
        layer.call(np.zeros((B, T, I), np.float32), initial_state=[[np.zeros((B, 2))], [np.zeros((B, 3))]])


def test_additions_that_a_layer_does_not_have_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="RNN has no trainable_initial_state; LSTM, GRU and SimpleRNN have it"):
        layers.RNN(keras.layers.GRUCell(3), trainable_initial_state=True)
    for name in ("GRU", "SimpleRNN"):
        with pytest.raises(OptionError, match=f"only state of a {name} is h, which return_sequences returns"):
            getattr(layers, name)(3, return_cell_sequences=True)


def test_stacks_inside_a_bidirectional() -> None:
    rng = np.random.default_rng(5)
    with float64():
        found = []
        for names in (layers, keras.layers):
            cells = cells_of(("gru", "lstm"), dtype="float64", dropout=0.3, seed=1)
            layer = names.RNN(cells, return_sequences=True, dtype="float64")
            found.append(names.Bidirectional(layer, merge_mode="mul", dtype="float64"))
            found[-1].build((B, T, I))
        random_weights(found[0], rng)
        found[1].set_weights(found[0].get_weights())
        x, mask = rng.normal(size=(B, T, I)), rng.random((B, T)) < 0.6
        call = dict(mask=mask, training=True)
        assert_close64(*(gradients(layer, x, None, 1, **call) for layer in found))
        assert_close64(*(outputs(layer, x, **call) for layer in found))
        more = layers.Bidirectional(
            layers.RNN(cells_of(("gru", "lstm"), dtype="float64"), dtype="float64", **OURS), dtype="float64"
        )
        shapes = [v.shape for v in more(x)]
        assert shapes == [(B, 4), *[(B, T, 2)] * 2, (B, T, 3, 3), (B, T, 4, 2), (B, T, 3, 3), (B, T, 4, 2)]


def test_there_and_back_and_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    inputs = keras.Input((T, I))
    stack = cells_of(("gru", "lstm"))
    h = keras.layers.RNN(stack, return_sequences=True, name="stack")(keras.layers.Masking()(inputs))
    own = keras.layers.RNN(Twice(2), name="own")(keras.layers.Dense(2)(h))
    model = keras.Model(inputs, own)
    converted = with_engine(model)
    assert [type(converted.get_layer(name)) for name in ("stack", "own")] == [layers.RNN] * 2
    assert converted.layers[0].name == model.layers[0].name
    assert {path: route.name for path, route in routes(converted).items()} == {"stack": "engine", "own": "loop"}
    assert "with_engine(model) replaces it" in routes(model)["stack"].reason
    assert routes(model)["own"].reason == "Keras's own RNN"
    back = without_engine(converted)
    assert [type(back.get_layer(name)) for name in ("stack", "own")] == [keras.layers.RNN] * 2
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 2:] = 0  # masked
    # Two roundings of h, below 1, through a Dense and T sums of twice that.
    for other in (converted, back):
        np.testing.assert_allclose(other.predict(x, verbose=0), model.predict(x, verbose=0), rtol=0, atol=1e-5)

    more = layers.RNN(cells_of(("gru", "lstm")), name="more", **OURS)
    model = keras.Model(inputs, more(inputs))
    model.save(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras")
    assert type(loaded.get_layer("more")) is layers.RNN
    for a, b in zip(model.predict(x, verbose=0), loaded.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UnsupportedError, match=r"layer 'more' uses return_cell_sequences, return_gates, .*Keras's RNN"):
        without_engine(loaded)
