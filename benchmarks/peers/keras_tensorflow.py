"""Keras on TensorFlow, in a tf.function, compiled by XLA or not."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # it says what CPU it found

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import keras
import tensorflow as tf
from problem import Problem

from peers.keras_layers import built

MODES = ("tf.function", "XLA")
for set_threads in (tf.config.threading.set_intra_op_parallelism_threads,
                    tf.config.threading.set_inter_op_parallelism_threads):  # fmt: skip
    set_threads(len(os.sched_getaffinity(0)))


def versions() -> dict[str, str]:
    return {"keras": version("keras"), "tensorflow": tf.__version__}


def prepare(p: Problem, gradients: bool, mode: str = MODES[0]) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    layer = built(getattr(keras.layers, p.layer.name), p)
    x, *states = (tf.constant(array) for array in (p.x, *p.states))
    weights = [variable.value for variable in layer.trainable_variables]
    d_h = tf.constant(p.d_h)

    def forward(x: Any, *states: Any) -> list[Any]:
        return [layer(x, initial_state=list(states))]

    def both(*inputs: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            (h,) = forward(*inputs)
        return [h, *tape.gradient(h, [*inputs, *weights], output_gradients=d_h)]

    function = tf.function(both if gradients else forward, jit_compile=mode == "XLA")
    return lambda: function(x, *states), lambda results: [value.numpy() for value in results]
