"""Keras's layers that everystep will not run, each with its reason and with what to do.

Some are refused wherever they come from, for what they compute; most for what a file could do through them.
"""

from __future__ import annotations

from typing import Any

from everystep.errors import UnsupportedError
from everystep.layers.base import Layer

CODE = (
    "it holds Python code, and no code of a file is run. Write what it computes as a layer of your own, in Keras and "
    'here, save the model with that, and supply yours by everystep.register("ClassName", cls)'
)
OPENS = "it opens {what}, and a model's file opens no other file. Run that model with Keras, if you trust its file"
LOOKUP = (
    "it looks things up in a vocabulary that may be a path or an address, and a model's file opens no other file. "
    "Do this before the model: save the layers after it as a model that begins with an Input of numbers"
)
NUMBERS = "it makes numbers of what is no sequence of numbers. Do this before the model, and begin that with an Input"

REASONS: dict[str, str] = {
    "Lambda": CODE,
    "TFSMLayer": OPENS.format(what="a TensorFlow SavedModel, which runs what it likes"),
    "TorchModuleWrapper": "it holds a pickled PyTorch module, and nothing of a file is unpickled. "
    "everystep.from_torch takes PyTorch's recurrent modules",
    "JaxLayer": CODE,
    "FlaxLayer": CODE,
    "StringLookup": LOOKUP,
    "IntegerLookup": LOOKUP,
    "IndexLookup": LOOKUP,
    "TextVectorization": LOOKUP,
    "Hashing": NUMBERS,
    "HashedCrossing": NUMBERS,
    "Discretization": NUMBERS,
    "CategoryEncoding": NUMBERS,
    "FeatureSpace": LOOKUP,
    "TensorFlowOpLayer": "tf.keras 2.0 to 2.3 wrote a function of TensorFlow so, as a node of its graph. Build the "
    "model with tf.keras 2.4 to 2.15, or tf_keras, give it the weights of this file by load_weights, and save it anew",
}


def reason_against(kind: str) -> str | None:
    """Why layers of Keras's class of this name are refused, and what to do; None for those that are merely unknown."""
    return REASONS.get(kind)


class ConvLSTM(Layer):
    """The base of those whose gates are convolutions, which the engine does not compute."""

    def __init__(self, *args: Any, name: str | None = None, **options: Any) -> None:
        layer = "this layer" if name is None else f"layer {name!r}"
        raise UnsupportedError(
            f"{layer} is a {type(self).__name__}, whose gates are convolutions; the engine computes gates that "
            "are matrix products: LSTM, GRU, SimpleRNN, and RNN over their cells. Run that model with Keras"
        )


class ConvLSTM1D(ConvLSTM):
    """Refused."""


class ConvLSTM2D(ConvLSTM):
    """Refused."""


class ConvLSTM3D(ConvLSTM):
    """Refused."""
