"""Keras's layers on NumPy and everystep's engine: run whole sequences, or step through them."""

from everystep.layers.activation import Activation
from everystep.layers.base import Layer
from everystep.layers.concatenate import Concatenate
from everystep.layers.dense import Dense
from everystep.layers.dropout import Dropout
from everystep.layers.embedding import Embedding
from everystep.layers.input import Input, InputLayer
from everystep.layers.lstm import LSTM
from everystep.layers.masking import Masking

__all__ = [
    "LSTM",
    "Activation",
    "Concatenate",
    "Dense",
    "Dropout",
    "Embedding",
    "Input",
    "InputLayer",
    "Layer",
    "Masking",
]
