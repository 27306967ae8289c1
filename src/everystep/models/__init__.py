"""Keras's models on NumPy and everystep's engine."""

import importlib
from typing import TYPE_CHECKING, Any

from everystep.models.model import Model
from everystep.models.sequential import Sequential

if TYPE_CHECKING:
    from everystep.models.stream import Stream

__all__ = ["Model", "Sequential", "Stream", "model_from_json"]


def __getattr__(name: str) -> Any:
    if name != "Stream":  # imported when it is first used: a model that only predicts starts without
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("everystep.models.stream").Stream


def model_from_json(text: str) -> Any:
    """A model, with new weights, from what `to_json` of Keras 2.0 to 2.15, of tf.keras, of Keras 3 or of ours returns.

    Raises:
        FileError: it is no JSON of a model. UnsupportedError: a layer, by its path, or an option, is not supported.
    """
    return importlib.import_module("everystep.saved.model_json").model_from_json(text)
