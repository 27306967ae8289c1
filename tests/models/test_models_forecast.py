"""Forecasts fed back are those of a plain loop: predict on the growing sequences, the newest step of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from topologies import Names, random_weights

import everystep
from everystep.errors import EverystepError

B, T, F, STEPS = 3, 7, 5, 6
DTYPES = ["float32", "float64"]


def sequences(k: Names, K: int = F) -> Any:
    """Returns every step."""
    x = k.Input((None, F), name="x")
    y = k.GRU(6, return_sequences=True)(k.LSTM(4, return_sequences=True)(k.Masking()(x)))
    return k.Model(x, k.Dense(K)(k.Concatenate()([y, k.Conv1D(3, 2, padding="causal")(x)])))


def last(k: Names, K: int = F) -> Any:
    """Returns the last output alone, and takes a fixed number of steps."""
    x = k.Input((T, F), name="x")
    return k.Model(x, k.Dense(K, activation="tanh")(k.SimpleRNN(4)(k.LSTM(6, return_sequences=True)(x))))


def residual(k: Names, K: int = F) -> Any:
    """The change from the newest step: a slice and a sum between the layers."""
    x = k.Input((None, F), name="x")
    return k.Model(x, k.Add()([x[:, :, :K], k.Dense(K)(k.LSTM(6, return_sequences=True)(x))]))


def pooled(k: Names, K: int = F) -> Any:
    """Has a clock of its own: a new output after every other step."""
    x = k.Input((None, F), name="x")
    return k.Model(x, k.Dense(K)(k.LSTM(6, return_sequences=True)(k.AveragePooling1D(3, strides=2)(x))))


def stacked(k: Names, K: int = F) -> Any:
    return k.Sequential([k.Input((None, F)), k.RNN([k.LSTMCell(4), k.GRUCell(3)]), k.Dropout(0.5), k.Dense(K)])


MODELS: list[Callable[..., Any]] = [sequences, last, residual, pooled, stacked]


def made(topology: Any, dtype: str = "float32", K: int = F, seed: int = 0) -> Any:
    model = topology(Names(everystep, dtype), K)
    random_weights(model, np.random.default_rng(seed))
    return model


def free(model: Any) -> Any:
    """The same for any number of steps, which predict is particular about."""
    if model.inputs[0].shape[1] is None:
        return model
    config = model.get_config()
    config["layers"][0]["config"]["batch_shape"] = (None, None, F)
    other = type(model).from_config(config)
    other.set_weights(model.get_weights())
    return other


def by_hand(predict: Any, x: np.ndarray, steps: int, feed: Any) -> np.ndarray:
    """The loop that users write."""
    found = []
    for k in range(steps):
        y = np.asarray(predict(x))
        y = y[:, -1] if y.ndim == 3 else y
        found.append(y.copy())
        x = np.concatenate([x, np.asarray(feed(y, k))[:, None]], axis=1).astype(x.dtype)
    return np.stack(found, axis=1)


def same(a: np.ndarray, b: np.ndarray) -> None:
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_array_equal(a, b)


def history(dtype: str, *shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (B, T, F)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("topology", MODELS)
def test_all_fed_back_is_the_loop(topology: Any, dtype: str) -> None:
    model, x = made(topology, dtype), history(dtype)
    expected = by_hand(free(model).predict, x, STEPS, lambda y, k: y)
    found = model.forecast(x, STEPS)
    same(found, expected)
    same(model.forecast(x, 1), expected[:, :1])
    if topology is not pooled:
        short = x[:, -1:]
        same(model.forecast(short, 2), by_hand(free(model).predict, short, 2, lambda y, k: y))
    for b in range(B):  # several series at once are each one alone
        same(model.forecast(x[b : b + 1], STEPS), expected[b : b + 1])
    assert len({row.tobytes() for row in expected[0]}) > 1  # they move


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("topology", MODELS)
def test_known_columns_stand_beside_those_fed_back(topology: Any, dtype: str) -> None:
    """Of three outputs two go to columns in another order, and one to none; two columns are known."""
    model, x = made(topology, dtype, K=4), history(dtype)
    future = history(dtype, B, STEPS, 2, seed=2)

    def feed(y: np.ndarray, k: int) -> np.ndarray:
        return np.stack([y[:, 3], future[:, k, 0], y[:, 0], y[:, 1], future[:, k, 1]], axis=1)

    expected = by_hand(free(model).predict, x, STEPS, feed)
    for feedback in ([2, 3, None, 0], (2, 3, None, 0), np.array([2, 3, None, 0])):
        same(model.forecast(x, STEPS, feedback=feedback, future=future), expected)
    changed = future.copy()
    changed[:, -1] = np.nan  # is not read
    same(model.forecast(x, STEPS, [2, 3, None, 0], changed), expected)
    for column in range(2):  # is
        changed = future.copy()
        changed[:, 0, column] += 1
        assert not np.array_equal(model.forecast(x, STEPS, [2, 3, None, 0], changed)[:, -1], expected[:, -1])


@pytest.mark.parametrize("topology", MODELS)
def test_a_function_makes_the_next_step(topology: Any) -> None:
    model, x = made(topology, K=2), history("float32")
    calls = []

    def feed(y: np.ndarray, k: int) -> np.ndarray:
        calls.append(k)
        made_of = np.concatenate([np.sin(y), y[:, :1] * k, y], axis=1)
        y[:] = np.nan  # what it is given is its own
        return made_of

    found = model.forecast(x, STEPS, feedback=feed)
    assert calls == list(range(STEPS - 1))
    same(found, by_hand(free(model).predict, x, STEPS, feed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("topology", MODELS)
def test_histories_of_different_lengths_are_each_one_alone(topology: Any, dtype: str) -> None:
    model = made(topology, dtype, K=3)
    lengths = (4, 9, 3, 4, 1 if topology is not pooled else 3, 9)
    x = [history(dtype, n, F, seed=n) + k for k, n in enumerate(lengths)]
    future = history(dtype, len(x), STEPS, 2, seed=3)
    found = model.forecast(x, STEPS, [0, 4, 2], future)
    for b, row in enumerate(x):
        same(model.forecast(row[None], STEPS, [0, 4, 2], future[b : b + 1]), found[b : b + 1])
        feed = lambda y, k, b=b: np.stack([y[:, 0], future[[b], k, 0], y[:, 2], future[[b], k, 1], y[:, 1]], 1)  # noqa: E731
        same(by_hand(free(model).predict, row[None], STEPS, feed), found[b : b + 1])
    same(model.forecast(x[1:2], STEPS, [0, 4, 2], future[1:2]), found[1:2])  # a list of one


def by_series(k: Names) -> Any:
    """Which series it is decides the start, and stands beside every step."""
    x, place = k.Input((None, 2), name="x"), k.Input((), dtype="int32", name="place")
    start = k.Embedding(9, 4)(place)
    return k.Model([x, place], k.Dense(2)(k.GRU(4)(x, initial_state=start)))


def test_static_inputs() -> None:
    model = by_series(Names(everystep, "float32"))
    random_weights(model, np.random.default_rng(4))
    place = np.array([5, 0, 8, 5], "int32")
    x = [history("float32", n, 2, seed=n) for n in (3, 5, 5, 4)]
    found = model.forecast(x, STEPS, static={"place": place})
    for b, row in enumerate(x):
        expected = by_hand(lambda one, b=b: model.predict([one, place[b : b + 1]]), row[None], STEPS, lambda y, k: y)
        same(found[b : b + 1], expected)


def test_numbers_are_converted_as_by_predict() -> None:
    model, x = made(last), history("float64")
    same(model.forecast(x, STEPS), model.forecast(x.astype("float32"), STEPS))
    whole = np.arange(B * T * F).reshape(B, T, F)
    same(model.forecast(whole, STEPS), model.forecast(whole.astype("float32"), STEPS))
    one = Names(everystep)
    p = one.Input((None, 1))
    single = one.Model(p, one.Dense(1)(one.LSTM(3)(p)))
    random_weights(single, np.random.default_rng(5))
    same(single.forecast(x[..., 0], STEPS), single.forecast(x[..., :1], STEPS))  # as Keras, one feature may be left out


def test_a_loop_of_keras_predict() -> None:
    """A copy of a live Keras model, its residual and its mask too; bounded as two runs of the same function.

    Feeding back composes one function: with an error e of each output, an output after k steps is at most
    e (1 + G + ... + G) away, G >= 1 being how much a change of what was fed changes anything later. e is that of
    `model_tolerances` on the longest sequence, in which the inputs are changed too; G is measured in float64.
    """
    from tolerances import model_tolerances

    theirs = residual(Names(keras, "float32"), 3)
    weights = [0.4 * w for w in random_weights(theirs, np.random.default_rng(6))]
    theirs.set_weights(weights)
    ours = everystep.from_keras(theirs)
    x, future = history("float32"), history("float32", B, STEPS, 2, seed=7)

    def feed(y: np.ndarray, k: int) -> np.ndarray:
        return np.concatenate([y, future[:, k]], axis=1)

    found = ours.forecast(x, STEPS, [0, 1, 2], future)
    expected = by_hand(lambda one: theirs.predict(one, verbose=0), x, STEPS, feed)
    whole = np.concatenate([x, np.concatenate([found[:, :-1], future[:, :-1]], axis=2)], axis=1)
    (e,) = model_tolerances(ours, [whole])

    wide = residual(Names(everystep), 3)  # float64
    wide.set_weights([w.astype(float) for w in weights])
    exact, small = wide.forecast(x, STEPS, [0, 1, 2], future), 1e-6
    rng = np.random.default_rng(8)
    growth = 1.0
    for _ in range(8):  # what a change of the last step of the history does to everything after it
        moved = x.astype(float)
        moved[:, -1, :3] += small * rng.choice([-1, 1], (B, 3))
        growth = max(growth, float(np.abs(wide.forecast(moved, STEPS, [0, 1, 2], future) - exact).max()) / small)
    np.testing.assert_allclose(found, expected, rtol=0, atol=e * STEPS * growth)
    assert e * STEPS * growth < 1e-3 * np.abs(expected).max()  # or it would bound nothing


# ---- What is refused ----

REFUSED: list[tuple[str, Any, str]] = [
    ("steps", lambda m, x: m.forecast(x, 0), r"steps must be a whole number from 1 on; got 0"),
    ("steps that are true", lambda m, x: m.forecast(x, True), r"steps must be a whole number from 1 on; got True"),
    ("no feedback", lambda m, x: m.forecast(x, 3), r"the output has 3 columns, and input 'x' has 5: pass feedback"),
    ("too few columns", lambda m, x: m.forecast(x, 3, [0, 1]), r"feedback must be a list of 3, .*got \[0, 1\]"),
    ("a column beyond", lambda m, x: m.forecast(x, 3, [0, 1, 5]), r"each once, from 0 to 4; got \[0, 1, 5\]"),
    ("a column before", lambda m, x: m.forecast(x, 3, [0, 1, -1]), r"each once, from 0 to 4; got \[0, 1, -1\]"),
    ("a column twice", lambda m, x: m.forecast(x, 3, [0, 1, 1]), r"each once, from 0 to 4; got \[0, 1, 1\]"),
    ("a flag", lambda m, x: m.forecast(x, 3, [0, True, 2]), r"feedback must be a list of 3.*True"),
    ("a name", lambda m, x: m.forecast(x, 3, "abc"), r"feedback must be a list of 3.*'abc'"),
    (
        "no future",
        lambda m, x: m.forecast(x, 3, [0, 1, 4]),
        r"feedback does not name columns 2, 3 of input 'x': pass in future .*\(3, 3, 2\)",
    ),
    (
        "a short future",
        lambda m, x: m.forecast(x, 3, [0, 1, 4], np.zeros((B, 2, 2))),
        r"future must hold columns 2, 3 of input 'x', .*shape \(3, 3, 2\); got \(3, 2, 2\)",
    ),
    (
        "a long future",
        lambda m, x: m.forecast(x, 3, [0, 1, 4], np.zeros((B, 4, 2))),
        r"shape \(3, 3, 2\); got \(3, 4, 2\)",
    ),
    (
        "a wide future",
        lambda m, x: m.forecast(x, 3, [0, 1, 4], np.zeros((B, 3, 3))),
        r"shape \(3, 3, 2\); got \(3, 3, 3\)",
    ),
    ("an uneven future", lambda m, x: m.forecast(x, 3, [0, 1, 4], [[1], [1, 2]]), "future must .*of different lengths"),
    ("an uneven step", lambda m, x: m.forecast(x, 3, lambda *_: [[1], [1, 2]]), "different lengths for step 0"),
    ("a future of words", lambda m, x: m.forecast(x, 3, [0, 1, 4], np.full((B, 3, 2), "a")), r"future must hold real"),
    (
        "a future of another range",
        lambda m, x: m.forecast(x, 3, [0, 1, 4], np.full((B, 3, 2), 1e300)),
        r"future takes float32; got an array of float64 with numbers that float32 cannot hold",
    ),
    (
        "a future beside a function",
        lambda m, x: m.forecast(x, 3, lambda y, k: x[:, 0], np.zeros((B, 3, 2))),
        r"a function for feedback returns all columns of the input; got future beside it",
    ),
    (
        "a function's shape",
        lambda m, x: m.forecast(x, 3, lambda y, k: y),
        r"feedback must return the next step of input 'x'.*of shape \(3, 5\); got \(3, 3\) for step 0",
    ),
    (
        "a function's words",
        lambda m, x: m.forecast(x, 3, lambda y, k: "abc"),
        r"feedback must return real numbers, \(3, 5\); got <U3 for step 0",
    ),
    (
        "a function's range",
        lambda m, x: m.forecast(x, 3, lambda y, k: np.full((B, F), 1e300 if k else 1)),
        r"as feedback returns it for step 1, takes float32.*cannot hold",
    ),
    ("other features", lambda m, x: m.forecast(x[..., :4], 3, [0, 1, 2]), r"input 'x' takes an array of shape"),
    ("no steps", lambda m, x: m.forecast(x[:, :0], 3, [0, 1, 2], np.zeros((B, 3, 2))), r"there must be a history"),
    ("no series", lambda m, x: m.forecast(x[:0], 3, [0, 1, 2]), r"there must be a history, .*shape \(0, 7, 5\)"),
    ("an empty one", lambda m, x: m.forecast([x[0], x[0, :0]], 3, [0, 1, 2]), r"there must be.*none in history 1"),
    ("an empty list", lambda m, x: m.forecast([], 3, [0, 1, 2]), r"histories are an array.*got a list of nothing"),
    ("lists", lambda m, x: m.forecast(x.tolist(), 3, [0, 1, 2]), r"a list of arrays \(T_b,F\).*got a list of list"),
    ("batches", lambda m, x: m.forecast([x, x], 3, [0, 1, 2]), r"got a list of ndarray of shape \(3, 7, 5\)"),
    ("a list's features", lambda m, x: m.forecast([x[0], x[1, :, :4]], 3), r"sequence 1 of input 'x' must be"),
    ("words", lambda m, x: m.forecast(x.astype(str), 3), r"input 'x' takes float32; got an array of <U"),
    ("static that is none", lambda m, x: m.forecast(x, 3, static={"y": x}), r"static holds some of them.*Got 'y'"),
]


@pytest.mark.parametrize(("call", "message"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(EverystepError, match=message):
        call(made(sequences, K=3), history("float32"))


def test_models_that_cannot_go_on_are_refused() -> None:
    k = Names(everystep, "float32")
    x, ids, time = (
        k.Input((None, F), name="x"),
        k.Input((None,), dtype="int32", name="ids"),
        k.Input((None, 2), name="t"),
    )
    y = k.LSTM(F, return_sequences=True, name="lstm")(x)
    values = history("float32")
    for outputs, inputs, message in (
        (
            [y, k.Dense(2, name="d")(y)],
            x,
            r"has 2 outputs, of 'lstm', 'd'; forecast feeds one back. Make a model of that",
        ),
        (k.Bidirectional(k.LSTM(3), name="both")(x), x, r"layer 'both' cannot go one step at a time: its backward"),
        (k.Flatten(name="flat")(k.Attention(name="looks")([y, y])), x, r"layer 'looks' cannot go one step at a time"),
        (
            k.Dense(F)(k.Concatenate()([y, time])),
            [x, time],
            r"has 2 inputs that are streamed, 'x', 't'; forecast feeds one",
        ),
        (k.LSTM(3)(k.Embedding(9, 3)(ids)), ids, r"'ids' takes int32 of shape .*Models of tokens go on by generate"),
        (k.TimeDistributed(k.RepeatVector(2))(y), x, r"whose output is \(B,K\).*a step of which is \(B,2,5\)"),
    ):
        with pytest.raises(EverystepError, match=message):
            k.Model(inputs, outputs).forecast(values, 3)
    with pytest.raises(EverystepError, match=r"returns no step for a history of 2: its windows"):
        made(pooled).forecast([values[0], values[0, :2]], 3)
