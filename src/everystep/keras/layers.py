"""Keras's layers, with the LSTM, and what wraps one, replaced by everystep's."""

from typing import Any

import keras

from everystep.keras.containers import Bidirectional, TimeDistributed
from everystep.keras.lstm import LSTM

__all__ = ["LSTM", "Bidirectional", "TimeDistributed"]
__all__.extend(name for name in dir(keras.layers) if name not in __all__ and not name.startswith("_"))


def __getattr__(name: str) -> Any:
    return getattr(keras.layers, name)


def __dir__() -> list[str]:
    return __all__
