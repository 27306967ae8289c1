"""Word and phoneme error rates, against the dictionary's first pronunciation and against whichever is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from g2p.words import Pronunciation, Word


class Scores(NamedTuple):
    """In percent. A phoneme error rate is all edits to all phonemes of the pronunciations that were compared with."""

    words: int
    word_first: float
    phoneme_first: float
    word_any: float
    phoneme_any: float


def distance(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions that turn one into the other (Levenshtein, 1966)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def score(words: Sequence[Word], said: Sequence[Pronunciation]) -> Scores:
    """Of one answer for each word. The nearest pronunciation is the one of the fewest edits; of two, the earlier."""
    if len(words) != len(said):
        raise ValueError(f"expected an answer for each of {len(words)} words; got {len(said)}")
    wrong_first = wrong_any = edits_first = edits_any = phonemes_first = phonemes_any = 0
    for word, answer in zip(words, said, strict=True):
        edits = [distance(answer, pronunciation) for pronunciation in word.pronunciations]
        nearest = edits.index(min(edits))
        wrong_first += edits[0] > 0
        edits_first += edits[0]
        phonemes_first += len(word.pronunciations[0])
        wrong_any += edits[nearest] > 0
        edits_any += edits[nearest]
        phonemes_any += len(word.pronunciations[nearest])
    return Scores(
        len(words),
        100 * wrong_first / len(words),
        100 * edits_first / phonemes_first,
        100 * wrong_any / len(words),
        100 * edits_any / phonemes_any,
    )
