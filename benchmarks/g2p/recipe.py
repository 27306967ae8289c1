"""How the models are trained, in numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from g2p.batches import SOURCE_SIZE, TARGET_SIZE


@dataclass(frozen=True)
class Recipe:
    """Adam on the mean cross-entropy of a batch's phonemes; the learning rate rises at first, then falls to nothing."""

    units: int
    epochs: int
    attention: str | None = None
    layers: int = 2  # of the encoder and of the decoder
    embedding: int = 128
    dropout: float = 0.0
    batch: int = 128  # pairs
    learning_rate: float = 1e-3  # at its highest
    rise: float = 0.05  # the share of all steps in which it rises
    clip: float = 1.0  # the norm of all gradients together is cut to this
    seed: int = 0

    def model_arguments(self) -> dict[str, Any]:
        """Of `everystep.seq2seq.encoder_decoder`."""
        names = ("units", "layers", "embedding", "attention", "dropout")
        return dict(source_size=SOURCE_SIZE, target_size=TARGET_SIZE) | {name: getattr(self, name) for name in names}

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, of so many: from 0 up, then down along a cosine, as Keras's CosineDecay."""
        rise = self.rising(steps)
        if step < rise:
            return self.learning_rate * step / rise
        return self.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2

    def rising(self, steps: int) -> int:
        return max(1, int(self.rise * steps))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The paper's: two layers of 500 units on each side. And the same with attention.
PAPER = Recipe(units=500, epochs=15, dropout=0.2, learning_rate=2e-3)
ATTENTION = Recipe(units=500, epochs=15, dropout=0.2, learning_rate=2e-3, attention="luong")
FULL = {"plain": PAPER, "attention": ATTENTION}
# Small enough to be trained by three libraries, with three seeds. Without dropout, whose random numbers differ.
SMALL = Recipe(units=128, epochs=5, batch=64, learning_rate=2e-3)
