"""The weights of Keras 2's CuDNNLSTM and CuDNNGRU as LSTM and GRU(reset_after=True) have them.

    CuDNN                                                here
    kernel            (I,GH); each gate's (I,H) has      the transpose of that (H,I)
                      the numbers of an (H,I) in a row
    recurrent_kernel  (H,GH)                             each gate's (H,H) transposed
    bias              (2GH), those for x, then for h     their sum, (4H), in an LSTM; both, (2,3H), in a GRU

The gates come in the same order. A bias is all that tells the layouts apart, and these layers always have one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from everystep.layers.base import Layer
from everystep.layers.gru import GRUCell
from everystep.layers.lstm import LSTMCell
from everystep.layers.tensor import Array


def cudnn_bias(layer: Layer) -> tuple[int, ...] | None:
    """The shape of the bias that CuDNN's layer would have in the place of this one; None: there is no such layer."""
    if isinstance(layer, LSTMCell):
        return (8 * layer.units,)
    return (6 * layer.units,) if isinstance(layer, GRUCell) and layer.reset_after else None


def from_cudnn(layer: Layer, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The weights of an LSTM or a GRU, from those of CuDNN's layer by the same names."""
    I, columns = arrays["kernel"].shape
    H = len(arrays["recurrent_kernel"])
    gates = range(0, columns, H)
    kernels = [arrays["kernel"][:, at : at + H].reshape(H, I).T for at in gates]
    recurrent = [arrays["recurrent_kernel"][:, at : at + H].T for at in gates]
    both = arrays["bias"].reshape(2, columns)
    return {
        "kernel": np.concatenate(kernels, axis=1),
        "recurrent_kernel": np.concatenate(recurrent, axis=1),
        "bias": both if isinstance(layer, GRUCell) else both[0] + both[1],
    }
