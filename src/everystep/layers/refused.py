"""Keras's recurrent layers that everystep does not have, refused by name."""

from __future__ import annotations

from typing import Any

from everystep.errors import UnsupportedError
from everystep.layers.base import Layer


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
