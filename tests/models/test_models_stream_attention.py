"""A streamed query attends over static keys and values; what attends over the streamed sequence is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from topologies import random_weights

from everystep import Input, Model
from everystep.errors import UnsupportedError
from everystep.layers import GRU, LSTM, Add, AdditiveAttention, Attention, Embedding
from everystep.layers.multi_head_attention import MultiHeadAttention
from everystep.layers.structure import flatten

B, T, S, I = 3, 6, 5, 4
ATOL = 64 * np.finfo(float).eps  # some 64 sums and products of numbers around 1, rounded in another order

LAYERS: dict[str, Any] = {
    "Attention": lambda q, v: Attention(name="over", dtype="float64")([q, v]),
    "AdditiveAttention": lambda q, v: AdditiveAttention(name="over", dtype="float64")([q, v]),
    "MultiHeadAttention": lambda q, v: MultiHeadAttention(2, 3, name="over", dtype="float64")(q, v),
}


def made(attend: Any) -> tuple[Model, np.ndarray, np.ndarray]:
    """The words that are 0 are masked, in every row others."""
    options: Any = dict(dtype="float64")
    q, words = Input((None, I), name="q", **options), Input((S,), dtype="int32", name="words")
    value = Embedding(9, I, mask_zero=True, **options)(words)
    deeper = LSTM(I, return_sequences=True, **options)(q)
    over = attend(deeper, value)
    model = Model([q, words], [over, GRU(2, **options)(Add(**options)([over, q]))])
    rng = np.random.default_rng(11)
    random_weights(model, rng)
    ids = rng.integers(1, 9, (B, S)).astype("int32")
    ids[0, 3:], ids[1, :2] = 0, 0
    return model, rng.normal(size=(B, T, I)), ids


@pytest.mark.parametrize("name", LAYERS)
def test_a_streamed_query_over_static_values(name: str) -> None:
    model, x, words = made(LAYERS[name])
    stream = model.stream(B, static={"words": words})
    for t in range(T):
        found = flatten(stream.step(x[:, t]))
        over, last = model.predict([x[:, : t + 1], words])
        for a, b in zip(found, (over[:, -1], last), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=ATOL)
    stream.reset()
    for a, b in zip(stream.run(x), (over, last), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", LAYERS)
def test_over_the_streamed_sequence_is_refused(name: str) -> None:
    model, _, _ = made(LAYERS[name])
    with pytest.raises(UnsupportedError, match=r"'over' cannot go one step at a time: it looks at all .* in static"):
        model.stream(B)
    q = Input((None, I), dtype="float64")
    with pytest.raises(UnsupportedError, match="'over' cannot go one step at a time: it looks at all"):
        Model(q, LAYERS[name](q, q)).stream()


def test_over_what_changes_with_every_step_is_refused() -> None:
    q, words = Input((None, I), name="q"), Input((S, I), name="words")
    value = LSTM(I, return_sequences=True)(words, initial_state=LSTM(I, return_state=True)(q)[1:])
    with pytest.raises(UnsupportedError, match="'over' cannot go one step at a time: it takes a streamed sequence tog"):
        Model([q, words], Attention(name="over")([q, value])).stream(1, static={"words": np.zeros((1, S, I))})
