"""Masks that go with arrays: taken off by MultiHeadAttention, kept by what returns its input; beside stock Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from beside_keras import assert_same_model, assert_within, listed
from tolerances import model_tolerances

from everystep import layers, models

B, T, H = 3, 6, 4
rng = np.random.default_rng(21)
LENGTHS = np.array([6, 2, 4])
x = np.where((np.arange(T) < LENGTHS[:, None])[..., None], rng.normal(size=(B, T, H)), 0).astype(np.float32)


def two_attentions(library: Any, masked: Any) -> list[Any]:
    """The second sees no mask with the tensor, and keeps none; Dense has no mask of its own as an edge."""
    first = library.MultiHeadAttention(2, 3)(masked, masked)
    second = library.MultiHeadAttention(2, 3)(masked, masked)
    return [first, second, library.LSTM(2)(library.Add()([first, second]))]


def block(library: Any, masked: Any) -> list[Any]:
    """x + attention(x, x) loses the mask; LSTM has it as an edge. And the same again, on what came of it."""
    above = library.Add()([masked, library.MultiHeadAttention(2, 3)(masked, masked)])
    again = library.Add()([above, library.MultiHeadAttention(1, 5)(above, above)])
    joined = library.Concatenate()([masked, library.MultiHeadAttention(1, 2)(masked, masked)])
    return [library.LSTM(2)(above), library.LSTM(2, return_sequences=True)(again), library.Dense(2)(joined)]


def order_counts(library: Any, masked: Any) -> list[Any]:
    """What is farther from the outputs runs first, and sees the mask still."""
    early = library.Maximum()([masked, library.Dense(H)(masked)])
    early = library.Dense(3)(library.Dense(3)(library.Dense(3)(early)))
    attended = library.MultiHeadAttention(2, 3)(masked, masked)
    late = library.Maximum()([masked, attended])
    return [late, library.Attention()([masked, attended]), early]  # a search from the outputs meets the attention first


def same_array(library: Any, masked: Any) -> list[Any]:
    """Dropout returns the array that it was given, so that attending with it takes the mask off both."""
    dropped = library.Dropout(0.3)(masked)
    attended = library.MultiHeadAttention(2, 3)(dropped, dropped)
    return [library.Multiply()([masked, attended]), library.Multiply()([library.Identity()(masked), attended])]


def in_a_model(library: Any, masked: Any) -> list[Any]:
    """A model in the model attends with its input."""
    inner_input = library.Input((None, H))
    there = library.MultiHeadAttention(2, 3)(library.Dropout(0.1)(inner_input), inner_input)
    inner = (keras.Model if library is keras.layers else models.Model)(inner_input, there, name="inner")
    attended = inner(masked)
    return [attended, library.Multiply()([masked, attended])]


def seen(library: Any, tensor: Any) -> Any:
    """Whether a mask comes with a tensor shows in Maximum, in the graph's order and without an edge."""
    return library.Maximum()([tensor, library.Rescaling(-1.0)(tensor)])


def kept(library: Any, masked: Any) -> list[Any]:
    """What returns its input keeps the mask; all others here make an end of it."""
    short = library.Masking()(library.Reshape((T, H))(masked))
    made = [
        library.Reshape((T, H))(masked), library.Reshape((-1, H))(masked), library.Reshape((-1, 2))(masked),
        library.Permute((1, 2))(masked), library.Permute((2, 1))(short), library.Cropping1D(0)(masked),
        library.Cropping1D((0, 1))(masked), library.UpSampling1D(1)(masked), library.ZeroPadding1D(0)(masked),
        library.Activation("linear")(masked), library.Activation("tanh")(masked), library.Dropout(0.2)(masked),
        masked[:, :], masked[..., :], masked[:, 0:], masked[:, :-1], masked[:, ::-1],
        masked[:, :, 0:H], masked[:, 0:T],
    ]  # fmt: skip
    recurrent = [library.GRU(2)(tensor) for tensor in made[:4]]
    return [*(seen(library, tensor) for tensor in made), *recurrent]


BUILT = [two_attentions, block, order_counts, same_array, in_a_model, kept]


@pytest.mark.parametrize("build", BUILT)
@pytest.mark.parametrize("steps", [None, T])
def test_as_keras_predicts(build: Any, steps: int | None, tmp_path: Any) -> None:
    def whole(library: Any) -> Any:
        sequence = library.Input((steps, H))
        return [sequence], build(library, library.Masking()(sequence))

    ours = assert_same_model(whole, [x], tmp_path)
    # The graph made here, and Keras without compiling: the same again.
    sequence = layers.Input((steps, H))
    made = models.Model(sequence, build(layers, layers.Masking()(sequence)))
    made.set_weights(ours.get_weights())
    for a, b in zip(listed(made.predict(x)), listed(ours.predict(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    theirs = keras.saving.load_model(tmp_path / "theirs.keras")
    theirs.compile(run_eagerly=True)
    assert_within(ours.predict(x), theirs.predict(x, verbose=0), model_tolerances(ours, [x]))


def functions(ops: Any, masked: Any) -> list[Any]:
    return [
        ops.reshape(masked, (-1, T, H)), ops.transpose(masked, (0, 1, 2)), ops.cast(masked, "float32"),
        ops.moveaxis(masked, 2, -1), ops.swapaxes(masked, 1, -2), ops.abs(masked), ops.flip(masked, axis=2),
        ops.stop_gradient(masked),
    ]  # fmt: skip


def test_functions_that_return_their_input(tmp_path: Any) -> None:
    def build(library: Any) -> Any:
        sequence = library.Input((T, H))
        masked = library.Masking()(sequence)
        return [sequence], [seen(library, tensor) for tensor in functions(keras.ops, masked)]

    assert_same_model(build, [x], tmp_path)


def test_in_a_stream() -> None:
    """A query's step: what is after the attention sees no mask with the query, and the LSTM the one that is an edge."""
    query, value = layers.Input((None, H), name="query"), layers.Input((None, H), name="value")
    masked, values = layers.Masking()(query), layers.Masking()(value)
    shaped = layers.Reshape((-1, H))(masked)
    attended = layers.MultiHeadAttention(2, 3)(shaped, values)
    product = layers.Multiply()([masked, attended])
    model = models.Model([query, value], [product, layers.LSTM(2)(product), layers.GRU(2)(shaped)])
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    stream = model.stream(B, static={"value": x[::-1]})
    tolerances = model_tolerances(model, [x, x[::-1]])
    for t in range(T):
        expected = model.predict({"query": x[:, : t + 1], "value": x[::-1]})
        newest = [whole[:, -1] if whole.ndim == 3 else whole for whole in expected]
        assert_within(stream.step(x[:, t]), newest, tolerances)
