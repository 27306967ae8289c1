"""The layers that docs/streams.md lists keep the bits: of predict, step and run, in whatever company a row is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import same
from topologies import random_weights

from everystep import Input, Model, layers
from everystep.layers.structure import flatten

B, T, I = 5, 9, 6
DOCS = Path(__file__).parents[2] / "docs/streams.md"
LISTED = re.findall(r"^- (\w+)$", DOCS.read_text(), re.MULTILINE)
CELLS: Any = [layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell]

# What makes each of them; the options that make most of it.
MADE: dict[str, list[Any]] = {
    "LSTM": [lambda **d: layers.LSTM(7, **d), lambda **d: layers.LSTM(7, return_sequences=True, **d)],
    "GRU": [lambda **d: layers.GRU(7, return_sequences=True, **d), lambda **d: layers.GRU(7, reset_after=False, **d)],
    "SimpleRNN": [lambda **d: layers.SimpleRNN(7, **d), lambda **d: layers.SimpleRNN(7, return_sequences=True, **d)],
    "RNN": [lambda **d: layers.RNN([cell(4, **d) for cell in CELLS], return_sequences=True, **d)],
    "Dense": [lambda **d: layers.Dense(7, "tanh", **d), lambda **d: layers.Dense(3, "softmax", **d)],
    "Masking": [lambda **d: layers.Masking(**d)],
    "Dropout": [lambda **d: layers.Dropout(0.5, **d)],
    "Activation": [
        lambda **d: layers.Activation("gelu", **d),
        lambda **d: layers.Activation("softmax", **d),
        lambda **d: layers.Activation("log_softmax", **d),
    ],
    "TimeDistributed": [lambda **d: layers.TimeDistributed(layers.Dense(3, **d), **d)],
    "Conv1D": [
        lambda **d: layers.Conv1D(7, 3, padding="causal", dilation_rate=2, **d),
        lambda **d: layers.Conv1D(6, 2, strides=2, groups=2, activation="tanh", **d),
    ],
    "DepthwiseConv1D": [lambda **d: layers.DepthwiseConv1D(3, strides=2, depth_multiplier=2, **d)],
    "SeparableConv1D": [lambda **d: layers.SeparableConv1D(7, 2, dilation_rate=2, activation="softmax", **d)],
    "MaxPooling1D": [lambda **d: layers.MaxPooling1D(2, **d)],
    "AveragePooling1D": [lambda **d: layers.AveragePooling1D(3, strides=2, **d)],
    "Cropping1D": [lambda **d: layers.Cropping1D((1, 2), **d)],
    "GlobalMaxPooling1D": [lambda **d: layers.GlobalMaxPooling1D(**d)],
    "GlobalAveragePooling1D": [lambda **d: layers.GlobalAveragePooling1D(**d)],
    "LayerNormalization": [
        lambda **d: layers.LayerNormalization(**d),
        lambda **d: layers.LayerNormalization(rms_scaling=True, **d),
    ],
    "BatchNormalization": [lambda **d: layers.BatchNormalization(**d)],
    "UnitNormalization": [lambda **d: layers.UnitNormalization(**d)],
    "Normalization": [lambda **d: layers.Normalization(axis=None, mean=0.3, variance=2.1, **d)],
    "Rescaling": [lambda **d: layers.Rescaling(0.3, [1, 2, 3, 4, 5, 6], **d)],
    "ReLU": [lambda **d: layers.ReLU(1.3, 0.2, 0.1, **d)],
    "LeakyReLU": [lambda **d: layers.LeakyReLU(**d)],
    "ELU": [lambda **d: layers.ELU(0.7, **d)],
    "PReLU": [lambda **d: layers.PReLU(shared_axes=[1], **d)],
    "Softmax": [lambda **d: layers.Softmax(axis=2, **d)],
    "Reshape": [lambda **d: layers.Reshape((-1, 2, 3), **d)],
    "Permute": [lambda **d: layers.Permute((1, 2), **d)],
    "Identity": [lambda **d: layers.Identity(**d)],
    "SpatialDropout1D": [lambda **d: layers.SpatialDropout1D(0.5, **d)],
    "AlphaDropout": [lambda **d: layers.AlphaDropout(0.5, **d)],
    "GaussianDropout": [lambda **d: layers.GaussianDropout(0.5, **d)],
    "GaussianNoise": [lambda **d: layers.GaussianNoise(0.5, **d)],
    "ActivityRegularization": [lambda **d: layers.ActivityRegularization(l2=0.5, **d)],
}
OF_TWO = ("Concatenate", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
ON_ITS_OWN = (*OF_TWO, "Embedding")  # which takes ids


def test_the_list_is_the_one_that_is_tested() -> None:
    assert sorted(LISTED) == sorted([*MADE, *ON_ITS_OWN])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LISTED)
def test_the_bits_are_kept(name: str, dtype: str) -> None:
    options: Any = dict(dtype=dtype)
    x, ids = Input((None, I), dtype=dtype, name="x"), Input((None,), dtype="int32", name="ids")
    words = layers.Embedding(9, I, **options)(ids)
    if name in OF_TWO:
        y: Any = [getattr(layers, name)(**options)([x, words])]
    elif name == "Embedding":
        y = [words]
    else:
        y = [make(**options)(x) for make in MADE[name]]
    model = Model([x, ids], [*y, words])
    rng = np.random.default_rng(3)
    random_weights(model, rng)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):  # whose variance is above 0
            layer.set_weights([np.abs(weight) for weight in layer.get_weights()])
    data = [rng.normal(size=(B, T, I)).astype(dtype), rng.integers(0, 9, (B, T)).astype("int32")]
    whole = flatten(model.run(data)[0])
    timed = [tensor.ndim > 2 for tensor in model.outputs]
    alone = flatten(model.run([array[:1] for array in data])[0])
    same(alone, [array[:1] for array in whole])

    stream, chunks = model.stream(B), model.stream(B)
    chunks.run([array[:, :4] for array in data])
    for t in range(T):
        found = flatten(stream.step([array[:, t] for array in data]))
        if t < 3:  # shorter than a window
            continue
        prefix = flatten(model.run([array[:, : t + 1] for array in data])[0])
        for a, b, its in zip(found, prefix, timed, strict=True):
            same(a, b if not its else b[:, -1] if b.shape[1] else np.full_like(a, np.nan))
    rest = flatten(chunks.run([array[:, 4:] for array in data]))
    for a, b, its in zip(rest, whole, timed, strict=True):
        same(a, b[:, b.shape[1] - a.shape[1] :] if its else b)
