"""LSTM, GRU and SimpleRNN against Keras over all options, against the textbook for what Keras lacks; and refusals."""

from __future__ import annotations

from typing import Any

import equations
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

import everystep.keras
import everystep.layers
from everystep.cells import ACTIVATIONS, CELLS
from everystep.errors import DtypeError, GraphError, OptionError, ShapeError, UnsupportedError
from everystep.layers import GRU, LSTM, Input, SimpleRNN

B, T, I, H = 3, 4, 2, 3
# The engine's cell -> Keras's class, and the options that make it that cell.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "simple": ("SimpleRNN", {}),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


def arrays(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in keras.tree.flatten(outputs)]


def made(library: Any, kind: str, **options: Any) -> Any:
    """A layer of this kind, ours or Keras's; options that its class does not have are left out."""
    name, own = KINDS[kind]
    if kind == "simple":
        options.pop("recurrent_activation", None)
    if kind != "lstm":
        options.pop("unit_forget_bias", None)
        options.pop("return_cell_sequences", None)
    return getattr(library.layers, name)(H, **own, **options)


def twins(kind: str, rng: np.random.Generator, dtype: str = "float64", **options: Any) -> tuple[Any, Any]:
    """Ours and Keras's with the same random weights."""
    pair = made(everystep, kind, dtype=dtype, **options), made(keras, kind, dtype=dtype, **options)
    for layer in pair:
        layer(np.zeros((B, T, I), dtype))
    pair[0].set_weights([rng.normal(0, 0.7, w.shape) for w in pair[0].get_weights()])
    pair[1].set_weights(pair[0].get_weights())
    return pair


options = st.fixed_dictionaries(
    dict(
        {name: st.booleans() for name in ("return_sequences", "return_state", "go_backwards", "unit_forget_bias")},
        zero_output_for_mask=st.booleans(),
        use_bias=st.booleans(),
        activation=st.sampled_from(["tanh", "linear", "softsign", "swish"]),
        recurrent_activation=st.sampled_from(["sigmoid", "hard_sigmoid", "softplus"]),
    )
)


@EVERY
@settings(max_examples=8, deadline=None, derandomize=True)
@given(options, st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_all_options(kind: str, options: Any, masked: bool, given_state: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with float64():
        ours, theirs = twins(kind, rng, **options)
        x = rng.normal(size=(B, T, I))
        mask = rng.random((B, T)) < 0.6 if masked else None
        state = [rng.normal(size=(B, H)) for _ in CELLS[kind].states] if given_state else None
        assert_close64(arrays(ours(x, initial_state=state, mask=mask)), arrays(theirs(x, state, mask=mask)))


@EVERY
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(kind: str, name: str) -> None:
    rng = np.random.default_rng(len(name))
    layer = made(everystep, kind, activation=name, recurrent_activation=name, dtype="float64", return_sequences=True,
                 return_state=True)  # fmt: skip
    x = rng.normal(0, 0.5, (B, 1 if name == "exponential" else T, I))  # that one grows without bound
    layer(x)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    zeros = [np.zeros((B, H)) for _ in CELLS[kind].states]
    expected = equations.run(kind, x, zeros, layer.named_weights, activation=name, recurrent_activation=name)
    assert_close64(list(layer(x)), [expected.h, *expected.states])


@EVERY
@pytest.mark.parametrize("T", [1, 7, 1000])
def test_float32(kind: str, T: int) -> None:
    rng = np.random.default_rng(T)
    ours, theirs = twins(kind, rng, "float32", return_sequences=True, return_state=True)
    # A small recurrent kernel, so that the bound on the growth of errors stays finite over 1,000 steps.
    weights = [w * scale for w, scale in zip(ours.get_weights(), (0.2, 0.02, 0.2), strict=True)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    x = rng.normal(size=(2, T, I)).clip(-2, 2).astype(np.float32)
    tolerance = value_tolerance(ours, x)
    assert tolerance < 1e-3  # the bound must say something
    for a, b in zip(arrays(ours(x)), arrays(theirs(x)), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@EVERY
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
def test_the_additions_are_the_textbooks(kind: str, backwards: bool, given_state: bool) -> None:
    rng = np.random.default_rng(20 + backwards)
    layer = made(
        everystep,
        kind,
        dtype="float64",
        return_sequences=True,
        return_state=True,
        return_cell_sequences=True,
        return_gates=True,
        trainable_initial_state=True,
        go_backwards=backwards,
    )
    x = rng.normal(size=(B, T, I))
    layer(x)
    weights = {name: rng.normal(0, 0.7, w.shape) for name, w in layer.named_weights.items()}
    states = [f"initial_{letter}" for letter in CELLS[kind].states]
    assert list(weights) == ["kernel", "recurrent_kernel", "bias", *states]
    layer.set_weights(list(weights.values()))
    mask, resets = rng.random((B, T)) < 0.6, rng.random((B, T)) < 0.4
    start = [np.broadcast_to(weights.pop(name), (B, H)) for name in states]
    call: dict[str, Any] = {}
    if given_state:
        start = [rng.normal(size=(B, H)) for _ in states]
        call["initial_state"] = start
    expected = equations.run(kind, x, start, weights, mask=mask, resets=resets, backwards=backwards)
    found = layer(x, mask=mask, resets=resets, **call)
    cells = [expected.c] if kind == "lstm" else []
    assert_close64(list(found), [expected.h, *expected.states, *cells, expected.gates])
    assert not found[-1][~(mask[:, ::-1] if backwards else mask)].any()


@EVERY
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("additions", [{}, {"return_gates": True, "return_cell_sequences": True}])
def test_masks_of_the_outputs_are_those_of_our_keras_layer(
    kind: str, sequences: bool, state: bool, additions: Any
) -> None:
    mask = np.random.default_rng(24).random((B, T)) < 0.5
    for backwards in (False, True):
        options = dict(return_sequences=sequences, return_state=state, go_backwards=backwards, **additions)
        found = made(everystep, kind, **options).compute_mask(None, mask)
        expected = made(everystep.keras, kind, **options).compute_mask(None, mask)
        for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, np.asarray(b))


@EVERY
def test_a_stateful_layer_starts_afresh(kind: str) -> None:
    x = np.random.default_rng(22).normal(size=(B, T, I)).astype(np.float32)
    layer = made(everystep, kind, stateful=True)
    np.testing.assert_array_equal(layer(x), layer(x))
    assert layer.get_config()["stateful"]


@EVERY
def test_the_weights_start_as_in_keras(kind: str) -> None:
    for options in ({}, {"unit_forget_bias": False}, {"bias_initializer": "ones", "unit_forget_bias": False}):
        ours, theirs = (made(library, kind, **options) for library in (everystep, keras))
        for layer in (ours, theirs):
            layer(np.zeros((B, T, I), np.float32))
        assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
        np.testing.assert_array_equal(ours.get_weights()[2], theirs.get_weights()[2])
    recurrent = ours.get_weights()[1]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(H), atol=1e-6)  # orthogonal by default
    columns = ours.get_weights()[0].shape[1]
    assert np.abs(ours.get_weights()[0]).max() <= np.sqrt(6 / (I + columns))  # Glorot's bound


@EVERY
def test_configs_are_keras_own(kind: str) -> None:
    ours, theirs = (made(library, kind, name="rec", dropout=0.25, seed=3) for library in (everystep, keras))
    assert ours.get_config() == theirs.get_config()
    assert ours.serialized() == {
        key: value for key, value in keras.saving.serialize_keras_object(theirs).items() if key != "build_config"
    }
    more = made(everystep, kind, return_gates=True).serialized()
    name = KINDS[kind][0]
    assert more["registered_name"] == f"everystep>{name}"
    assert more["module"] == type(made(everystep.keras, kind)).__module__
    assert more["config"]["return_gates"]


def test_arguments_in_keras_order_and_masks_of_features() -> None:
    rng = np.random.default_rng(23)
    layer = LSTM(H, "softsign", "tanh", False, return_sequences=True)
    assert (layer.activation, layer.recurrent_activation, layer.use_bias) == ("softsign", "tanh", False)
    other = SimpleRNN(H, "softsign", False, "zeros", "ones")
    assert (other.use_bias, other.kernel_initializer.kind, other.recurrent_initializer.kind) == (False, "Zeros", "Ones")
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    mask = rng.random((B, T, I)) < 0.4
    state = [np.ones((B, H), np.float32)] * 2
    np.testing.assert_array_equal(layer(x, state, mask), layer(x, initial_state=state, mask=mask.any(axis=-1)))
    np.testing.assert_array_equal(layer(x, mask=mask[:1, :, 0]), layer(x, mask=np.repeat(mask[:1, :, 0], B, axis=0)))
    gru = GRU(H)
    np.testing.assert_array_equal(gru(x, state[0]), gru(x, initial_state=[state[0]]))


BAD = [
    (lambda: LSTM(0), OptionError, "units must be a whole number from 1 on; got 0"),
    (lambda: LSTM(H, retrun_state=True), OptionError, "LSTM has no argument 'retrun_state'"),
    (lambda: LSTM(H, activation="softmax", name="a"), UnsupportedError, "layer 'a': activation 'softmax' is not one"),
    (lambda: LSTM(H, activation=np.tanh, name="a"), UnsupportedError, "is a Python function or object, 'tanh'"),
    (lambda: LSTM(H, {"class_name": "function", "config": "relu"}), UnsupportedError, "function or object, 'relu'"),
    (lambda: LSTM(H, dtype="float16", name="a"), UnsupportedError, "dtype 'float16' is not one of float32, float64"),
    (lambda: LSTM(H, kernel_initializer="magic"), UnsupportedError, "initializer 'magic' is not one of Zeros"),
    (lambda: LSTM(H, name="a/b"), OptionError, "holds no '/'"),
    (lambda: LSTM(H, dropout=2, name="a"), OptionError, "layer 'a': dropout must be a number from 0 to 1; got 2"),
    (lambda: LSTM(H, recurrent_dropout="a"), OptionError, "recurrent_dropout must be a number from 0 to 1; got 'a'"),
    (lambda: LSTM(H, return_gates="no", name="a"), OptionError, "'a': return_gates must be True or False; got 'no'"),
    (lambda: LSTM(H, return_sequences=None), OptionError, "return_sequences must be True or False; got None"),
    (lambda: GRU(H, reset_after=None), OptionError, "reset_after must be True or False; got None"),
    (lambda: GRU(H, return_cell_sequences=True), OptionError, "return_cell_sequences is of an LSTM, which has a cell"),
    (lambda: SimpleRNN(H, recurrent_activation="tanh"), OptionError, "has no argument 'recurrent_activation'"),
    (lambda: GRU(H, unit_forget_bias=True), OptionError, "GRU has no argument 'unit_forget_bias'"),
    (lambda: LSTM(H, implementation=3), OptionError, "implementation must be 1 or 2, or 0 as of old; got 3"),
    (
        lambda: LSTM(H, keras.saving.serialize_keras_object(keras.layers.LeakyReLU())),
        UnsupportedError,
        "is a Python function or object, 'LeakyReLU'; everystep knows",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_arguments_are_named(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


x32 = np.zeros((B, T, I), np.float32)
BAD_CALLS = [
    (
        (x32[0],),
        {},
        ShapeError,
        r"layer 'rec' takes sequences \(B,T,2\), with a known number of features; got \(4, 2\)",
    ),
    (([x32[0], x32[1]],), {}, ShapeError, r"'rec' takes one array \(B,T,I\); got a list of 2. A model's predict takes"),
    ((x32[..., :1],), {}, ShapeError, r"takes sequences \(B,T,2\)"),
    ((x32,), {"initial_state": [np.zeros((B, H), np.float32)]}, ShapeError, r"must be h \(3, 3\), c \(3, 3\); got 1"),
    ((x32,), {"mask": np.ones((B, T + 1), bool)}, ShapeError, r"mask must be \(B,T\), here \(3, 4\); got \(3, 5\)"),
    ((x32,), {"resets": np.ones((2, T), bool)}, ShapeError, r"resets must be \(B,T\)"),
    ((x32,), {"training": True}, UnsupportedError, "was called with training=True, and only runs"),
    ((x32,), {"reset": x32}, OptionError, "layer 'rec' has no call argument 'reset'; it has sequences, initial_state"),
    ((x32,), {"sequences": x32}, OptionError, "was given sequences twice"),
    (([1.0, 2.0],), {}, DtypeError, "takes NumPy arrays; got float"),
    (
        (x32 + np.float64(1e300),),
        {},
        DtypeError,
        "layer 'rec' takes float32; got an array of float64 with numbers that",
    ),
    ((x32.astype(complex),), {}, DtypeError, "takes arrays of real numbers; got complex128"),
    ((x32.astype(int),), {}, DtypeError, "layer 'rec' is float32 and its input is int64; nothing is cast"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), BAD_CALLS)
def test_bad_calls_are_named(args: Any, kwargs: Any, error: Any, message: str) -> None:
    layer = LSTM(H, name="rec")
    layer(x32)
    with pytest.raises(error, match=message):
        layer(*args, **kwargs)


def test_bad_graphs_and_weights_are_named() -> None:
    layer = LSTM(H, name="rec")
    with pytest.raises(
        ShapeError, match=r"takes sequences \(B,T,I\), with a known number of features; got \(None, 4\)"
    ):
        layer(Input((4,)))
    with pytest.raises(DtypeError, match="layer 'rec' is float32 and its input is float64"):
        layer(Input((T, I), dtype="float64"))
    for name in ("mask", "resets"):
        for flags in (Input((T + 1,), dtype="bool"), Input((T + 1, I), dtype="bool"), Input((), dtype="bool")):
            with pytest.raises(ShapeError, match=rf"'rec': {name} must be \(B,T\), here \(None, 4\); got \(None"):
                LSTM(H, name="rec")(Input((T, I)), **{name: flags})
        for flags in (Input((T,), dtype="bool"), Input((None,), dtype="bool"), Input((T, I), dtype="bool")):
            assert LSTM(H)(Input((T, I)), **{name: flags}).shape == (None, H)
    with pytest.raises(GraphError, match="'rec' has no weights yet, for set_weights: call it on its inputs first"):
        layer.set_weights([1])
    layer(x32)
    with pytest.raises(ShapeError, match=r"'rec' has 3 weights \(kernel, recurrent_kernel, bias\); got 1"):
        layer.set_weights([1])
    before = layer.get_weights()
    with pytest.raises(ShapeError, match=r"recurrent_kernel must be of shape \(3, 12\); got \(12, 3\)"):
        layer.set_weights([before[0] + 1, before[1].T, before[2]])
    with pytest.raises(DtypeError, match="kernel must hold real numbers; got <U1"):
        layer.set_weights([np.full(before[0].shape, "a"), *before[1:]])
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
