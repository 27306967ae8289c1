"""Calendar days as people write them in sixteen locales, and what is held out of them. All of it is generated.

The strings are made by Babel from the patterns of the Unicode CLDR: no person wrote them. A locale has a handful of
patterns for a day ("d. MMMM y" in German, "M/d/yy" in the United States); the same string can be another day elsewhere,
so the locale is told. The days are the hundred years from 1970 to 2069, in which two digits of a year name one year.

Held out, drawn by a seed: a tenth of the days, in all locales and patterns, to be judged by; half as many, to choose a
model's size and training by; and one pattern of every locale, on all days.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from babel import Locale
from babel.dates import parse_pattern

LOCALES = (
    "de", "el", "en_GB", "en_US", "es", "fi", "fr", "hu", "it", "ja", "ko", "nl", "pl", "pt_BR", "sv", "vi",
)  # fmt: skip
FORMATS = ("short", "medium", "long", "full")
SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd")  # CLDR's names of what a pattern shows
FIRST, LAST = date(1970, 1, 1), date(2069, 12, 31)
SEED = 2013


class Written(NamedTuple):
    """A day as a locale writes it in one of its patterns."""

    locale: str
    pattern: str
    text: str
    day: date

    @property
    def source(self) -> str:
        """What a reader of dates gets."""
        return f"<{self.locale}>{self.text}"

    @property
    def iso(self) -> str:
        return self.day.isoformat()


class Days(NamedTuple):
    """All days from FIRST to LAST, each in one of the three."""

    fit: list[date]
    choose: list[date]
    test: list[date]


@functools.cache
def patterns(locale: str) -> tuple[str, ...]:
    """A locale's patterns for a day, as CLDR writes them, each once."""
    known = Locale.parse(locale)
    found = [known.date_formats[name] for name in FORMATS]
    found += [known.datetime_skeletons[name] for name in SKELETONS if name in known.datetime_skeletons]
    return tuple(dict.fromkeys(pattern.pattern for pattern in found))


@functools.cache
def days() -> Days:
    everyday = [FIRST + timedelta(k) for k in range((LAST - FIRST).days + 1)]
    shuffled = [everyday[k] for k in np.random.default_rng(SEED).permutation(len(everyday))]
    tenth = len(shuffled) // 10
    return Days(shuffled[tenth + tenth // 2 :], shuffled[tenth : tenth + tenth // 2], shuffled[:tenth])


@functools.cache
def held_out() -> dict[str, str]:
    """The pattern of each locale that is never learned from."""
    rng = np.random.default_rng(SEED)
    return {locale: patterns(locale)[rng.integers(len(patterns(locale)))] for locale in LOCALES}


def fitted(locale: str) -> tuple[str, ...]:
    """The patterns of a locale that are learned from."""
    return tuple(pattern for pattern in patterns(locale) if pattern != held_out()[locale])


def write(day: date, pattern: str, locale: str) -> Written:
    return Written(locale, pattern, parse_pattern(pattern).apply(day, locale), day)


def seen(days: Sequence[date], count: int, seed: int) -> list[Written]:
    """`count` of these days, drawn: each in a locale and in one of the patterns learned from, all different."""
    rng = np.random.default_rng(seed)
    drawn: dict[tuple[str, str], Written] = {}
    while len(drawn) < count:
        locale = LOCALES[rng.integers(len(LOCALES))]
        choice = fitted(locale)
        written = write(days[rng.integers(len(days))], choice[rng.integers(len(choice))], locale)
        drawn.setdefault((locale, written.text), written)
    return list(drawn.values())


def unseen(days: Sequence[date], count: int, seed: int) -> list[Written]:
    """The same in the patterns held out: `count` for each locale, none of which another pattern would write so too."""
    rng = np.random.default_rng(seed)
    drawn = []
    for locale, pattern in held_out().items():
        others: dict[str, Written] = {}
        while len(others) < count:
            written = write(days[rng.integers(len(days))], pattern, locale)
            if written.text not in {write(written.day, other, locale).text for other in fitted(locale)}:
                others.setdefault(written.text, written)
        drawn += others.values()
    return drawn


def questions() -> tuple[list[Written], list[Written]]:
    """What a reader of dates is judged by: unseen days in patterns that were learned from, and in the others."""
    test = days().test
    return seen(test, 100 * len(LOCALES), SEED + 1), unseen(test, 100, SEED + 1)
