"""Imported before any test here, so that everystep.keras chooses Keras's backend before Keras is imported."""

import pytest

import everystep.keras  # noqa: F401


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_trainable_backend: Keras's own, on some of its tests that we run")
