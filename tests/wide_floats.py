"""64-bit floats all the way through Keras."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras.src.backend.common import dtypes


@contextmanager
def float64() -> Iterator[None]:
    """Some of Keras's operations cast float64 to float32, whatever a layer's dtype; in here they do not."""
    casts = dict(dtypes.BIT64_TO_BIT32_DTYPE)
    dtypes.BIT64_TO_BIT32_DTYPE.clear()
    on_jax = keras.backend.backend() in ("jax", "numpy")  # which convolves by JAX
    if on_jax:
        import jax

        jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        dtypes.BIT64_TO_BIT32_DTYPE.update(casts)
        if on_jax:
            jax.config.update("jax_enable_x64", False)


@contextmanager
def keras_in_float64() -> Iterator[None]:
    """The same, and float64 is Keras's default: else its predict rounds its inputs to float32.

    The policy is put back too: Keras makes it of floatx when it is first asked for, and then it stays.
    """
    with float64():
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            yield
        finally:
            keras.config.set_floatx("float32")
            keras.config.set_dtype_policy("float32")
