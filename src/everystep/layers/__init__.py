"""Keras's layers on NumPy and everystep's engine: run whole sequences, or step through them."""

from everystep.layers.activation import Activation
from everystep.layers.additive_attention import AdditiveAttention
from everystep.layers.attention import Attention
from everystep.layers.base import Layer
from everystep.layers.batch_normalization import BatchNormalization
from everystep.layers.bidirectional import Bidirectional
from everystep.layers.concatenate import Concatenate, concatenate
from everystep.layers.conv1d import Conv1D
from everystep.layers.cropping1d import Cropping1D
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
from everystep.layers.global_pooling1d import GlobalAveragePooling1D, GlobalMaxPooling1D
from everystep.layers.gru import GRU, GRUCell
from everystep.layers.input import Input, InputLayer
from everystep.layers.layer_normalization import LayerNormalization
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
from everystep.layers.normalization import Normalization
from everystep.layers.permute import Permute
from everystep.layers.pooling1d import AveragePooling1D, MaxPooling1D
from everystep.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU
from everystep.layers.refused import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from everystep.layers.repeat_vector import RepeatVector
from everystep.layers.rescaling import Rescaling
from everystep.layers.reshape import Reshape
from everystep.layers.rnn import RNN, StackedRNNCells
from everystep.layers.separable_conv1d import DepthwiseConv1D, SeparableConv1D
from everystep.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from everystep.layers.softmax import Softmax
from everystep.layers.time_distributed import TimeDistributed
from everystep.layers.unit_normalization import UnitNormalization
from everystep.layers.up_sampling1d import UpSampling1D
from everystep.layers.zero_padding1d import ZeroPadding1D

# Keras's other names of them.
Convolution1D, SeparableConvolution1D = Conv1D, SeparableConv1D
MaxPool1D, AvgPool1D = MaxPooling1D, AveragePooling1D
GlobalMaxPool1D, GlobalAvgPool1D = GlobalMaxPooling1D, GlobalAveragePooling1D

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
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Convolution1D",
    "Cropping1D",
    "Dense",
    "DepthwiseConv1D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Identity",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SeparableConv1D",
    "SeparableConvolution1D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "ZeroPadding1D",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]
