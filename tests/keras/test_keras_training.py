"""A training step under Keras asks the engine for the gradients it uses: of no data, no zeros, no frozen weight."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from foreign_calls import gradients_in
from keras_twins import B, H, I, T, every_cell, make

from everystep.keras import layers

TRAINED = {"kernel", "recurrent_kernel", "bias"}


def written(model: keras.Model, x: np.ndarray) -> list[set[str]]:
    """Of the gradients in the training step that `fit` compiles: those that each run's call computes."""
    model.compile("adam", "mse")
    y = np.zeros(model.compute_output_shape(x.shape), "float32")
    model._symbolic_build(data_batch=(x, y))
    kinds = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    state = [[v.value for v in variables] for variables in (*kinds, model.metrics_variables)]
    return [set(call.written) for call in gradients_in(lambda *args: model.train_step(*args), state, (x, y))]


def model_of(*stack: Any, shape: tuple[int, ...] = (T, I), batch: int | None = None) -> keras.Model:
    inputs = keras.Input(shape, batch_size=batch)
    out = inputs
    for layer in stack:
        out = layer(out)
    return keras.Model(inputs, keras.layers.Dense(1)(out))


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


@every_cell
def test_of_the_first_layer_those_of_its_weights(cell: str) -> None:
    x = data(B, T, I)
    assert written(model_of(make(layers, cell)), x) == [TRAINED]
    assert written(model_of(make(layers, cell, dropout=0.5, recurrent_dropout=0.5)), x) == [TRAINED]
    assert written(model_of(make(layers, cell, stateful=True), batch=B), x) == [TRAINED]
    masked = model_of(keras.layers.Masking(), make(layers, cell))
    assert written(masked, x) == [TRAINED]


@every_cell
def test_of_the_second_layer_that_of_x_too(cell: str) -> None:
    stack = [make(layers, cell, return_sequences=True), make(layers, cell)]
    assert written(model_of(*stack), data(B, T, I)) == [TRAINED | {"x"}, TRAINED]  # the last one comes first
    embedded = model_of(keras.layers.Embedding(5, 4), make(layers, cell), shape=(T,))
    assert written(embedded, np.arange(B * T).reshape(B, T) % 5) == [TRAINED | {"x"}]


def test_of_cells_on_top_of_each_other() -> None:
    cells = [keras.layers.LSTMCell(H), keras.layers.GRUCell(H)]
    assert written(model_of(layers.RNN(cells)), data(B, T, I)) == [TRAINED | {"x"}, TRAINED]


@every_cell
def test_of_a_trainable_initial_state(cell: str) -> None:
    states = {"h0", "c0"} if cell == "lstm" else {"h0"}
    model = model_of(make(layers, cell, trainable_initial_state=True))
    assert written(model, data(B, T, I)) == [TRAINED | states]


@every_cell
def test_of_both_directions(cell: str) -> None:
    both = layers.Bidirectional(make(layers, cell, return_sequences=True))
    assert written(model_of(both, make(layers, cell)), data(B, T, I)) == [TRAINED | {"x"}, TRAINED, TRAINED]


@every_cell
def test_of_no_frozen_weight(cell: str) -> None:
    x = data(B, T, I)
    below, above = make(layers, cell, return_sequences=True), make(layers, cell)
    above.trainable = False
    assert written(model_of(below, above), x) == [{"x"}, TRAINED]
    below.trainable = False
    assert written(model_of(below, above), x) == []
