"""What a trained model says: everystep's `generate`, from a Keras file, with no Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from g2p.batches import END, START, letters, padded, phonemes
from g2p.scores import Scores, score
from g2p.words import Pronunciation, Word

LONGEST = 40  # phonemes; the dictionary's longest pronunciation has 28


def said(model: Any, words: Sequence[Word], size: int = 256, **options: Any) -> list[Pronunciation]:
    """The pronunciation of each word by an everystep model. options: of `generate`; greedy without any."""
    order = sorted(range(len(words)), key=lambda place: len(words[place].spelling))
    found: list[Pronunciation] = [()] * len(words)
    for start in range(0, len(order), size):
        places = order[start : start + size]
        source = padded([letters(words[place].spelling) for place in places])
        tokens = model.generate({"source": source}, start=START, end=END, max_length=LONGEST, **options)
        for place, row in zip(places, tokens, strict=True):
            found[place] = phonemes(row)
    return found


def scores(words: Sequence[Word], answers: Sequence[Pronunciation]) -> dict[str, Scores]:
    """Of all words, and of those that are letters alone."""
    both = list(zip(words, answers, strict=True))
    plain = [one for one in both if "'" not in one[0].spelling]
    return {name: score(*zip(*some, strict=True)) for name, some in (("all", both), ("letters", plain))}
