"""Small models, and the members of the files that they are saved as: what every fuzzed file is made of."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from legacy_seeds import legacy_seeds

import everystep
from everystep import layers
from everystep.layers import Input

Members = dict[str, bytes]
LEGACY = "model.h5"  # in the place of members: a file that is no zip


def models() -> list[everystep.Model]:
    """Every kind of model and of layer that files have, as small as can be."""
    ids, x, y = Input((3,), dtype="int32", name="ids"), Input((None, 2), name="x"), Input((4, 2), name="y")
    encoder = everystep.Model(x, layers.LSTM(2, return_state=True, name="rec")(x), name="encoder")
    _, h, c = encoder(y)
    decoded = layers.LSTM(2, return_sequences=True)(y, initial_state=[h, c])
    embedded = layers.Embedding(5, 2, mask_zero=True)(ids)
    shared = layers.Dense(2, activation="tanh")
    masked = layers.Masking()(y)
    return [
        everystep.Sequential([Input((3, 2)), layers.LSTM(2, return_sequences=True), layers.GRU(2), layers.Dense(1)]),
        everystep.Model(y, layers.TimeDistributed(layers.Dense(1))(decoded)),
        everystep.Model([ids, y], layers.Concatenate(axis=1)([shared(layers.SimpleRNN(2)(embedded)), shared(h)])),
        everystep.Model(y, layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum")(masked)),
        everystep.Model(
            {"x": x},
            [
                layers.RNN([layers.LSTMCell(2), layers.GRUCell(1)])(x),
                layers.Activation("softmax")(layers.Dropout(0.5)(x)),
            ],
        ),
    ]


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def seeds() -> list[Members]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.keras"
        found = []
        for model in models():
            model.save(path)
            found.append(members_of(path))
        return found + [{LEGACY: file} for file in legacy_seeds()]
