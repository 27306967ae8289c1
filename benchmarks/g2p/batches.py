"""Pairs of a word and a pronunciation as numbers, in batches of words about as long as each other.

S letters, T phonemes and a mark at the end. Number 0 is padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from g2p.words import LETTERS, PHONEMES, Word

START, END = 1, 2
SOURCE_SIZE, TARGET_SIZE = 1 + len(LETTERS), 3 + len(PHONEMES)
_LETTER = {letter: number for number, letter in enumerate(LETTERS, 1)}
_PHONEME = {phoneme: number for number, phoneme in enumerate(PHONEMES, 3)}


class Batch(NamedTuple):
    source: np.ndarray  # (B,S) the letters, last one first
    target: np.ndarray  # (B,T) START and the phonemes: what the decoder reads
    wanted: np.ndarray  # (B,T) the phonemes and END: what it is to say


class Pairs(NamedTuple):
    """N pairs, as long as the longest."""

    source: np.ndarray  # (N,S) int32; the letters, last one first
    wanted: np.ndarray  # (N,T) int32; the phonemes and END
    word: np.ndarray  # (N,) the place of the pair's word among the words

    def batch(self, rows: np.ndarray, S: int, T: int) -> Batch:
        wanted = self.wanted[rows, :T]
        # What ends a pronunciation is said, never read: the decoder's mask is that of what it is to say.
        target = np.concatenate([np.full((len(rows), 1), START, np.int32), wanted[:, :-1]], axis=1)
        return Batch(self.source[rows, :S], np.where(wanted > 0, target, 0), wanted)


def letters(spelling: str) -> list[int]:
    """The numbers of a word's letters. It is read from its end, as the paper does: then its start, which is said first,
    is what was read last."""
    return [_LETTER[letter] for letter in reversed(spelling)]


def phonemes(numbers: Iterable[int]) -> tuple[str, ...]:
    """The phonemes of what a decoder has said, up to its end."""
    found = []
    for number in numbers:
        if number == END:
            break
        # The decoder might say START or padding, which it never saw: such an answer is wrong, not an error.
        found.append(PHONEMES[number - 3] if number > END else "?")
    return tuple(found)


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    found = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def pairs(words: Sequence[Word]) -> Pairs:
    """Each word with each of its pronunciations."""
    every = [(place, word.spelling, said) for place, word in enumerate(words) for said in word.pronunciations]
    source = padded([letters(spelling) for _, spelling, _ in every])
    wanted = padded([[*(_PHONEME[phoneme] for phoneme in said), END] for _, _, said in every])
    return Pairs(source, wanted, np.array([place for place, _, _ in every], np.int64))


def epoch(of: Pairs, size: int, random: np.random.Generator) -> list[tuple[np.ndarray, int, int]]:
    """Every pair once, in random order: of each batch the rows, S and T.

    Words of one length, whose pronunciations are of about one length, make a batch. Those left over, too few for one,
    are put together by length. The last batch is filled up with pairs of others, so that all are of one size: few
    shapes are to be compiled.
    """
    S, T = (np.count_nonzero(numbers, axis=1) for numbers in (of.source, of.wanted))
    T = T + T % 2
    order = random.permutation(len(S))
    order = order[np.lexsort((T[order], S[order]))]
    edges = np.flatnonzero(np.diff(S[order]) | np.diff(T[order])) + 1
    full, rest = [], []
    for cell in np.split(order, edges):
        whole = len(cell) // size * size
        full += [(rows, S[rows[0]], T[rows[0]]) for rows in cell[:whole].reshape(-1, size)]
        rest.append(cell[whole:])
    left = np.concatenate(rest)
    if len(left) % size:
        left = np.concatenate([left, random.choice(order, size - len(left) % size)])
    left = left[np.lexsort((T[left], S[left]))]
    for rows in left.reshape(-1, size):
        full.append((rows, coarse(S[rows].max(), of.source), coarse(T[rows].max(), of.wanted)))
    return [(rows, int(S), int(T)) for rows, S, T in (full[place] for place in random.permutation(len(full)))]


def batches_of(of: Pairs, size: int, seed: int, number: int) -> list[Batch]:
    """Those of an epoch; epochs are numbered from 0. They depend on this number and on the seed, on nothing before."""
    return [of.batch(*rows) for rows in epoch(of, size, np.random.default_rng([seed, number]))]


def steps_of(of: Pairs, size: int) -> int:
    """How many batches an epoch has."""
    return -(-len(of.source) // size)


def coarse(length: int, numbers: np.ndarray) -> int:
    """The next multiple of 4, or all there is."""
    return min(-(-length // 4) * 4, numbers.shape[1])
