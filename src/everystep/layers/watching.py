"""Watching what runs: which layers a graph calls, and what its recurrent layers ask of the engine.

Nobody watches as a rule, and then a run costs what it costs without. A watcher changes no number: by the contract on
bits the engine returns the same h, whether it is asked for c and the gates beside or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Watcher(Protocol):
    """What is told of calls and of runs."""

    def call(
        self, layer: Any, name: str, made: Callable[[dict[str, Any]], tuple[Any, ...]], options: dict[str, Any]
    ) -> tuple[Any, ...]:
        """A call that a graph makes: to be returned is made(options), whose first part is what the layer returns.

        Args:
            name: the layer's in its graph, or the path to it, "encoder/lstm".
            options: the call's arguments by name, which may be added to.
        """

    def runs(self, runs: Sequence[Any]) -> Sequence[Any]:
        """In the place of runs of recurrent layers, `together.Calls`, that go side by side, others of their kind."""


WATCHER: ContextVar[Watcher | None] = ContextVar("WATCHER", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """What this thread runs meanwhile, the watcher is told of."""
    token = WATCHER.set(watcher)
    try:
        yield
    finally:
        WATCHER.reset(token)
