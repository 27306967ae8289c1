"""Keras's layers on NumPy and everystep's engine: run whole sequences, or step through them."""

from everystep.layers.activation import Activation
from everystep.layers.additive_attention import AdditiveAttention
from everystep.layers.attention import Attention
from everystep.layers.base import Layer
from everystep.layers.bidirectional import Bidirectional
from everystep.layers.concatenate import Concatenate, concatenate
from everystep.layers.dense import Dense
from everystep.layers.dot import Dot, dot
from everystep.layers.dropout import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    Identity,
    SpatialDropout1D,
)
from everystep.layers.embedding import Embedding
from everystep.layers.flatten import Flatten
from everystep.layers.gru import GRU, GRUCell
from everystep.layers.input import Input, InputLayer
from everystep.layers.lstm import LSTM, LSTMCell
from everystep.layers.masking import Masking
from everystep.layers.merging import (
    Add,
    Average,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    maximum,
    minimum,
    multiply,
    subtract,
)
from everystep.layers.multi_head_attention import MultiHeadAttention
from everystep.layers.permute import Permute
from everystep.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU
from everystep.layers.refused import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from everystep.layers.repeat_vector import RepeatVector
from everystep.layers.reshape import Reshape
from everystep.layers.rnn import RNN, StackedRNNCells
from everystep.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from everystep.layers.softmax import Softmax
from everystep.layers.time_distributed import TimeDistributed

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "Bidirectional",
    "Concatenate",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]
