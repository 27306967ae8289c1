"""Pairs of ids as batches for Keras's `fit`: bucketed by length, masked, for teacher forcing."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from everystep import keras
from everystep.errors import OptionError
from everystep.seq2seq.buckets import bucketed
from everystep.seq2seq.checks import whole_number
from everystep.seq2seq.text import padded
from everystep.seq2seq.vocabulary import END, PADDING, START

Ids = NDArray[np.int32]
Batch = tuple[tuple[Ids, Ids], Ids, NDArray[np.float32]]


class Batches(keras.utils.PyDataset):
    """Each pair once an epoch. A batch is ((source (B,S), target (B,T)), next (B,T), weights (B,T)).

    The target is the start and then the pair's; next is the pair's and then the end, so that next[t] is to follow
    target[t]. After each, padding. The weights are 1, and 0 on padding: the loss has the mask of the model's output
    already, and they tell it to `weighted_metrics`.

    Shapes are those of `buckets.bucketed`, so many that are whole, and one more: what is left of a bucket joins the
    next longer one, and only the last batch of the longest has fewer rows, if the batch size does not divide them.

    Args:
        rows: (source, target) ids, without start and end.
        others: of `Text.batches`.

    Attributes:
        epoch: the one to come, or that goes on, from 0. To resume a training, set it to fit's `initial_epoch`: what is
            in an epoch's batches, and their order, follow from it and the seed. But fit itself shuffles the batches
            once more, by Python's `random`, unless told `shuffle=False`.
        shapes: (K,2) S and T of each bucket, ascending.
        dropped: how many pairs were too long, and left out.
    """

    def __init__(
        self,
        rows: list[tuple[Ids, Ids]],
        batch_size: int,
        shuffle: bool,
        seed: int,
        buckets: int,
        max_length: int | None,
        too_long: str,
    ) -> None:
        super().__init__()
        self.batch_size = whole_number("batch_size", batch_size)
        most = whole_number("buckets", buckets)
        if max_length is not None:
            whole_number("max_length", max_length)
        if too_long not in ("raise", "drop"):
            raise OptionError(f"too_long must be 'raise' or 'drop'; got {too_long!r}")
        self.shuffle, self.seed, self._epoch = shuffle, whole_number("seed", seed, 0), 0
        lengths = np.array([(len(source), len(target) + 1) for source, target in rows], np.intp)
        self.dropped = 0
        if max_length is not None and lengths.max() > max_length:
            rows, lengths = self._short(rows, lengths, max_length, too_long)
        self._rows = rows
        self._group, self.shapes = bucketed(lengths, most)
        self._draw()

    def __len__(self) -> int:
        return -(-len(self._rows) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batches are numbered from 0 to {len(self) - 1}; got {index}")
        self._read.add(index)
        (S, T), chosen = self._batches[index]
        sources, targets = zip(*(self._rows[k] for k in chosen), strict=True)
        start, end = np.array([START], np.int32), np.array([END], np.int32)
        read = padded([np.concatenate([start, ids]) for ids in targets], T)
        following = padded([np.concatenate([ids, end]) for ids in targets], T)
        return (padded(sources, S), read), following, (following != PADDING).astype(np.float32)

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._epoch = whole_number("epoch", number, 0)
        self._draw()

    def on_epoch_end(self) -> None:
        """Called by Keras at the end of an epoch; and before the first one, when `fit` has looked at a batch."""
        if len(self._read) == len(self):
            self.epoch += 1

    def _draw(self) -> None:
        """The epoch's batches: of each its shape, and the numbers of its rows."""
        self._read: set[int] = set()  # batches of this epoch
        draw = np.random.default_rng([self.seed, self._epoch])
        B, found = self.batch_size, []
        left = np.empty(0, np.intp)
        for k, shape in enumerate(self.shapes.tolist()):
            rows = np.concatenate([left, np.flatnonzero(self._group == k)])
            if self.shuffle:
                draw.shuffle(rows)
            whole = len(rows) if k == len(self.shapes) - 1 else len(rows) // B * B
            found += [(shape, rows[at : min(at + B, whole)]) for at in range(0, whole, B)]
            left = rows[whole:]
        if self.shuffle:
            found = [found[k] for k in draw.permutation(len(found))]
        self._batches = found

    def _short(
        self, rows: list[tuple[Ids, Ids]], lengths: NDArray[np.intp], max_length: int, too_long: str
    ) -> tuple[list[tuple[Ids, Ids]], NDArray[np.intp]]:
        """The pairs that are not too long, and their lengths; an error, or a warning that there are others."""
        fits = lengths.max(axis=1) <= max_length
        first = int(np.flatnonzero(~fits)[0])
        self.dropped = int((~fits).sum())
        words = (
            f"{self.dropped} of {len(rows)} pairs have more than max_length={max_length} steps, the first of them pair "
            f"{first} with {lengths[first, 0]} of source and {lengths[first, 1]} of target, its start included"
        )
        if self.dropped == len(rows):
            raise OptionError(f"{words}: no pair is left. A greater max_length takes them")
        if too_long == "raise":
            raise OptionError(f"{words}. A greater max_length takes them, too_long='drop' leaves them out")
        warnings.warn(f"{words}; they are left out", stacklevel=4)
        return [row for row, its in zip(rows, fits.tolist(), strict=True) if its], lengths[fits]
