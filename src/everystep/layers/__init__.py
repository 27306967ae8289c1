"""Keras's layers on NumPy and everystep's engine: run whole sequences, or step through them."""

from everystep.layers.activation import Activation
from everystep.layers.base import Layer
from everystep.layers.bidirectional import Bidirectional
from everystep.layers.concatenate import Concatenate
from everystep.layers.dense import Dense
from everystep.layers.dropout import Dropout
from everystep.layers.embedding import Embedding
from everystep.layers.gru import GRU, GRUCell
from everystep.layers.input import Input, InputLayer
from everystep.layers.lstm import LSTM, LSTMCell
from everystep.layers.masking import Masking
from everystep.layers.refused import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from everystep.layers.rnn import RNN, StackedRNNCells
from everystep.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from everystep.layers.time_distributed import TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Bidirectional",
    "Concatenate",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Dense",
    "Dropout",
    "Embedding",
    "GRUCell",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "Masking",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
]
