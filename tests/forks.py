"""What a child made by fork returns."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable


def in_child(work: Callable[[], bytes], seconds: float = 60) -> bytes:
    """What `work` returns in a child made by fork; the child is killed if it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writing, work())
        os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
            raise AssertionError("the child hangs")
        return os.read(reading, 1 << 16)
    finally:
        os.close(reading)
        os.waitpid(child, 0)
