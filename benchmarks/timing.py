"""How long calls take."""

import time
from collections.abc import Callable
from typing import Any


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-9


def timed(calls: list[Callable[[], Any]], limit: float, cold: bool = False) -> list[list[float]]:
    """The seconds of each call, for about `limit` seconds in which the calls take turns.

    The first ones are left out, since caches and threads are cold then; unless `cold` says that it does not matter.
    """
    for warm in (False,) if cold else (True, False):
        taken: list[list[float]] = [[] for _ in calls]
        end = time.perf_counter() + (limit / 5 if warm else limit)
        while not taken[0] or time.perf_counter() < end:
            for call, seconds in zip(calls, taken, strict=True):
                seconds.append(seconds_of(call))
    return taken


def least(call: Callable[[], Any], limit: float) -> float:
    """The seconds of the shortest of the calls that fit into about `limit` seconds: of one at least."""
    end = time.perf_counter() + limit
    found = seconds_of(call)
    while time.perf_counter() < end:
        found = min(found, seconds_of(call))
    return found
