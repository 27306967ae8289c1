"""Attention layers against Keras's: numbers, masks, files, a query's step, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from beside_keras import assert_same, assert_same_model, pair
from tolerances import assert_close64
from wide_floats import float64

from everystep import layers
from everystep.errors import OptionError, ShapeError, UnsupportedError

B, T, S, D = 3, 5, 7, 4
rng = np.random.default_rng(9)
Q, V, K = (rng.normal(size=shape) for shape in ((B, T, D), (B, S, 6), (B, S, D)))
QUERY_MASK, VALUE_MASK = rng.random((B, T)) < 0.6, rng.random((B, S)) < 0.6
VALUE_MASK[:, 0] = True
VALUE_MASK[1] = False  # a row whose every step is masked

ONE_HEAD = [
    ("Attention", {}),
    ("Attention", {"use_scale": True, "dropout": 0.3, "seed": 2}),
    ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True}),
    ("AdditiveAttention", {}),
    ("AdditiveAttention", {"use_scale": False}),
]


@pytest.mark.parametrize(("kind", "options"), ONE_HEAD, ids=str)
def test_one_head(kind: str, options: Any) -> None:
    assert_same(kind, [Q, K], **options)
    inputs = [Q, V, K]
    with float64():
        ours, theirs = pair(kind, inputs, number=4, **options)
        both = [QUERY_MASK, VALUE_MASK]
        for mask in (None, both, [None, VALUE_MASK], [QUERY_MASK, None], [*both, None]):
            for causal in (False, True):
                call = dict(mask=mask, use_causal_mask=causal, return_attention_scores=True)
                expected = [np.asarray(part) for part in theirs(inputs, **call)]
                assert_close64(list(ours(inputs, **call)), expected)
                call = dict(mask=mask, use_causal_mask=causal)
                assert_close64([ours(inputs, **call)], expected[:1])
        assert ours([Q[:0], V[:0], K[:0]]).shape == (0, T, 6)
        assert ours([Q[:, :0], V, K]).shape == (B, 0, 6)


@pytest.mark.parametrize(("kind", "options"), ONE_HEAD, ids=str)
def test_a_step_of_the_query(kind: str, options: Any) -> None:
    with float64():
        ours, _ = pair(kind, [Q, V, K], number=5, **options)
    whole = ours([Q, V, K], mask=[QUERY_MASK, VALUE_MASK], return_attention_scores=True)
    for t in range(T):
        call = dict(mask=[QUERY_MASK[:, t], VALUE_MASK], return_attention_scores=True)
        stepped, state = ours.step([Q[:, t], V, K], (), **call)
        assert state == ()
        assert_close64(list(stepped), [part[:, t] for part in whole])


@pytest.mark.parametrize(("kind", "options"), ONE_HEAD, ids=str)
def test_one_head_in_a_file(kind: str, options: Any, tmp_path: Any) -> None:
    def build(library: Any) -> Any:
        q, v = library.Input((T, D)), library.Input((None, D))
        att = getattr(library, kind)(**options)
        seen = [library.Masking()(q), library.Masking()(v)]
        out, scores = att(seen, return_attention_scores=True)
        return [q, v], [library.LSTM(2)(att(seen, use_causal_mask=True)), library.Dense(2)(out), scores]

    arrays = [np.where(m[..., None], x, 0).astype(np.float32) for m, x in ((QUERY_MASK, Q), (VALUE_MASK, K))]
    assert_same_model(build, arrays, tmp_path)


HEADS = [
    {},
    {"value_dim": 5, "dropout": 0.1},  # without dropout, JAX asks for value_dim = key_dim
    {"use_bias": False, "output_shape": 6},
    {"output_shape": (2, 3), "use_gate": True},
    {"attention_axes": 1, "sliding_window": 2},
    {"dropout": 0.2, "seed": 3},
    {"flash_attention": False, "use_gate": True, "value_dim": 3},
]


@pytest.mark.parametrize("options", HEADS, ids=str)
def test_several_heads(options: Any) -> None:
    with float64():
        ours, theirs = (library.MultiHeadAttention(2, 3, dtype="float64", **options) for library in _both())
        ours(Q, V, K)
        theirs(Q, V, K)
        weights = [np.random.default_rng(1).normal(size=w.shape) for w in ours.get_weights()]
        ours.set_weights(weights)
        theirs.set_weights(weights)
        assert [w.path.split("/", 1)[1] for w in theirs.weights] == list(ours.named_weights)
        for call in CALLS:
            # Keras takes the softmax in float32 where no scores are asked for: there, as far as float32 holds.
            expected = [np.asarray(part) for part in theirs(Q, V, K, return_attention_scores=True, **call)]
            assert_close64(list(ours(Q, V, K, return_attention_scores=True, **call)), expected)
            found, expected = ours(Q, V, K, **call), np.asarray(theirs(Q, V, K, **call))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max()))
        found = {k: v for k, v in ours.get_config().items() if k not in ("name", "dtype", "trainable")}
        expected = {k: v for k, v in theirs.get_config().items() if k not in ("name", "dtype", "trainable")}
        for one in (found, expected):
            one["kernel_initializer"] = one["kernel_initializer"]["class_name"]
        assert found == expected
        assert ours(Q[:0], V[:0], K[:0]).shape[:2] == (0, T)


def _both() -> Any:
    import keras

    return layers, keras.layers


CALLS: list[dict[str, Any]] = [
    {},
    {"use_causal_mask": True},
    {"value_mask": VALUE_MASK},
    {"value_mask": VALUE_MASK, "key_mask": ~VALUE_MASK | (np.arange(S) == 0), "use_causal_mask": True},
    {"attention_mask": rng.random((B, T, S)) < 0.7},
    {"attention_mask": rng.random((B, 2, T, S)) < 0.7},
]


def test_a_step_of_the_query_of_several_heads() -> None:
    layer = layers.MultiHeadAttention(2, 3, use_gate=True, dtype="float64")
    layer(Q, V, K)
    full = rng.random((B, T, S)) < 0.7
    for of_heads in (full, np.stack([full, ~full], 1)):
        call = dict(value=V, key=K, value_mask=VALUE_MASK, return_attention_scores=True)
        whole = layer.run(Q, attention_mask=of_heads, query_mask=QUERY_MASK, **call)[0]
        for t in range(T):
            stepped, _ = layer.step(Q[:, t], attention_mask=of_heads[..., t, :], query_mask=QUERY_MASK[:, t], **call)
            assert_close64(list(stepped), [whole[0][:, t], whole[1][:, :, t]])


@pytest.mark.parametrize("options", HEADS, ids=str)
@pytest.mark.parametrize("key", [False, True])
def test_several_heads_in_a_file(options: Any, key: bool, tmp_path: Any) -> None:
    def build(library: Any) -> Any:
        q, v, k = library.Input((T, D)), library.Input((S, 6)), library.Input((S, D))
        masked = [library.Masking()(one) for one in (q, v, k)]
        layer = library.MultiHeadAttention(2, 3, **options)
        out = layer(masked[0], masked[1], **({"key": masked[2]} if key else {}))
        own = library.MultiHeadAttention(3, 2)(masked[0], masked[0], use_causal_mask=True)
        return [q, v, k], [out, library.Dense(2)(library.Flatten()(out)), library.LSTM(2)(own)]

    zeros = VALUE_MASK.copy()
    zeros[1] = True
    arrays = [
        np.where(m[..., None], x, 0).astype(np.float32) for m, x in ((QUERY_MASK, Q), (zeros, V), (zeros[::-1], K))
    ]
    assert_same_model(build, arrays, tmp_path)


REFUSED = [
    (lambda: layers.Attention(name="a")(Q), ShapeError, r"layer 'a' takes \[query, value\] or \[query, value, key\]"),
    (lambda: layers.Attention(dtype="float64")([Q]), ShapeError, "got 1"),
    (lambda: layers.Attention(dtype="float64")([Q, V]), ShapeError, r"got \(3, 5, 4\), \(3, 7, 6\)"),
    (lambda: layers.AdditiveAttention(dtype="float64")([Q, V[:2], K[:2]]), ShapeError, "takes query"),
    (lambda: layers.Attention(score_mode="x"), OptionError, "score_mode must be 'dot' or 'concat'; got 'x'"),
    (lambda: layers.Attention(use_scale=3), OptionError, "use_scale must be True or False; got 3"),
    (lambda: layers.Attention(dropout=2), OptionError, "dropout must be a number from 0 to 1"),
    (
        lambda: layers.Attention(dtype="float64")([Q, K], use_causal_mask=1),
        OptionError,
        "use_causal_mask must be True or",
    ),
    (lambda: layers.MultiHeadAttention(0, 2), OptionError, "num_heads must be a whole number from 1 on"),
    (lambda: layers.MultiHeadAttention(1, 2, attention_axes=(1, 2)), UnsupportedError, "attention_axes"),
    (lambda: layers.MultiHeadAttention(1, 2, dtype="float64")(Q), OptionError, "called without its value"),
    (lambda: layers.MultiHeadAttention(1, 2, dtype="float64")(Q, V, K[:, :2]), ShapeError, "takes query"),
    (
        lambda: layers.MultiHeadAttention(1, 2, dtype="float64")(Q, V, query_mask=QUERY_MASK),
        UnsupportedError,
        "does not",
    ),
    (lambda: layers.MultiHeadAttention(1, 2, flash_attention=True, dropout=0.1), OptionError, "flash_attention has no"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_refusals(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_streamed_sequence_is_not_attended_over() -> None:
    one, many = layers.Attention(name="a"), layers.MultiHeadAttention(2, 3, name="m")
    q = Q.astype(np.float32)
    one([q, q])
    many(q, q)
    with pytest.raises(UnsupportedError, match="layer 'a' cannot go one step at a time: it looks at all of value"):
        one.step([q[:, 0], q[:, 0]])
    with pytest.raises(UnsupportedError, match="layer 'a' cannot go one step at a time: with use_causal_mask=True"):
        one.step([q[:, 0], q], use_causal_mask=True)
    with pytest.raises(UnsupportedError, match="layer 'm' cannot go one step at a time: it looks at all of value"):
        many.step(q[:, 0], value=q[:, 0])
    with pytest.raises(UnsupportedError, match="layer 'm' cannot go one step at a time: with use_causal_mask"):
        many.step(q[:, 0], value=q, use_causal_mask=True)
