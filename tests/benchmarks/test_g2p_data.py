"""The grapheme-to-phoneme benchmark's words, split, batches and scores."""

from __future__ import annotations

import random

import numpy as np
import pytest
from g2p.batches import END, START, Pairs, batches_of, letters, pairs, phonemes, steps_of
from g2p.decoding import said, scores
from g2p.recipe import Recipe
from g2p.scores import distance, score
from g2p.words import LETTERS, PHONEMES, Word, part, read, split

LINES = """\
's EH1 S
a AH0
a(2) EY1
a.m. EY2 EH1 M
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
abstract AE0 B S T R AE1 K T
abstract(2) AE1 B S T R AE2 K T
x-ray EH1 K S R EY2

"""


def drawn_words(count: int) -> list[Word]:
    random.seed(1)
    spellings = {"".join(random.choices(LETTERS, k=random.randint(1, 12))) for _ in range(count)}
    return [
        Word(spelling, tuple(tuple(random.choices(PHONEMES, k=random.randint(1, 11))) for _ in range(1 + n % 3 // 2)))
        for n, spelling in enumerate(sorted(spellings))
    ]


# ---- Words ----


def test_entries_lose_their_stress_their_comments_and_what_is_not_spelt_with_letters() -> None:
    assert read(LINES.splitlines()) == [
        Word("'s", (("EH", "S"),)),
        Word("a", (("AH",), ("EY",))),
        Word("aalborg", (("AO", "L", "B", "AO", "R", "G"), ("AA", "L", "B", "AO", "R", "G"))),
        Word("abstract", (("AE", "B", "S", "T", "R", "AE", "K", "T"),)),
    ]


@pytest.mark.parametrize("line", ["cat K AE1 T1 QQ", "cat", "cat k ae t"])
def test_an_entry_without_known_phonemes_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"expected phonemes of AA AE .* ZH; got 'cat"):
        read([line])


def test_a_word_is_in_one_part_whatever_words_there_are() -> None:
    words = drawn_words(20_000)
    parts = split(words)
    assert sorted(word for some in parts.values() for word in some) == words
    assert {name: {part(word.spelling) for word in some} for name, some in parts.items()} == {
        name: {name} for name in parts
    }
    # Of 20,000 words, five standard deviations from 10 and 2.2 percent.
    shares = {name: len(some) / len(words) for name, some in parts.items()}
    assert shares["test"] == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / len(words)) ** 0.5)
    assert shares["development"] == pytest.approx(0.022, abs=5 * (0.022 * 0.978 / len(words)) ** 0.5)


def test_the_split_is_what_the_page_was_measured_with() -> None:
    found = {spelling: part(spelling) for spelling in ("the", "angriness", "aids", "beth", "cat", "jones'")}
    assert found == {
        "the": "test", "angriness": "test", "aids": "development", "beth": "development",
        "cat": "train", "jones'": "train",
    }  # fmt: skip


# ---- Batches ----


def test_pairs_hold_every_pronunciation_letters_last_one_first() -> None:
    found = pairs(read(LINES.splitlines()))
    assert found.word.tolist() == [0, 1, 1, 2, 2, 3]
    spelt = ["".join(LETTERS[k - 1] for k in row if k)[::-1] for row in found.source]
    assert spelt == ["'s", "a", "a", "aalborg", "aalborg", "abstract"]
    assert phonemes(found.wanted[4]) == ("AA", "L", "B", "AO", "R", "G")
    assert found.wanted[4].tolist()[-3:] == [END, 0, 0]


def test_the_decoder_reads_what_it_should_have_said() -> None:
    of = pairs(read(LINES.splitlines()))
    batch = of.batch(np.array([5, 0]), 8, 9)
    assert batch.target[:, 0].tolist() == [START, START]
    np.testing.assert_array_equal(batch.target[0, 1:], batch.wanted[0, :-1])
    np.testing.assert_array_equal(batch.target > 0, batch.wanted > 0)
    assert batch.wanted[1].tolist() == [of.wanted[0, 0], of.wanted[0, 1], END, 0, 0, 0, 0, 0, 0]
    assert batch.source[1].tolist() == [*letters("'s"), 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [7, 64])
def test_an_epoch_has_every_pair_once_whole_and_fills_up_the_last_batch(size: int) -> None:
    of = pairs(drawn_words(3_000))
    batches = batches_of(of, size, 3, 0)
    assert len(batches) == steps_of(of, size)
    rows = [
        (*letters_, *said)
        for batch in batches
        for letters_, said in zip(widened(batch.source, 40), widened(batch.wanted, 40), strict=True)
    ]
    every = [(*a, *b) for a, b in zip(widened(of.source, 40), widened(of.wanted, 40), strict=True)]
    assert len(rows) == len(batches) * size
    counts = {row: rows.count(row) - every.count(row) for row in set(rows)}
    assert set(every) == set(rows)
    assert min(counts.values()) >= 0
    assert sum(counts.values()) == len(rows) - len(every) < size


def widened(numbers: np.ndarray, width: int) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.pad(numbers, ((0, 0), (0, width - numbers.shape[1]))).tolist()]


def test_batches_depend_on_the_seed_and_on_the_epoch_alone() -> None:
    of = pairs(drawn_words(1_000))

    def order(seed: int, number: int) -> list[list[int]]:
        return [batch.source.ravel().tolist() for batch in batches_of(of, 32, seed, number)]

    first = order(0, 1)
    assert order(0, 0) != first != order(1, 1)
    assert order(0, 1) == first


def test_an_answer_ends_where_it_says_so_and_may_be_nonsense() -> None:
    assert phonemes([3, 41, END, 5]) == ("AA", "ZH")
    assert phonemes([START, 0, 3]) == ("?", "?", "AA")


class Speller:
    """Says the letters, as if they were phonemes."""

    def generate(self, static: dict[str, np.ndarray], start: int, end: int, max_length: int, more: int) -> np.ndarray:
        said = np.full((len(static["source"]), max_length), end)
        for row, source in zip(said, static["source"], strict=True):
            spelt = source[source > 0][::-1] + more
            row[: len(spelt)] = spelt
        return said


def test_each_word_gets_its_own_answer_whatever_batch_it_was_in() -> None:
    words = drawn_words(30)
    random.shuffle(words)
    assert len({len(word.spelling) for word in words}) > 5
    expected = [tuple(PHONEMES[LETTERS.index(letter)] for letter in word.spelling) for word in words]
    assert said(Speller(), words, size=7, more=2) == expected


def test_words_of_letters_alone_are_scored_apart() -> None:
    words = [Word(spelling, ((spelling.upper(),),)) for spelling in ("ay", "o'", "b's", "d")]
    found = scores(words, [("AY",), ("D",), ("D",), ("B",)])
    assert (found["all"].words, found["all"].word_any) == (4, 75.0)
    assert (found["letters"].words, found["letters"].word_any) == (2, 50.0)


# ---- Scores ----


def by_recursion(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(by_recursion(a[1:], b) + 1, by_recursion(a, b[1:]) + 1, by_recursion(a[1:], b[1:]) + (a[0] != b[0]))


def test_the_distance_is_the_fewest_edits() -> None:
    random.seed(2)
    for _ in range(200):
        a, b = ("".join(random.choices("xyz", k=random.randint(0, 5))) for _ in range(2))
        assert distance(a, b) == by_recursion(a, b)


def test_errors_are_counted_against_the_first_and_against_the_nearest_pronunciation() -> None:
    words = [
        Word("either", (("IY", "DH", "ER"), ("AY", "DH", "ER"))),
        Word("a", (("AH",), ("EY",))),
        Word("cat", (("K", "AE", "T"),)),
        Word("tie", (("AA", "N", "D"), ("AO", "N"))),
        Word("on", (("AA", "N", "D"), ("AO", "N"))),
    ]
    said = [("AY", "DH", "ER"), ("AH",), ("K", "T", "T", "S"), ("AA", "N"), ("AO", "N")]
    found = score(words, said)
    # First: 1 of 3, 0 of 1, 2 of 3, 1 of 3, 2 of 3 phonemes. Nearest: 0 of 3, 0 of 1, 2 of 3, 1 of 3, since the earlier
    # is taken of a tie, 0 of 2.
    assert found == (5, 80.0, pytest.approx(100 * 6 / 13), 40.0, pytest.approx(100 * 3 / 12))


def test_each_word_needs_an_answer() -> None:
    with pytest.raises(ValueError, match=r"expected an answer for each of 2 words; got 1"):
        score([Word("a", (("AH",),))] * 2, [("AH",)])


# ---- Recipe ----


def test_the_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe(units=4, epochs=1, learning_rate=0.5, rise=0.2)
    rates = [recipe.rate(step, 100) for step in range(101)]
    assert rates[0] == 0
    assert rates[20] == max(rates) == 0.5
    assert rates[60] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0)
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)


def test_pairs_are_saved_by_name(tmp_path) -> None:
    of = pairs(drawn_words(50))
    np.savez(tmp_path / "pairs.npz", **of._asdict())
    with np.load(tmp_path / "pairs.npz") as found:
        again = Pairs(**found)
    for one, other in zip(of, again, strict=True):
        np.testing.assert_array_equal(one, other)
