"""Choices that are made by a string of bytes: what the fuzzer evolves is which changes are made to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

One = TypeVar("One")


class Choices:
    """Reads `data` from its start; when it is at its end, every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> bool:
        return self.at < len(self.data)

    def below(self, count: int) -> int:
        """A number from 0 to count - 1."""
        size = 1 if count <= 256 else 4
        taken = self.data[self.at : self.at + size]
        self.at += size
        return int.from_bytes(taken, "little") % count

    def one_of(self, options: Sequence[One]) -> One:
        return options[self.below(len(options))]
