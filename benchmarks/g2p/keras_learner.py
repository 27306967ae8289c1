"""Learns with Keras on JAX, its recurrent layers everystep's or Keras's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from g2p.batches import Batch
from g2p.recipe import Recipe


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}


class KerasLearner:
    def __init__(self, stock: bool, recipe: Recipe, steps: int) -> None:
        import everystep.keras
        from g2p.training import built, compiled

        model = built(recipe)
        if stock:
            model = everystep.keras.without_engine(model)
        self.model = compiled(model, recipe, steps)

    def start(self, weights: dict[str, Any]) -> None:
        """From these weights, as if nothing had been learnt. What was compiled stays."""
        for layer in self.model.layers:
            layer.set_weights([weights[f"{layer.name}.{k}"] for k in range(len(layer.weights))])
        for variable in self.model.optimizer.variables:  # moments, and the number of steps
            variable.assign(variable * 0)

    def epoch(self, batches: Sequence[Batch]) -> tuple[float, float]:
        from g2p.training import fit_epoch

        start = time.perf_counter()
        loss = fit_epoch(self.model, list(batches))
        return loss, time.perf_counter() - start

    def weights(self) -> dict[str, Any]:
        return named_weights(self.model)


def named_weights(model: Any) -> dict[str, Any]:
    """By layer and place in it, such as "encoder_1.0"."""
    return {f"{layer.name}.{k}": w for layer in model.layers for k, w in enumerate(layer.get_weights())}
