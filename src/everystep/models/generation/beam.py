"""Beam search: the most likely sequence that is found with W hypotheses at a time.

At each step every hypothesis that goes on is followed by every token; the W of these that are most likely are kept.
Those of them that end, with `end` or at `max_length`, are compared by their sum of log-probabilities / length**penalty,
the best so far stays; the others go on. A row is done when none goes on, or none can become better than the best.
With W = 1 it is greedy; with W as large as there are sequences it finds the best of all.
"""

from __future__ import annotations

import numpy as np

from everystep.layers.tensor import Array
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.options import Options

FEW, SMALL = 16, 256  # to look for so many again and again is faster than to sort all, unless all are no more than that


class Beams:
    """The hypotheses of all rows, and the best that ended in each.

    Args:
        rows: B. width: W. options: of `Model.generate`.

    Attributes:
        sums: (n,W), of the log-probabilities of the hypotheses that go on in the rows that do; -inf where there is
            none.
        best: (B), of those that ended.
    """

    def __init__(self, rows: int, options: Options) -> None:
        self.options = options
        self.rows = np.arange(rows)
        self.sums = np.zeros((rows, 1))
        self.best = np.full(rows, -np.inf)
        self.lengths = np.zeros(rows, int)
        self._last = np.zeros(rows, int)  # of the best: the place of its last token in its step
        self._steps: list[tuple[Array, Array, Array]] = []  # for each: rows, parents (n,W), tokens (n,W)

    def extend(self, log_probabilities: Array) -> tuple[Array, Array]:
        """Goes one step on, with (n,W,V) numbers of what comes after each hypothesis.

        Returns:
            For each of the new hypotheses (n,W) which one it follows, and its token.
        """
        n, W, V = log_probabilities.shape
        sums = (self.sums[:, :, None] + log_probabilities).reshape(n, W * V)
        places, self.sums = largest(sums, self.options.beam_width)
        parents, tokens = np.divmod(places, V)
        self._steps.append((self.rows, parents, tokens))
        self._end(tokens)
        return parents, tokens

    def _end(self, tokens: Array) -> None:
        """Takes those that ended out, and keeps the best of them."""
        length, how = len(self._steps), self.options
        ended = tokens == how.end if length < how.max_length else np.ones(tokens.shape, bool)
        if not ended.any():
            return
        scores = np.where(ended, self.sums, -np.inf) / length**how.length_penalty
        place = scores.argmax(axis=1)
        score = scores[np.arange(len(place)), place]
        better = score > self.best[self.rows]
        rows = self.rows[better]
        self.best[rows], self.lengths[rows], self._last[rows] = score[better], length, place[better]
        self.sums = np.where(ended, -np.inf, self.sums)

    def going(self) -> Array:
        """(n) bool, the rows in which a hypothesis goes on that may become the best."""
        length, how = len(self._steps), self.options
        if length == how.max_length:
            return np.zeros(len(self.rows), bool)
        divisor = max((length + 1) ** how.length_penalty, how.max_length**how.length_penalty)
        return np.asarray(self.sums.max(axis=1) / divisor > self.best[self.rows])

    def leave(self, stay: Array) -> None:
        """Goes on with these of its rows alone."""
        self.rows, self.sums = self.rows[stay], self.sums[stay]

    def found(self) -> Array:
        """The tokens of the best of each row, (B,L), and `end` after them."""
        end, place, least = self.options.end, self._last.copy(), self.lengths.min()
        made = np.full((len(self.best), int(self.lengths.max())), 0 if end is None else end)
        for step in reversed(range(made.shape[1])):
            rows, parents, tokens = self._steps[step]
            if step >= least:
                its = self.lengths[rows] > step
                rows, parents, tokens = rows[its], parents[its], tokens[its]
            at = np.arange(len(rows)), place[rows]
            made[rows, step], place[rows] = tokens[at], parents[at]
        return made


def beam_search(decoder: Decoder, options: Options) -> tuple[Array, Array]:
    """Tokens (B,L) for each row of a decoder that has read its prompt, and their scores (B)."""
    beams = Beams(decoder.rows, options)
    while True:
        n, width = beams.sums.shape
        decoder.check_numbers()
        parents, tokens = beams.extend(decoder.log_probabilities().reshape(n, width, -1))
        going = beams.going()
        count = np.count_nonzero(going)
        if not count:
            return beams.found(), beams.best
        rows = parents + width * np.arange(n)[:, None]
        if 2 * count <= n:
            beams.leave(going)
            rows, tokens = rows[going], tokens[going]
        if rows.size == decoder.rows:
            decoder.stream._reorder(rows.reshape(-1))
        else:
            decoder = decoder.fork(rows.reshape(-1))
        decoder.step(tokens.reshape(-1))


def largest(x: Array, count: int) -> tuple[Array, Array]:
    """The places (n,count) of the largest numbers of each row (n,m) and the numbers, falling; of equals the first.

    Where count is more than m, the rest is place 0 with -inf. x is written over.
    """
    n, m = x.shape
    if count > FEW or x.size <= SMALL:
        places = (-x).argsort(axis=1, kind="stable")[:, :count]
        numbers = x[np.arange(n)[:, None], places]
        if count <= m:
            return places, numbers
        rest = ((0, 0), (0, count - m))
        return np.pad(places, rest), np.pad(numbers, rest, constant_values=-np.inf)
    places, numbers, rows = np.zeros((n, count), np.intp), np.full((n, count), -np.inf), np.arange(n)
    for k in range(min(count, m)):
        places[:, k] = place = x.argmax(axis=1)
        numbers[:, k] = x[rows, place]
        x[rows, place] = -np.inf
    return places, numbers
