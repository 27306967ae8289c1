"""What benchmarks/generate.py has decoded: the demo's reader of dates, with random weights, and what is asked of it.

B batch, S steps of the source, V ids of the target, H units, W hypotheses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# As examples/dates_model.py has it: 151 ids of what is read, 15 of what is written; half of all dates have at most 15
# characters, and a day in ISO 8601 ten and the end.
SOURCE_SIZE, V, EMBEDDING, H = 151, 15, 32, 128
S, MOST = 15, 11
START, END, SPECIAL = 1, 2, 3  # ids below SPECIAL are padding, start and end
W = 4
MODELS = {
    "plain": {},
    "attention": {"bidirectional": True, "attention": "luong"},
}


class Decoding(NamedTuple):
    """A case.

    Attributes:
        folder: where `save` has put the models.
        model: of MODELS. batch: B. method: "greedy" or "beam".
        mode: of those that a way to decode has, the one to take.
    """

    folder: str
    model: str
    batch: int
    method: str
    mode: str = ""

    @property
    def attends(self) -> bool:
        return "attention" in MODELS[self.model]

    @property
    def source(self) -> np.ndarray:
        """(B,S) ids, none of which is padding."""
        return np.random.default_rng(self.batch).integers(1, SOURCE_SIZE, (self.batch, S), dtype=np.int32)

    def file(self, name: str) -> Path:
        return Path(self.folder) / f"{self.model}{name}"

    def weights(self) -> dict[str, list[np.ndarray]]:
        """Of each layer of the model, in Keras's order."""
        found: dict[str, list[np.ndarray]] = {}
        with np.load(self.file(".npz")) as arrays:
            for name in arrays.files:
                found.setdefault(name.split(":")[0], []).append(arrays[name])
        return found


def save(folder: str) -> None:
    """Each model in a file of everystep.keras's, `.keras`, one of stock Keras's, `_stock.keras`, and as arrays, `.npz`.

    The numbers are large enough to tell tokens well apart, so that rounding does not choose between them. Padding,
    start and end are out of reach: every row is decoded to the last token, while all look for the end.
    """
    import everystep
    from everystep.seq2seq import encoder_decoder

    rng = np.random.default_rng(5)

    def drawn(variable: Any) -> np.ndarray:
        shape = variable.shape
        scale = 0.2 if len(shape) == 1 else 1.0 if "embedding" in variable.path else 2 / np.sqrt(shape[0])
        return rng.normal(0, scale, shape).astype(np.float32)

    for name, options in MODELS.items():
        at = Decoding(folder, name, 1, "greedy")
        model = encoder_decoder(SOURCE_SIZE, V, embedding=EMBEDDING, units=H, name=name, **options)
        model.set_weights([drawn(variable) for variable in model.weights])
        kernel, bias = model.get_layer("logits").get_weights()
        bias[:SPECIAL] = -100
        model.get_layer("logits").set_weights([kernel, bias])
        model.save(at.file(".keras"))
        everystep.load_model(at.file(".keras")).save(at.file("_stock.keras"))
        arrays = {f"{layer.name}:{k}": w for layer in model.layers for k, w in enumerate(layer.get_weights())}
        np.savez(at.file(".npz"), **arrays)


def best(parents: list[np.ndarray], tokens: list[np.ndarray]) -> np.ndarray:
    """The tokens (B,L) of the first hypothesis, from what each one (B,W) follows and adds at each step."""
    rows = np.arange(len(tokens[0]))
    place = np.zeros(len(rows), int)
    found = []
    for parent, token in zip(reversed(parents), reversed(tokens), strict=True):
        found.append(token[rows, place])
        place = parent[rows, place]
    return np.stack(found[::-1], axis=1)
