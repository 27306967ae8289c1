"""Names that layers get when they are given none, as Keras makes them: lstm, lstm_1, input_layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_taken: Counter[str] = Counter()
_given: ContextVar[frozenset[str]] = ContextVar("_given", default=frozenset())


def unique_name(base: str) -> str:
    """base, base_1, base_2 and so on; counted for the whole process."""
    while True:
        count = _taken[base]
        _taken[base] += 1
        name = f"{base}_{count}" if count else base
        if name not in _given.get():
            return name


@contextmanager
def names_given(names: Iterable[str]) -> Iterator[None]:
    """Meanwhile nothing gets one of these: a config's layers have them, and masks are computed by others beside."""
    token = _given.set(frozenset(names))
    try:
        yield
    finally:
        _given.reset(token)


def with_article(name: str) -> str:
    """a GRU, an LSTM, an Embedding; letters that are spelled go by their sound."""
    vowels = "AEFHILMNORSX" if name[:2].isupper() else "AEIOU"
    return f"{'an' if name[:1].upper() in vowels else 'a'} {name}"


def snake_case(name: str) -> str:
    """InputLayer -> input_layer, LSTM -> lstm."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
