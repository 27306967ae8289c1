"""Models that feed themselves with tokens, written once for Keras's names and for ours; and what generation must be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from topologies import Names

from everystep.layers.structure import flatten

V, E, H, S = 5, 3, 6, 4  # tokens, and sizes


def one_hot(k: Names) -> Any:
    """Keras's example lstm_seq2seq: characters one-hot, the decoder starts from the encoder's last h and c."""
    source, target = k.Input((None, V), name="source"), k.Input((None, V), name="target")
    _, h, c = k.LSTM(H, return_state=True, name="encoder")(source)
    y, _, _ = k.LSTM(H, return_sequences=True, return_state=True, name="decoder")(target, initial_state=[h, c])
    return k.Model([source, target], k.Dense(V, activation="softmax", name="dense")(y))


def embedded(k: Names, attention: Any = None) -> Any:
    """Ids on both sides, id 0 of the source masked; logits."""
    source, target = (k.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    words = k.Embedding(V, E, mask_zero=True, name="words")(source)
    encoded, h, c = k.LSTM(H, return_sequences=True, return_state=True, name="encoder")(words)
    tokens = k.Embedding(V, E, name="tokens")(target)
    y = k.LSTM(H, return_sequences=True, name="decoder")(tokens, initial_state=[h, c])
    if attention is not None:
        y = k.Concatenate()([y, attention(k)([y, encoded])])
    return k.Model([source, target], k.Dense(V, name="dense")(y))


def luong(k: Names) -> Any:
    return embedded(k, lambda k: k.Attention(name="attention"))


def bahdanau(k: Names) -> Any:
    return embedded(k, lambda k: k.AdditiveAttention(name="attention"))


def stacked(k: Names) -> Any:
    """Two GRUs on each side, their states handed over one by one; log-probabilities; the outputs of the lower too."""
    source, target = k.Input((None, E), name="source"), k.Input((None,), dtype="int32", name="target")
    lower, a = k.GRU(H, return_sequences=True, return_state=True, name="encoder_1")(k.Masking()(source))
    _, b = k.GRU(H, return_state=True, name="encoder_2")(lower)
    y = k.GRU(H, return_sequences=True, name="decoder_1")(k.Embedding(V + 2, E, name="tokens")(target), initial_state=a)
    z = k.GRU(H, return_sequences=True, name="decoder_2")(y, initial_state=b)
    return k.Model([source, target], [k.Dense(V, activation="log_softmax", name="scores")(z), y])


def language(k: Names) -> Any:
    """A language model of ids."""
    ids = k.Input((None,), dtype="int64", name="ids")
    y = k.LSTM(H, return_sequences=True, name="lstm")(k.Embedding(V, E, name="tokens")(ids))
    return k.Model(ids, k.Activation("softmax")(k.TimeDistributed(k.Dense(V))(y)))


def last_only(k: Names) -> Any:
    """Keras's example lstm_text_generation: windows of characters, and what comes after each."""
    x = k.Input((S, V), name="x")
    return k.Model(x, k.Dense(V, activation="softmax")(k.LSTM(H)(x)))


GENERATORS: tuple[Callable[[Names], Any], ...] = (one_hot, embedded, luong, bahdanau, stacked, language, last_only)
CLOSED_LIST = tuple(model for model in GENERATORS if model not in (luong, bahdanau))  # where bits are promised


def static_of(model: Any, rows: int, seed: int = 0) -> np.ndarray | None:
    """Numbers for the input "source", each row another, some masked; None if there is none."""
    rng = np.random.default_rng(seed)
    source = next((tensor for tensor in model.inputs if tensor.name == "source"), None)
    if source is None:
        return None
    if len(source.shape) == 2:
        ids = rng.integers(1, V, (rows, S))
        ids[::2, -2:] = 0
        return ids
    if source.shape[-1] == V:
        return np.eye(V)[rng.integers(0, V, (rows, S))]
    x = rng.normal(size=(rows, S, E))
    x[::2, -1] = 0
    return x


def log_probabilities(model: Any, static: Any, tokens: np.ndarray) -> np.ndarray:
    """(N,L): of each token of (N,1+L), the first of which is read only; by `predict` on all before it.

    Args:
        static: of N rows, or None.
    """
    found = []
    for t in range(1, tokens.shape[1]):
        read: np.ndarray = tokens[:, :t]
        x = np.eye(V)[read] if len(model.inputs[-1].shape) == 3 else read
        given = [x] if static is None else [static, x]
        arrays = [array.astype(tensor.dtype) for array, tensor in zip(given, model.inputs, strict=True)]
        y = np.asarray(flatten(model.run(arrays)[0])[0], np.float64)  # as predict, for windows of any length too
        y = y[:, -1] if y.ndim == 3 else y
        if not np.allclose(y.sum(axis=1), 1):  # of logits and log-probabilities alike
            y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        found.append(np.log(y[np.arange(len(y)), tokens[:, t]]))
    return np.stack(found, axis=1)


def sequences(end: int | None, length: int) -> list[tuple[int, ...]]:
    """Every row that may be made: up to `end`, or as long as it may be."""
    if end is None:
        return list(itertools.product(range(V), repeat=length))
    others = [token for token in range(V) if token != end]
    ended = [(*some, end) for n in range(length) for some in itertools.product(others, repeat=n)]
    return [*ended, *itertools.product(others, repeat=length)]
