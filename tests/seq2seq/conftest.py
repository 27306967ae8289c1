"""Imported before any test here, so that everystep.keras chooses Keras's backend before Keras is imported."""

import everystep.keras  # noqa: F401
