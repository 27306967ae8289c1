"""Keras's models, with `Sequential`, `load_model` and `model_from_json` replaced by everystep's."""

from __future__ import annotations

from typing import Any

import keras

from everystep.keras.containers import Sequential
from everystep.keras.convert import with_engine

__all__ = ["Sequential", "load_model", "model_from_json"]
__all__.extend(name for name in dir(keras.models) if name not in __all__ and not name.startswith("_"))


def load_model(filepath: Any, *args: Any, **kwargs: Any) -> keras.Model:
    """Keras's `load_model`, with its arguments; the recurrent layers of the model are everystep's.

    Files of stock Keras and files of everystep both load, compiled state included.
    """
    return with_engine(keras.models.load_model(filepath, *args, **kwargs))


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """Keras's `model_from_json`; the recurrent layers of the model are everystep's."""
    return with_engine(keras.models.model_from_json(json_string, custom_objects))


def __getattr__(name: str) -> Any:
    return getattr(keras.models, name)


def __dir__() -> list[str]:
    return __all__
