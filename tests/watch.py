"""Sees whether anything was run, imported, unpickled or opened meanwhile: what Python says, and a file that tells."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SUSPICIOUS = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "os.system", "os.exec",
              "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "urllib.Request",
              "ctypes.dlopen", "os.listdir", "shutil.copyfile", "shutil.unpack_archive"}  # fmt: skip
_watched: list[list[str]] = []  # of what is being watched now
_allowed: list[str] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watched and (event in SUSPICIOUS or (event == "open" and str(args[0]) not in _allowed)):
        _watched[-1].append(f"{event} {str(args)[:200]}")


sys.addaudithook(_hook)  # for good; it does nothing while nothing is watched


@contextmanager
def watched(allowed: Path) -> Iterator[list[str]]:
    """What was run, imported or opened in the block, but for one file; filled as it happens."""
    seen: list[str] = []
    _allowed.append(str(allowed))
    _watched.append(seen)
    try:
        yield seen
    finally:
        _watched.pop()
        _allowed.pop()


class Bait:
    """A file that knows whether it was opened to be read, by whatever library: a pipe, and a thread at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.thread = threading.Thread(target=self._offer, daemon=True)
        self.thread.start()

    def _offer(self) -> None:
        with suppress(BrokenPipeError), self.path.open("wb") as end:  # waits for a reader
            end.write(b"root:secret\n" * 100)

    def taken(self) -> bool:
        """Whether it was opened; it is a bait no more."""
        self.thread.join(0.05)
        taken = not self.thread.is_alive()
        if not taken:
            self.path.read_bytes()
            self.thread.join()
        return taken
