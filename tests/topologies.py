"""The same models written once, for Keras's names and for ours: every way in which layers are joined."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

T, I, H, VOCABULARY = 5, 3, 4, 7


class Names:
    """The layers and models of one library, its layers of one dtype.

    Args:
        library: `keras` or `everystep`.
        dtype: of all layers and of float inputs.
        lstm: the LSTM to use, by default the library's.
    """

    def __init__(self, library: ModuleType, dtype: str = "float64", lstm: Any = None) -> None:
        self.library, self.dtype, self.lstm = library, dtype, lstm
        self.Model, self.Sequential = library.Model, library.Sequential

    def Input(self, *args: Any, **kwargs: Any) -> Any:
        return self.library.Input(*args, **{"dtype": self.dtype, **kwargs})

    def __getattr__(self, name: str) -> Any:
        layer = self.lstm if name == "LSTM" and self.lstm else getattr(self.library.layers, name)
        return lambda *args, **kwargs: layer(*args, dtype=self.dtype, **kwargs)


def one_lstm(k: Names) -> Any:
    x = k.Input((T, I))
    return k.Model(x, k.LSTM(H)(x))


def states(k: Names) -> Any:
    x = k.Input((None, I), name="x")
    y, h, c = k.LSTM(H, return_sequences=True, return_state=True, bias_initializer="ones")(x)
    return k.Model({"x": x}, {"states": [h, c], "last": (k.Dense(2, activation="relu")(y),)})


def encoder_decoder(k: Names) -> Any:
    """States handed on as initial_state; the encoder is masked, the decoder's mask is not used."""
    ids, target = k.Input((None,), dtype="int32", name="ids"), k.Input((None, I), name="target")
    _, h, c = k.LSTM(H, return_state=True)(k.Embedding(VOCABULARY, I, mask_zero=True)(ids))
    y = k.LSTM(H, return_sequences=True)(k.Masking()(target), initial_state=[h, c])
    return k.Model([ids, target], k.Dense(VOCABULARY, activation="softmax")(y))


def masks(k: Names) -> Any:
    """Masks from numbers and from ids, joined along features and along time, and passed through layers."""
    x, ids = k.Input((T, I), name="x"), k.Input((T,), dtype="int32", name="ids")
    seen = k.Masking(1.5)(x)
    joined = k.Concatenate()([seen, k.Embedding(VOCABULARY, I, mask_zero=True)(ids)])
    longer = k.Concatenate(axis=1)([seen, x])
    a = k.Dropout(0.5)(k.LSTM(H, return_sequences=True, zero_output_for_mask=True)(joined))
    b = k.Activation("log_softmax")(k.Dense(H, activation="gelu")(a))
    return k.Model([x, ids], [k.LSTM(H, go_backwards=True)(b), k.LSTM(H)(longer), a])


def explicit_mask(k: Names) -> Any:
    x, mask = k.Input((T, I), name="x"), k.Input((T,), dtype="bool", name="mask")
    y, h, c = k.LSTM(H, return_sequences=True, return_state=True, go_backwards=True)(x, mask=mask)
    return k.Model([x, mask], [y, k.LSTM(2)(y), k.LSTM(H)(y, [c, h], mask)])


def shared_layer(k: Names) -> Any:
    a, b = k.Input((T, I), name="a"), k.Input((T, I), name="b")
    shared, dense = k.LSTM(H), k.Dense(2)
    first, second = shared(a), shared(b)
    return k.Model([a, b], [dense(k.Concatenate()([second, first])), k.Dense(3)(first)])


def shared_at_two_depths(k: Names) -> Any:
    """A layer counts at its greatest distance from the outputs, or the order of weights is another."""
    x = k.Input((T, I), name="x")
    shared = k.LSTM(H, return_sequences=True)
    far = k.Dense(2)(shared(k.Dense(I)(x)))
    return k.Model(x, [shared(x), far, k.LSTM(2)(k.Dense(H)(x))])


def called_out_of_order(k: Names) -> Any:
    """In the config the shared layer comes before the one that its first call depends on."""
    x = k.Input((T, I), name="x")
    shared = k.LSTM(H)
    first, second = shared(k.Dense(I)(x)), shared(x)
    return k.Model(x, [k.Dense(2)(k.Dense(3)(second)), first])


def nested(k: Names) -> Any:
    """A model in a model, twice, one of its inputs masked; a Sequential in it."""
    p, q = k.Input((None, H), name="p"), k.Input((None, H), name="q")
    inner = k.Model([p, q], [k.LSTM(H, return_sequences=True)(p), k.Dense(H)(q)], name="inner")
    stack = k.Sequential([k.Input((None, H)), k.LSTM(H, return_sequences=True), k.Dense(H)], name="stack")
    x = k.Input((T, H), name="x")
    one, two = inner([k.Masking()(x), x])
    three, four = inner([two, one])
    return k.Model(x, [k.LSTM(2)(stack(three)), k.LSTM(3)(four), k.LSTM(3)(stack(k.Masking()(x))), three])


def branches(k: Names) -> Any:
    """Branches of several depths, so that the order of weights says something; an input that nothing needs."""
    x, y, unused = (k.Input((T, I), name=name) for name in ("x", "y", "unused"))
    deep = k.Dense(I)(k.Dense(2)(k.Dense(I)(x)))
    short = k.Dense(I)(y)
    masked = k.LSTM(H)(k.Concatenate()([k.Masking()(k.Dense(I)(y)), deep]))
    return k.Model([x, y, unused], [k.LSTM(H)(short), k.LSTM(H)(deep), masked])


def stacked(k: Names) -> Any:
    return k.Sequential(
        [
            k.Input((T,), dtype="int32"),
            k.Embedding(VOCABULARY, I, mask_zero=True),
            k.LSTM(H, return_sequences=True),
            k.Dropout(0.3),
            k.LSTM(H, unit_forget_bias=False, use_bias=False),
            k.Dense(2, "tanh", use_bias=False),
        ]
    )


def grus(k: Names) -> Any:
    """Every kind of layer on top of the other, both forms of GRU, masks and states between them."""
    x = k.Input((T, I), name="x")
    y, h = k.GRU(H, return_sequences=True, return_state=True)(k.Masking(1.5)(x))
    z = k.GRU(H, return_sequences=True, reset_after=False, go_backwards=True, bias_initializer="ones")(y)
    a, last = k.SimpleRNN(3, return_sequences=True, return_state=True, activation="relu")(z)
    return k.Model(x, [k.SimpleRNN(2, use_bias=False)(a), k.GRU(3)(y, initial_state=last), h, z])


def bidirectional(k: Names) -> Any:
    """Masked, stacked, with every merge mode; states handed on to a decoder that reads both ways too."""
    ids, x = k.Input((None,), dtype="int32", name="ids"), k.Input((T, I), name="x")
    y = k.Bidirectional(k.LSTM(H, return_sequences=True))(k.Embedding(VOCABULARY, I, mask_zero=True)(ids))
    y, *states = k.Bidirectional(k.LSTM(3, return_sequences=True, return_state=True), merge_mode="sum")(y)
    one, other = k.Bidirectional(k.GRU(3), merge_mode=None, backward_layer=k.GRU(3, go_backwards=True))(y)
    z = k.Bidirectional(k.LSTM(3, return_sequences=True), merge_mode="mul")(x, initial_state=states)
    last = k.Bidirectional(k.SimpleRNN(3), merge_mode="ave")(k.Masking()(x))
    return k.Model([ids, x], [k.Concatenate()([one, other, last]), z, *states])


def stacks(k: Names) -> Any:
    """RNN over one cell and over a list, its states handed on; a stack in both directions."""
    x = k.Input((T, I), name="x")
    cells = [k.LSTMCell(H), k.GRUCell(3, reset_after=False), k.SimpleRNNCell(2)]
    y, (h, c), g, s = k.RNN(cells, return_sequences=True, return_state=True)(k.Masking()(x))
    one = k.RNN(k.GRUCell(3), zero_output_for_mask=True, return_sequences=True)(y, initial_state=g)
    both = k.Bidirectional(k.RNN([k.GRUCell(3), k.LSTMCell(2)], return_sequences=True, return_state=True))(y)
    back = k.RNN(k.StackedRNNCells([k.GRUCell(3), k.LSTMCell(H)]), go_backwards=True)(x, initial_state=[g, [h, c]])
    return k.Model(x, [y, h, c, g, s, one, k.Dense(2)(both[0]), *_flat(both[1:]), back])


def _flat(states: Any) -> list[Any]:
    return [one for state in states for one in (_flat(state) if isinstance(state, (list, tuple)) else [state])]


def by_step(k: Names) -> Any:
    """Layers and a model on each step by itself, with masks of their own."""
    ids, x = k.Input((T, 6), dtype="int32", name="ids"), k.Input((T, 6, I), name="x")
    words = k.Embedding(VOCABULARY, H, mask_zero=True)(ids)
    y = k.TimeDistributed(k.LSTM(H))(words)
    p = k.Input((6, I))
    inner = k.Model(p, k.Dense(2)(k.GRU(3)(p)))
    z = k.TimeDistributed(k.TimeDistributed(k.Dense(3, activation="softmax")))(x)
    return k.Model([ids, x], [k.GRU(2)(k.Concatenate()([y, k.TimeDistributed(inner)(x)])), z])


def both_ways(k: Names) -> Any:
    layers = [
        k.Input((T, I)),
        k.Masking(),
        k.Bidirectional(k.GRU(H, return_sequences=True)),
        k.TimeDistributed(k.Dense(3, activation="tanh")),
        k.Bidirectional(k.RNN(k.SimpleRNNCell(2))),
    ]
    return k.Sequential(layers)


TOPOLOGIES: list[Callable[[Names], Any]] = [
    one_lstm,
    states,
    encoder_decoder,
    masks,
    explicit_mask,
    shared_layer,
    shared_at_two_depths,
    called_out_of_order,
    nested,
    branches,
    stacked,
    grus,
    bidirectional,
    stacks,
    by_step,
    both_ways,
]


def data(model: Any, rng: np.random.Generator, rows: int = 3) -> list[np.ndarray]:
    """An array for each input; whole steps that Masking masks, and the id that Embedding masks, among them."""
    arrays = []
    for tensor in model.inputs:
        shape = (rows, *(T if size is None else size for size in tensor.shape[1:]))
        if tensor.dtype == "int32":
            arrays.append(rng.integers(0, 3, shape))
        elif tensor.dtype == "bool":
            arrays.append(rng.random(shape) < 0.6)
        else:
            x = rng.normal(size=shape)
            x[0, -2:] = 0
            x[1, 1] = 1.5
            arrays.append(x)
    return arrays


def random_weights(model: Any, rng: np.random.Generator) -> list[np.ndarray]:
    """Sets, and returns, weights without any symmetry."""
    weights = [rng.normal(0, 0.7, w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return weights


def fed(model: Any, x: list[Any]) -> Any:
    """x as the model takes it."""
    return {t.name: a for t, a in zip(model.inputs, x, strict=True)} if isinstance(model.input, dict) else x
