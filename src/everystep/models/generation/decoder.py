"""The stream that tokens are fed to, a step of all rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import OptionError
from everystep.layers.tensor import Array
from everystep.models.generation.feedback import Feedback
from everystep.models.generation.scales import log_probabilities
from everystep.models.generation.spares import Spares
from everystep.models.stream import Stream


class Decoder:
    """A stream, its input as tokens, and the output that they are chosen from.

    Args:
        stream: of one streamed input.
        feedback: which.
        spares: to fork to.

    Attributes:
        y: the output after the newest step, (B,V), in an array that stays.
    """

    def __init__(self, stream: Stream, feedback: Feedback, spares: Spares) -> None:
        self.stream, self.feedback, self._spares = stream, feedback, spares
        x = stream._inputs[0].array
        self._x_t = np.zeros(x.shape, x.dtype)
        self._rows = np.arange(stream.batch_size)
        outputs = [np.empty_like(array) for array in stream._outputs]
        self._out: Any = outputs if len(outputs) > 1 else outputs[0]
        self.y = outputs[feedback.output]

    @property
    def rows(self) -> int:
        return self.stream.batch_size

    def step(self, tokens: Array) -> None:
        """Reads a token (B) in each row."""
        if self.feedback.one_hot:
            self._x_t.fill(0)
            self._x_t[self._rows, tokens] = 1
        else:
            self._x_t[:] = tokens
        stream = self.stream
        if stream._native_step(self._x_t, self._out) is None:
            stream._check_weights()  # as all else fits

    def read(self, tokens: Array) -> None:
        """Reads several tokens (B,n) in each row, at once."""
        chunk = tokens[..., None] == np.arange(self.feedback.V) if self.feedback.one_hot else tokens
        outputs = self.stream._run([chunk.astype(self._x_t.dtype)])
        newest = outputs[self.feedback.output]
        self.y[...] = newest[:, -1] if newest.ndim == 3 else newest

    def log_probabilities(self) -> Array:
        """(B,V), float64."""
        return log_probabilities(self.y, self.feedback.scale)

    def check_numbers(self, rows: Any = slice(None)) -> None:
        """Raises OptionError if the newest output of these rows holds NaN."""
        y = self.y[rows]
        if np.isnan(y.max(initial=-np.inf)):
            raise OptionError(
                f"output {self.stream.model.output_names[self.feedback.output]!r} is not a number (NaN), so that no "
                "token can be chosen: the weights, or static inputs, hold NaN or numbers that are too large"
            )

    def fork(self, rows: Array) -> Decoder:
        """One of its own that goes on from these rows."""
        other = Decoder(self._spares.forked(self.stream, rows), self.feedback, self._spares)
        other.y[...] = self.y[rows]
        return other

    def take(self, rows: Array, other: Decoder) -> None:
        """These rows go on from where those of another are, which is a fork of them."""
        self.stream._take(rows, other.stream)
        self.y[rows] = other.y
