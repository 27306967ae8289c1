"""Ctrl-C and SIGTERM, held back while a state is half written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """One of the signals came; not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int) -> None:
        self.signal = number


class Interrupts:
    """Raises Interrupted when a signal comes: at once, or at the end of `held`, if it comes in there."""

    def __init__(self) -> None:
        self._holding, self._came = False, 0
        self._before: list[Any] = []

    def __enter__(self) -> Interrupts:
        self._before = [signal.signal(each, self._handle) for each in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for each, before in zip(SIGNALS, self._before, strict=True):
            signal.signal(each, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no signal interrupts."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._came:
            raise Interrupted(self._came)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._holding:
            raise Interrupted(number)
        self._came = number
