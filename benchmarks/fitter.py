"""Keras's `fit` of a small model, under one library, for benchmarks/fit.py: `python fitter.py PEER CPU...`.

Tells its versions, then answers lines of JSON, each of one model: {"what": ..., "layer": "LSTM", "together": 1}.
    ready: builds and compiles the model, with `together` as its steps_per_execution; the losses of its first epochs
    fit: the seconds a step of some epochs, which take about as long as "seconds" says
    step: the seconds of each call of the model's training step, under jit but without Keras's trainer; JAX only
    engine: the seconds of each pair of calls of the engine that the model's step needs, from NumPy
    profile: the seconds a step that each function of Keras's takes, by Python's profiler
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from answers import serve

B, T, I, H, STEPS = 32, 50, 8, 32, 100
EPOCHS = 3
BACKENDS = {"keras_everystep": "jax", "keras_jax": "jax", "keras_tensorflow": "tensorflow", "keras_torch": "torch"}


@cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Sequences (N,T,I), and of each a number that it takes a memory to tell."""
    x = np.random.default_rng(1).standard_normal((STEPS * B, T, I), np.float32)
    return x, np.tanh(x[:, ::5, 0].sum(axis=1, keepdims=True))


@cache
def model(layer: str, together: int) -> Any:
    """layer: the class of the recurrent layer, or "Flatten": then there is nothing but Dense to compute."""
    import keras

    if sys.argv[1] == "keras_everystep":
        from everystep.keras import layers
    else:
        layers = keras.layers
    inputs = keras.Input((T, I))
    inner = layers.Flatten() if layer == "Flatten" else getattr(layers, layer)(H)
    found = keras.Model(inputs, layers.Dense(1)(inner(inputs)))
    random = np.random.default_rng(2)
    found.set_weights([random.normal(0, 0.2, w.shape).astype(np.float32) for w in found.weights])
    found.compile("adam", "mse", steps_per_execution=together)
    return found


def epochs(of: Any, count: int) -> list[float]:
    """The seconds a step of each epoch."""
    import keras

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.taken: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.taken.append((time.perf_counter() - self.start) / STEPS)

    clock = Clock()
    of.fit(*data(), batch_size=B, epochs=count, callbacks=[clock], verbose=0)
    return clock.taken


def ready(layer: str, together: int) -> list[float]:
    history = model(layer, together).fit(*data(), batch_size=B, epochs=EPOCHS, shuffle=False, verbose=0).history
    return [float(loss) for loss in history["loss"]]


def fit(layer: str, together: int, seconds: float) -> list[float]:
    of = model(layer, together)
    (first,) = epochs(of, 1)
    return epochs(of, max(2, int(seconds / (first * STEPS))))


def calls(call: Callable[[], Any], seconds: float) -> list[float]:
    from timing import timed

    (taken,) = timed([call], seconds)
    return taken


def step(layer: str, together: int, seconds: float) -> list[float]:
    """With Keras's public stateless functions; each call goes on from the last one's weights, whose room it takes."""
    import jax
    import keras

    of = model(layer, together)
    rest = [v.value for v in of.non_trainable_variables]

    def loss(weights: Any, x: Any, y: Any) -> Any:
        found, _ = of.stateless_call(weights, rest, x, training=True)
        return keras.ops.mean(keras.losses.mean_squared_error(y, found))

    def train(weights: Any, moments: Any, x: Any, y: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        return of.optimizer.stateless_apply(moments, gradients, weights), value

    compiled = jax.jit(train, donate_argnums=(0, 1))
    x, y = (jax.numpy.asarray(values[:B]) for values in data())
    # Copies: what a call takes over is gone, and the model goes on.
    variables = (of.trainable_variables, of.optimizer.variables)
    state = tuple([jax.numpy.array(v.value, copy=True) for v in of_kind] for of_kind in variables)

    def call() -> None:
        nonlocal state
        state, value = compiled(*state, x, y)
        value.block_until_ready()

    return calls(call, seconds)


def engine(layer: str, together: int, seconds: float) -> list[float]:
    from everystep import cells, engine

    cell = {"LSTM": cells.LSTM, "GRU": cells.GRU, "SimpleRNN": cells.SIMPLE}[layer]
    weights = [np.asarray(v.value) for v in model(layer, together).trainable_variables][:3]
    x = data()[0][:B]
    start = [np.zeros((B, H), np.float32) for _ in cell.states]
    d_last = [np.ones((B, H), np.float32), *(None for _ in cell.states[1:])]

    def call() -> None:
        out = engine.run(engine.pack(cell.name, *weights), x, start, sequences=False, record=True)
        assert out.record is not None
        engine.run_backward(out.record, *weights, d_states=d_last)

    return calls(call, seconds)


def profile(layer: str, together: int, seconds: float) -> list[tuple[str, float]]:
    import cProfile
    import pstats

    of = model(layer, together)
    count = max(2, int(seconds / (epochs(of, 1)[0] * STEPS)))
    profiler = cProfile.Profile()
    profiler.runcall(epochs, of, count)
    found = []
    for (file, _, name), (_, _, own, *_) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        path = re.sub(r".*/(site-packages|python3\.\d+)/", "", file)
        found.append((name if path == "~" else f"{path}: {name}", own / count / STEPS))
    return sorted(found, key=lambda one: -one[1])[:8]


def versions() -> dict[str, str]:
    return {name: importlib.import_module(name).__version__ for name in ("keras", BACKENDS[sys.argv[1]])}


def main() -> None:
    os.sched_setaffinity(0, map(int, sys.argv[2:]))  # before there are threads
    os.environ |= {"KERAS_BACKEND": BACKENDS[sys.argv[1]], "TF_CPP_MIN_LOG_LEVEL": "3"}
    what: dict[str, Any] = {f.__name__: f for f in (ready, fit, step, engine, profile)}
    serve(versions(), lambda request: what[request.pop("what")](**request))


if __name__ == "__main__":
    main()
