"""Imported before any test here, so that everystep.keras chooses Keras's backend before Keras is imported."""

from __future__ import annotations

from collections.abc import Iterator

import everystep.keras  # noqa: F401

import keras  # isort: skip
import pytest  # isort: skip
from wide_floats import float64  # isort: skip


@pytest.fixture
def wide() -> Iterator[None]:
    """float64 in all of Keras; its predict rounds its inputs to floatx."""
    with float64():
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
