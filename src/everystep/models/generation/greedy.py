"""One token for each row at each step: the most likely one, or what else chooses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from everystep.layers.tensor import Array
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.options import Options

Choose = Callable[[Decoder, int, Array], Array]


def most_likely(decoder: Decoder, step: int, rows: Array) -> Array:
    """The token of the largest number in each row, the first of equals."""
    tokens: Array = decoder.y.argmax(1)
    return tokens


def one_by_one(decoder: Decoder, options: Options, choose: Choose, with_scores: bool) -> tuple[Array, Array | None]:
    """Tokens (B,L) for each row of a decoder that has read its prompt.

    Args:
        choose: tokens (n) from the decoder's newest output, for a step, from 0 on, and the numbers (n) of the rows
            that are still in the decoder.
        with_scores: whether the sum of the tokens' log-probabilities (B) is wanted.
    """
    end, rows = options.end, np.arange(decoder.rows)
    lengths = np.full(len(rows), options.max_length)
    going, scores = set(range(len(rows))), np.zeros(len(rows)) if with_scores else None
    blocks: list[tuple[Array, list[list[int]]]] = [(rows, [])]  # rows that were stepped together, and their tokens
    tokens = np.empty(0, np.intp)
    for step in range(options.max_length):
        if step:
            decoder.step(tokens)
        tokens = choose(decoder, step, rows)
        if scores is not None:
            found = decoder.log_probabilities()[np.arange(len(rows)), tokens]
            scores[rows] += np.where(lengths[rows] > step, found, 0)
        now = tokens.tolist()
        blocks[-1][1].append(now)
        if end in now:
            ended = going.intersection(rows[tokens == end].tolist())
            lengths[list(ended)] = step + 1
            decoder.check_numbers(np.isin(rows, list(ended)))
            going -= ended
            if not going or step + 1 == options.max_length:
                break
            if 2 * len(going) <= len(rows):
                stay = np.flatnonzero(lengths[rows] > step + 1)
                rows, tokens, decoder = rows[stay], tokens[stay], decoder.fork(stay)
                blocks.append((rows, []))
    decoder.check_numbers(lengths[rows] == options.max_length)
    return _joined(blocks, lengths, end), scores


def _joined(blocks: list[tuple[Array, list[list[int]]]], lengths: Array, end: int | None) -> Array:
    """The tokens of all rows side by side, `end` after each row's own."""
    made = np.full((len(lengths), int(lengths.max())), 0 if end is None else end)
    step = 0
    for rows, tokens in blocks:
        made[rows, step : step + len(tokens)] = np.array(tokens).T
        step += len(tokens)
    if end is not None:
        made[np.arange(made.shape[1]) >= lengths[:, None]] = end
    return made
