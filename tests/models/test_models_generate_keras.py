"""Beside stock Keras: the pair of models that its users build by hand to decode, and its `predict` on all so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from generators import GENERATORS, H, V, language, one_hot, static_of
from topologies import Names, random_weights
from wide_floats import keras_in_float64

import everystep

B, START, END, LENGTH = 3, 1, 2, 7


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    keras.utils.clear_session()
    with keras_in_float64():
        yield


def trained(topology: Any) -> Any:
    model = topology(Names(keras))
    random_weights(model, np.random.default_rng(4))
    model.set_weights([3 * weight for weight in model.get_weights()])
    return model


def by_hand(model: Any, source: np.ndarray) -> list[int]:
    """The inference half of Keras's example lstm_seq2seq, for one source: an encoder, a decoder, a loop of predict."""
    _, h, c = model.get_layer("encoder").output
    encoder = keras.Model(model.input[0], [h, c])
    decoder_inputs = model.input[1]
    first = [keras.Input((H,), dtype="float64"), keras.Input((H,), dtype="float64")]
    y, h, c = model.get_layer("decoder")(decoder_inputs, initial_state=first)
    decoder = keras.Model([decoder_inputs, *first], [model.get_layer("dense")(y), h, c])
    states = encoder.predict(source[None], verbose=0)
    token, made = START, list[int]()
    while len(made) < LENGTH and token != END:
        target = np.zeros((1, 1, V))
        target[0, 0, token] = 1
        y, *states = decoder.predict([target, *states], verbose=0)
        token = int(np.argmax(y[0, -1]))
        made.append(token)
    return made


def test_the_pair_of_models_built_by_hand() -> None:
    model = trained(one_hot)
    source = static_of(model, B)
    tokens = everystep.from_keras(model).generate(source, START, END, max_length=LENGTH)
    lengths = set()
    for row in range(B):
        made = by_hand(model, source[row])
        assert tokens[row].tolist() == made + [END] * (tokens.shape[1] - len(made))
        lengths.add(len(made))
    assert tokens.shape[1] == max(lengths)


@pytest.mark.parametrize("topology", [model for model in GENERATORS if model.__name__ != "last_only"])
def test_predict_on_all_so_far(topology: Any, tmp_path: Path) -> None:
    """A live Keras model that was copied, and a file that Keras wrote: greedy, and the scores of what came."""
    model = trained(topology)
    static = static_of(model, B)
    model.save(tmp_path / "model.keras")
    start = np.array([[START], [3], [0]]) if topology is language else np.full((B, 1), START)
    ours = [everystep.from_keras(model), everystep.load_model(tmp_path / "model.keras")]
    found = [one.generate(static, start, max_length=LENGTH, return_scores=True) for one in ours]
    read, total = start, np.zeros(B)
    for step in range(LENGTH):
        x = np.c_[read, np.zeros((B, LENGTH - 1 - step), int)]  # what comes later changes nothing; one shape is faster
        x = np.eye(V)[x] if topology is one_hot else x
        y = model.predict(x if static is None else [static, x], verbose=0)
        y = (y[0] if isinstance(y, list) else y)[:, step]
        token = y.argmax(axis=1)
        if not np.allclose(y.sum(axis=1), 1):
            y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        total += np.log(y[np.arange(B), token])
        read = np.c_[read, token]
    for tokens, scores in found:
        np.testing.assert_array_equal(tokens, read[:, 1:])
        np.testing.assert_allclose(scores, total, rtol=0, atol=1e-9)
