"""Imported before any test here, so that everystep.keras chooses Keras's backend before Keras is imported."""

from __future__ import annotations

from collections.abc import Iterator

import everystep.keras  # noqa: F401

import pytest  # isort: skip
from wide_floats import keras_in_float64  # isort: skip


@pytest.fixture
def wide() -> Iterator[None]:
    """float64 in all of Keras; its predict rounds its inputs to floatx."""
    with keras_in_float64():
        yield
