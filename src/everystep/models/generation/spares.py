"""Streams that a model's calls of `generate` opened, kept for the next call.

A stream belongs to one thread at a time, so it is taken out while it is used.
"""

from __future__ import annotations

from typing import Any

from everystep.errors import UnsupportedError
from everystep.layers.tensor import Array
from everystep.models.model import Model
from everystep.models.stream import Stream
from everystep.models.stream_again import begin_again, go_on_from

KEPT = 4  # streams of a model


class Spares:
    """The streams of one call, which `give_back` leaves for the next.

    Args:
        model: what to stream. input: the name of its streamed input; the others are static.
    """

    def __init__(self, model: Model, input: str) -> None:
        self.model, self.input = model, input
        self._kept: list[tuple[str, Stream]] = model.graph.kept.setdefault("spare streams", [])
        self._used: list[Stream] = []

    def opened(self, rows: int, static: dict[str, Any]) -> Stream:
        """`model.stream(rows, static)`."""
        spare = self._taken(rows, static)
        if spare is not None:
            try:
                stream = begin_again(spare, static)
                if stream is not spare:
                    self._used.append(spare)  # as it may fit again
            except UnsupportedError:  # of other weights
                spare = None
        if spare is None:
            stream = Stream(self.model, rows, static)
        return self._noted(stream)

    def forked(self, stream: Stream, rows: Array) -> Stream:
        """`stream.fork(rows)`."""
        spare = self._taken(len(rows))
        try:
            if spare is not None and go_on_from(spare, stream, rows):
                return self._noted(spare)
        except UnsupportedError:  # of other weights
            pass
        return self._noted(stream.fork(rows))

    def give_back(self) -> None:
        """Keeps the streams that were used first, as of so many rows the next call begins."""
        self._kept += [(self.input, stream) for stream in reversed(self._used)]
        del self._kept[:-KEPT]

    def _noted(self, stream: Stream) -> Stream:
        self._used.append(stream)
        return stream

    def _taken(self, rows: int, static: dict[str, Any] | None = None) -> Stream | None:
        """A stream of so many rows, which is this call's from now on; None: there is none.

        Args:
            static: it is to begin with; one that had such of the same shapes is looked for first.
        """
        kept = self._kept[::-1]
        if static is not None and len(kept) > 1:
            kept.sort(key=lambda one: _shapes(one[1]._static) != _shapes(static))
        for one in kept:
            name, stream = one
            if name == self.input and stream.batch_size == rows:
                try:
                    self._kept.remove(one)  # at once: of two threads that found it one goes on
                except ValueError:
                    continue
                return stream
        return None


def _shapes(static: dict[str, Array]) -> list[tuple[int, ...]]:
    return [array.shape for array in static.values()]
