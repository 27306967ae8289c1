"""What the tests of streams share: models that can be streamed, their data, and what a stream must equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from topologies import (
    VOCABULARY,
    H,
    I,
    Names,
    T,
    branches,
    by_step,
    called_out_of_order,
    encoder_decoder,
    nested,
    one_lstm,
    random_weights,
    shared_at_two_depths,
    shared_layer,
    stacked,
    states,
)

import everystep
from everystep.layers.structure import flatten, map_leaves

B = 3
GATES = dict(return_sequences=True, return_state=True, return_gates=True, trainable_initial_state=True)


def everything(k: Names) -> Any:
    """Each recurrent layer with each option that streams, masks and resets from outside, and from the numbers."""
    x, mask, resets = k.Input((T, I), name="x"), *(k.Input((T,), dtype="bool", name=n) for n in ("mask", "resets"))
    lstm = k.LSTM(H, zero_output_for_mask=True, return_cell_sequences=True, **GATES)(x, mask=mask, resets=resets)
    gru = k.GRU(3, zero_output_for_mask=True, **GATES)(k.Masking(1.5)(lstm[0]))
    before = k.GRU(2, reset_after=False, activation="relu", **GATES)(lstm[0], mask=mask)
    simple = k.SimpleRNN(5, zero_output_for_mask=True)(k.Masking()(x))
    seen, other = k.Masking()(x), k.Masking(1.5)(x)  # with a second argument, masks come beside the graph
    both, half = (k.GRU(3)(k.Concatenate()([seen, second]), resets=resets) for second in (other, x))
    return k.Model([x, mask, resets], [*lstm, *gru, *before, simple, both, half])


def heads(k: Names) -> Any:
    """Every layer that carries nothing, on sequences and on last outputs; ids alone and as floats."""
    ids, x = k.Input((None,), dtype="int64", name="ids"), k.Input((None, I), name="x")
    words = k.Embedding(VOCABULARY, 3, mask_zero=True)(k.Dropout(0.1)(ids))
    joined = k.Concatenate(axis=2)([words, k.Activation("softmax")(x), k.Masking(1.5)(x)])
    y = k.SimpleRNN(H)(joined)
    joined = k.Concatenate(axis=1)([y, k.Dense(3, activation="log_softmax")(y)])
    z = k.Activation("log_softmax")(k.Activation("tanh")(joined))
    return k.Model([ids, x], [z, k.Dense(2, activation="softmax")(joined), k.TimeDistributed(k.Dense(2))(x)])


def stacks(k: Names) -> Any:
    """RNN over cells and over a stack of them, whose states come grouped; starting from static states."""
    x, h, c = k.Input((T, I), name="x"), k.Input((H,), name="h"), k.Input((H,), name="c")
    cells = [k.LSTMCell(H), k.GRUCell(3, reset_after=False), k.SimpleRNNCell(2)]
    y, *last = k.RNN(cells, return_sequences=True, return_state=True)(k.Masking()(x))
    z = k.RNN(k.LSTMCell(H), zero_output_for_mask=True)(y, initial_state=[k.Dense(H)(h), c])
    return k.Model([x, h, c], [y, z, *flatten(last)])


def read_again(k: Names) -> Any:
    """A static sequence, read at every step from the newest state of a streamed one; a resettable static start."""
    x, article, h = k.Input((None, I), name="x"), k.Input((6, I), name="article"), k.Input((H,), name="h")
    resets = k.Input((None,), dtype="bool", name="resets")
    _, last = k.GRU(H, return_sequences=True, return_state=True)(x, initial_state=h, resets=resets)
    encoded = k.Bidirectional(k.LSTM(2, return_sequences=True))(k.Masking()(article))
    return k.Model([x, article, h, resets], [k.GRU(H)(encoded, initial_state=last), k.LSTM(2)(encoded)])


# A model, and its static inputs.
STREAMED: dict[Callable[[Names], Any], tuple[str, ...]] = {
    one_lstm: (),
    states: (),
    encoder_decoder: ("ids",),
    shared_layer: (),
    shared_at_two_depths: (),
    called_out_of_order: (),
    nested: (),
    branches: ("unused",),
    stacked: (),
    by_step: (),
    everything: (),
    heads: (),
    stacks: ("h", "c"),
    read_again: ("article", "h"),
}


class Case:
    """A model with weights, its data by name, and what of it is streamed."""

    def __init__(self, topology: Any, dtype: str = "float32", seed: int = 0, steps: int = T) -> None:
        rng = np.random.default_rng(seed)
        self.model = topology(Names(everystep, dtype))
        self.static_names = STREAMED[topology]
        random_weights(self.model, rng)
        self.x: dict[str, np.ndarray] = {}
        for tensor in self.model.inputs:
            shape = (B, *(steps if size is None else size for size in tensor.shape[1:]))
            if tensor.dtype.startswith("int"):
                self.x[tensor.name] = rng.integers(0, 3, shape).astype(tensor.dtype)
            elif tensor.dtype == "bool":
                self.x[tensor.name] = rng.random(shape) < 0.6
            else:
                self.x[tensor.name] = value = rng.normal(size=shape).astype(tensor.dtype)
                if value.ndim == 3:
                    value[0, -2:], value[1, 1] = 0, 1.5

    @property
    def static(self) -> dict[str, np.ndarray]:
        return {name: self.x[name] for name in self.static_names}

    def open(self, rows: int = B) -> Any:
        return self.model.stream(rows, static={name: value[:rows] for name, value in self.static.items()})

    def part(self, index: Any) -> Any:
        """The streamed inputs, indexed along rows and time."""
        return {name: value[index] for name, value in self.x.items() if name not in self.static_names}

    def expected(self, stop: int, start: int = 0, newest: bool = True) -> list[np.ndarray]:
        """What predict returns on the steps from `start` to `stop`; sequences as their newest step."""
        prefixes = [self._predicted(start, end) for end in (stop, stop + 1)]
        timed = [a.shape != b.shape for a, b in zip(*prefixes, strict=True)]
        return [v[:, -1] if its and newest else v for v, its in zip(prefixes[0], timed, strict=True)]

    def _predicted(self, start: int, stop: int) -> list[np.ndarray]:
        """A stop beyond the data is on one more step of anything: to see which outputs have a time axis."""
        x = self.static
        for name, value in self.part(np.s_[:, start:stop]).items():
            x[name] = np.concatenate([value, value[:, -1:]], axis=1) if value.shape[1] < stop - start else value
        outputs, _ = self.model.run([x[tensor.name] for tensor in self.model.inputs])
        return flatten(outputs)


def same(found: Any, expected: Any) -> None:
    """Equal to the bit, in shape and dtype."""
    found, expected = flatten(found), flatten(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


def copied(outputs: Any) -> Any:
    return map_leaves(np.copy, outputs)
