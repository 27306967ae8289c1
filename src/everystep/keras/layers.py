"""Keras's layers, the recurrent ones and what wraps one replaced by everystep's. Cells are Keras's own."""

from typing import Any

import keras

from everystep.keras.bidirectional import Bidirectional
from everystep.keras.containers import TimeDistributed
from everystep.keras.gru import GRU
from everystep.keras.lstm import LSTM
from everystep.keras.rnn import RNN
from everystep.keras.simple_rnn import SimpleRNN

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "SimpleRNN", "TimeDistributed"]
__all__.extend(name for name in dir(keras.layers) if name not in __all__ and not name.startswith("_"))


def __getattr__(name: str) -> Any:
    return getattr(keras.layers, name)


def __dir__() -> list[str]:
    return __all__
