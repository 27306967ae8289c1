"""What an output's numbers are follows from how the model ends; scores are sums of logarithms of its probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generators import V
from topologies import random_weights

from everystep import Input, Model
from everystep.layers import GRU, Activation, Add, Average, Dense, Dropout, Embedding, Softmax, TimeDistributed
from everystep.layers.operations import Function
from everystep.models.generation.scales import scale_of

WIDE: Any = dict(dtype="float64")


def dense(y: Any, activation: Any = None, **options: Any) -> Any:
    return Dense(V, activation=activation, **WIDE, **options)(y)


def inside(y: Any) -> Any:
    z = Input((None, 4), **WIDE)
    return Model(z, dense(z, "softmax"))(y)


ENDS: dict[str, tuple[Any, str]] = {
    "softmax": (lambda y: dense(y, "softmax"), "probabilities"),
    "log_softmax": (lambda y: dense(y, "log_softmax"), "log-probabilities"),
    "linear": (dense, "logits"),
    "Activation": (lambda y: Activation("softmax", **WIDE)(dense(y)), "probabilities"),
    "Activation linear": (lambda y: Activation("linear", **WIDE)(dense(y, "softmax")), "probabilities"),
    "Activation linear of anything": (lambda y: Activation("linear", **WIDE)(dense(y, "relu")), "logits"),
    "Softmax": (lambda y: Softmax(**WIDE)(dense(y)), "probabilities"),
    "Softmax axis 2": (lambda y: Softmax(axis=[2], **WIDE)(dense(y)), "probabilities"),
    "TimeDistributed": (lambda y: TimeDistributed(Dense(V, activation="log_softmax", **WIDE))(y), "log-probabilities"),
    "TimeDistributed Softmax": (lambda y: TimeDistributed(Softmax(axis=1, **WIDE))(dense(y)), "probabilities"),
    "Dropout": (lambda y: Dropout(0.5, **WIDE)(dense(y, "softmax")), "probabilities"),
    "a model": (inside, "probabilities"),
    "functions": (lambda y: Function("Softmax")(dense(y)), "probabilities"),
    "log_softmax as a function": (lambda y: Function("LogSoftmax")(dense(y)), "log-probabilities"),
    "a temperature": (lambda y: dense(y) / 0.7, "logits"),
    "sums": (lambda y: Add(**WIDE)([dense(y), Average(**WIDE)([dense(y), dense(y) - dense(y)])]), "logits"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_scores(name: str, method: str) -> None:
    build, scale = ENDS[name]
    ids = Input((None,), dtype="int32", name="ids")
    model = Model(ids, build(GRU(4, return_sequences=True, **WIDE)(Embedding(V, 3, **WIDE)(ids))))
    random_weights(model, np.random.default_rng(8))
    assert scale_of(model.outputs[0]) == scale
    start = np.array([[1], [4], [0]])
    tokens, scores = model.generate(start=start, max_length=5, method=method, return_scores=True)
    y = model.predict(np.c_[start, tokens[:, :-1]])
    if scale == "log-probabilities":
        p = np.exp(y)
    else:
        p = y if scale == "probabilities" else np.exp(y) / np.exp(y).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=1e-12)
    if method == "greedy":
        np.testing.assert_array_equal(tokens, y.argmax(axis=-1))
    expected = np.log(np.take_along_axis(p, tokens[..., None], -1)[..., 0]).sum(axis=1)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)


def test_a_probability_of_0_is_never_chosen() -> None:
    """One token is certain to the last bit of float32; what is impossible ends no beam and is not drawn."""
    ids = Input((None,), dtype="int32", name="ids")
    model = Model(ids, Dense(V, activation="softmax")(GRU(4, return_sequences=True)(Embedding(V, 3)(ids))))
    weights = model.get_weights()
    weights[-1][:] = [0, 300, 0, 0, 0]
    model.set_weights(weights)
    for how in (dict(method="greedy"), dict(method="beam"), dict(method="sample", temperature=0.5, seed=1)):
        tokens, scores = model.generate(start=[[2], [3]], end=4, max_length=6, return_scores=True, **how)
        assert (tokens == 1).all()
        assert (scores == 0).all()
