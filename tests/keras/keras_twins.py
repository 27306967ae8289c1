"""Ours and Keras's layer with the same random weights: their values and gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from everystep.cells import CELLS
from everystep.keras import layers

B, T, I, H = 3, 4, 2, 3
NAMES = ("kernel", "recurrent_kernel", "bias")

# Of each cell of everystep.cells: the class of its layer, and what makes that class have this cell.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "simple": ("SimpleRNN", {}),
}
NOT_OF = {  # arguments that a class does not have
    "LSTM": (),
    "GRU": ("return_cell_sequences", "unit_forget_bias"),
    "SimpleRNN": (
        *("return_cell_sequences", "unit_forget_bias"),
        *("implementation", "recurrent_activation", "use_cudnn"),
    ),
}
every_cell = pytest.mark.parametrize("cell", list(CLASSES))


def random_weights(layer: keras.Layer, rng: np.random.Generator) -> None:
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])


def make(names: Any, cell: str, units: int = H, **options: Any) -> Any:
    """The layer of this cell that `names`, everystep.keras.layers or keras.layers, has; without what it has not."""
    name, fixed = CLASSES[cell]
    taken = {key: value for key, value in options.items() if key not in NOT_OF[name]}
    return getattr(names, name)(units, **taken, **fixed)


def states(rng: np.random.Generator, cell: str) -> list[np.ndarray]:
    """(B,H) for each state of the cell."""
    return [rng.normal(size=(B, H)) for _ in CELLS[cell].states]


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    """By the names that the oracle knows them by."""
    return dict(zip(NAMES, layer.get_weights(), strict=False))


def found_of(run: Any) -> list[np.ndarray]:
    """What the oracle found, in the order in which a layer returns all of it."""
    return [run.h, *run.states, *([] if run.c is None else [run.c]), run.gates]


def twins(
    rng: np.random.Generator, cell: str = "lstm", shape: tuple[int, ...] = (B, T, I), ours: Any = (), **options: Any
) -> tuple[Any, Any]:
    """Our layer with `options` and `ours`, and Keras's with `options`, built for `shape`, with the same weights."""
    pair = make(layers, cell, **options, **dict(ours)), make(keras.layers, cell, use_cudnn=False, **options)
    for layer in pair:
        layer.build(shape)
    random_weights(pair[0], rng)
    pair[1].set_weights(pair[0].get_weights()[: len(pair[1].weights)])  # all but a trainable initial state
    return pair


def outputs(layer: keras.Layer, *args: Any, **call: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in keras.tree.flatten(layer(*args, **call))]


def stateless(layer: keras.Layer, trainable: list[Any], *args: Any, **call: Any) -> Any:
    """The layer's outputs as a function of its trainable weights."""
    return layer.stateless_call(trainable, [v.value for v in layer.non_trainable_variables], *args, **call)[0]


def gradients(layer: keras.Layer, x: np.ndarray, initial_state: Any, seed: int, **call: Any) -> list[np.ndarray]:
    """Of sum(d * output) over all outputs, d random: by x, the initial state (if any) and every weight. On JAX."""
    import jax

    def loss(x: Any, initial_state: Any, trainable: Any) -> Any:
        out = stateless(layer, trainable, x, initial_state=initial_state, **call)
        rng = np.random.default_rng(seed)
        return sum((rng.normal(size=v.shape).astype(x.dtype) * v).sum() for v in keras.tree.flatten(out))

    trainable = [v.value for v in layer.trainable_variables]
    if initial_state is None:
        found = jax.grad(lambda x, trainable: loss(x, None, trainable), (0, 1))(x, trainable)
    else:
        found = jax.grad(loss, (0, 1, 2))(x, initial_state, trainable)
    return [np.asarray(v) for v in keras.tree.flatten(found)]
