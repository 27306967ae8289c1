"""Batches: what is in them, their few shapes, their order, and what Keras makes of their masks."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from everystep.errors import OptionError
from everystep.seq2seq import Text, encoder_decoder
from everystep.seq2seq.buckets import best_cuts, bucketed

RNG = np.random.default_rng(0)
PAIRS = [
    ("".join(RNG.choice(list("abcde"), n)), "".join(RNG.choice(list("xyz"), RNG.integers(0, n + 3))))
    for n in RNG.integers(1, 30, 203)
]
TEXT = Text.fit(PAIRS)


def rows(batches: Any) -> list[tuple[str, str]]:
    """The pairs as they come, after a look at how they are written."""
    found = []
    for (source, target), following, weights in batches:
        assert source.dtype == target.dtype == following.dtype == np.int32
        assert weights.dtype == np.float32
        assert target.shape == following.shape == weights.shape
        assert (target[:, 0] == TEXT.start).all()
        np.testing.assert_array_equal(weights, following > 0)
        np.testing.assert_array_equal(target > 0, following > 0)
        for ids in (source, following):
            assert (np.diff((ids > 0).astype(int), axis=1) <= 0).all()  # padding comes last
        lengths = (following > 0).sum(axis=1)
        for read, to_come, n in zip(target, following, lengths, strict=True):
            assert to_come[n - 1] == TEXT.end
            np.testing.assert_array_equal(read[1:n], to_come[: n - 1])
        sources = TEXT.source.strings([row[row > 0] for row in source])
        found += list(zip(sources, TEXT.decode(following), strict=True))
    return found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64, 203, 500])
def test_each_pair_comes_once(size: int, shuffle: bool) -> None:
    batches = TEXT.batches(PAIRS, size, shuffle=shuffle)
    assert isinstance(batches, keras.utils.PyDataset)
    for _ in range(3):
        assert len(list(batches)) == len(batches) == batches.num_batches == -(-203 // size)
        assert sorted(rows(batches)) == sorted(PAIRS)
        batches.on_epoch_end()


@pytest.mark.parametrize("buckets", [1, 3, 8, 100])
def test_few_shapes(buckets: int) -> None:
    batches = TEXT.batches(PAIRS, 16, buckets=buckets)
    shapes = [[(*x[0].shape, x[1].shape[1]) for x, _, _ in batches]]
    for _ in range(2):
        batches.on_epoch_end()
        shapes.append([(*x[0].shape, x[1].shape[1]) for x, _, _ in batches])
    assert sorted(shapes[0]) == sorted(shapes[1]) == sorted(shapes[2])  # in every epoch the same programs
    partial = [shape for shape in shapes[0] if shape[0] < 16]
    assert [shape[0] for shape in partial] == [203 % 16]
    assert len({shape for shape in shapes[0] if shape[0] == 16}) <= len(batches.shapes) <= buckets
    assert {shape[1:] for shape in shapes[0]} <= {tuple(shape) for shape in batches.shapes.tolist()}
    assert batches.shapes[-1].tolist() == [max(len(s) for s, _ in PAIRS), 1 + max(len(t) for _, t in PAIRS)]


def test_the_order_follows_from_seed_and_epoch() -> None:
    batches, again, other = TEXT.batches(PAIRS, 16), TEXT.batches(PAIRS, 16), TEXT.batches(PAIRS, 16, seed=1)
    first = rows(batches)
    assert rows(again) == first != rows(other)
    batches.on_epoch_end()
    second = rows(batches)
    assert batches.epoch == 1
    batches.on_epoch_end()
    batches[0]
    batches.on_epoch_end()  # too early
    assert batches.epoch == 2
    assert second != first
    again.epoch = 1
    assert rows(again) == second
    batches.epoch = 0
    assert rows(batches) == first
    still = TEXT.batches(PAIRS, 16, shuffle=False)
    plain = rows(still)
    still.on_epoch_end()
    assert rows(still) == plain


def test_keras_counts_its_epochs() -> None:
    """fit looks at a batch before its first epoch, and says that an epoch has ended."""
    batches = TEXT.batches(PAIRS, 40)
    seen: list[int] = []

    class Seen(type(batches)):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            seen.append(index + 100 * self.epoch)
            return super().__getitem__(index)

    batches.__class__ = Seen
    model = encoder_decoder(TEXT.source_size, TEXT.target_size, embedding=2, units=2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(batches, epochs=2, verbose=0, shuffle=False)
    assert seen == [0, *range(6), *range(100, 106)]
    assert batches.epoch == 2
    model.fit(batches, epochs=1, verbose=0)  # in Keras's order
    assert batches.epoch == 3
    assert sorted(seen[13:]) == [*range(200, 206)]


def test_padding_counts_in_neither_loss_nor_metric() -> None:
    model = encoder_decoder(TEXT.source_size, TEXT.target_size, embedding=3, units=4, attention="luong")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, weighted_metrics=["sparse_categorical_accuracy"])
    ((source, target), following, _) = TEXT.batches(PAIRS, 203, buckets=1)[0]
    assert (following == 0).mean() > 0.3
    logits = np.asarray(model([source, target]), np.float64)
    likely = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    real = following > 0
    chosen = np.take_along_axis(likely, following[..., None], axis=-1)[..., 0]
    expected = [-chosen[real].mean(), (logits.argmax(axis=-1) == following)[real].mean()]
    found = model.evaluate(TEXT.batches(PAIRS, 203, buckets=1), verbose=0)
    again = model.evaluate((source, target), following, batch_size=203, verbose=0)  # without weights
    # Sums of some 3,000 terms in float32 (u = 2^-24): a relative error of n u at most, all terms of one sign.
    rtol = real.sum() * 2.0**-24 + 1e-6
    np.testing.assert_allclose(found, expected, rtol=rtol)
    np.testing.assert_allclose(again[0], expected[0], rtol=rtol)


# ---- Buckets ----


def padding_steps(lengths: np.ndarray, group: np.ndarray, shapes: np.ndarray) -> int:
    assert (lengths <= shapes[group]).all()
    return int((shapes[group] - lengths).sum())


@pytest.mark.parametrize("seed", range(8))
def test_cuts_are_the_best_there_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(1, 9, 9))
    steps = np.cumsum(rng.integers(1, 9, 9))

    def cost(cuts: Any) -> int:
        cuts = np.asarray(cuts)
        return int((np.diff(cuts, prepend=0) * steps[np.searchsorted(ends, cuts)]).sum())

    for most in (1, 2, 3, 5, 9, 12):
        found = best_cuts(ends, steps, most)
        assert len(found) <= most
        assert found[-1] == ends[-1]
        choices = [
            [*some, ends[-1]] for k in range(min(most, 9)) for some in itertools.combinations(ends[:-1].tolist(), k)
        ]
        assert cost(found) == min(map(cost, choices))


def test_groups_fit_and_save() -> None:
    lengths = np.random.default_rng(3).integers(1, 40, (500, 2))
    lengths[:3] = 300
    saved = [padding_steps(lengths, *bucketed(lengths, most)) for most in (1, 2, 4, 8)]
    assert saved == sorted(saved, reverse=True)
    assert saved[1] < saved[0] / 5  # the three long ones are by themselves
    group, shapes = bucketed(np.full((9, 2), 4), 5)
    assert group.tolist() == [0] * 9
    assert shapes.tolist() == [[4, 4]]


# ---- Lengths, and refusals ----


def test_long_pairs_are_never_cut() -> None:
    pairs = [("abc", "x"), ("a" * 9, "x"), ("a", "x" * 8), ("b", "x" * 7)]
    first = "2 of 4 pairs have more than max_length=8 steps, the first of them pair 1 with 9 of source and 2 of target"
    with pytest.raises(OptionError, match=first):
        TEXT.batches(pairs, max_length=8)
    with pytest.warns(UserWarning, match=f"{first}, its start included; they are left out"):
        batches = TEXT.batches(pairs, max_length=8, too_long="drop")
    assert batches.dropped == 2
    assert sorted(rows(batches)) == [("abc", "x"), ("b", "x" * 7)]
    assert TEXT.batches(pairs, max_length=9).dropped == 0
    with pytest.raises(
        OptionError,
        match=r"4 of 4 pairs .* max_length=1 .*included: no pair is left\. A greater max_length takes them$",
    ):
        TEXT.batches(pairs, max_length=1, too_long="drop")


def test_refused() -> None:
    with pytest.raises(OptionError, match="batch_size must be a whole number from 1 on; got 0"):
        TEXT.batches(PAIRS, 0)
    with pytest.raises(OptionError, match=r"buckets must be a whole number from 1 on; got 2\.5"):
        TEXT.batches(PAIRS, buckets=2.5)
    for seed in (None, -1, 0.5):
        with pytest.raises(OptionError, match="seed must be a whole number from 0 on; got"):
            TEXT.batches(PAIRS, seed=seed)
    with pytest.raises(OptionError, match="epoch must be a whole number from 0 on; got -1"):
        TEXT.batches(PAIRS).epoch = -1
    with pytest.raises(OptionError, match="max_length must be a whole number from 1 on; got -3"):
        TEXT.batches(PAIRS, max_length=-3)
    with pytest.raises(OptionError, match="too_long must be 'raise' or 'drop'; got 'cut'"):
        TEXT.batches(PAIRS, too_long="cut")
    with pytest.raises(OptionError, match="source 1, '', has no tokens"):
        TEXT.batches([("a", "x"), ("", "x")])
    with pytest.raises(IndexError, match="from 0 to 3; got 4"):
        TEXT.batches(PAIRS)[4]
