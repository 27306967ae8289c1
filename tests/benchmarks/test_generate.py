"""benchmarks/generate.py: what its page says of the times that were measured."""

from typing import Any

import generate
import numpy as np
import pytest
from decoding import best


def row(peer: str, median: float, batch: int = 1, method: str = "greedy", model: str = "plain") -> dict[str, Any]:
    return dict(model=model, batch=batch, method=method, peer=peer, mode="", threads=1, median=median)


def test_the_table_has_tokens_a_second_and_how_many_times_as_fast_ours_is() -> None:
    rows = [
        row("engine", 0.001),
        row("pytorch", 0.004),
        row("engine", 0.1, 64, "beam"),
        row("pytorch", 0.05, 64, "beam"),
    ]
    ours, theirs = generate.table(rows, "plain", length=10)[2:]
    assert ours == "| everystep, `generate` | 10,000 |  | – |  | – |  | 6,400 |  |"
    assert theirs == "| PyTorch, a step at a time | 2,500 | 4.0 | – |  | – |  | 12,800 | **0.50** |"


def test_goals_are_of_greedy_and_of_each_model() -> None:
    rows = [row("engine", 1.0), row("pytorch", 4.9), row("keras_step", 3.0), row("keras_loop", 0.5)]
    rows += [row("engine", 1.0, 64, model="attention"), row("pytorch", 1.9, 64, model="attention")]
    rows += [row("engine", 1.0, 64, "beam"), row("pytorch", 0.5, 64, "beam")]
    assert generate.missed(rows) == [
        "plain, batch 1, PyTorch, a step at a time: 4.9 of 5",
        "attention, batch 64, PyTorch, a step at a time: 1.9 of 2",
    ]


def test_the_best_hypothesis_is_read_back_from_what_each_one_follows() -> None:
    parents = [np.zeros((2, 2), int), np.array([[1, 0], [0, 0]]), np.array([[0, 1], [1, 0]])]
    tokens = [np.array([[3, 4], [5, 6]]), np.array([[7, 8], [9, 10]]), np.array([[11, 12], [13, 14]])]
    assert best(parents, tokens).tolist() == [[4, 7, 11], [5, 10, 13]]


def test_other_tokens_are_refused() -> None:
    class Named:
        def __init__(self, peer: str) -> None:
            self.peer = peer

    tokens = np.full((2, 11), 5)
    other = tokens.copy()
    other[1, 3] = 6
    one = generate.Ready(Named("engine"), "", tokens)  # type: ignore[arg-type]
    generate.compare([one, one], ("plain", 2, "greedy"))
    with pytest.raises(SystemExit, match=r"PyTorch.* finds other tokens than everystep, `generate` in rows \[1\]"):
        generate.compare([one, generate.Ready(Named("pytorch"), "", other)], ("plain", 2, "greedy"))  # type: ignore[arg-type]
    ended = generate.Ready(Named("engine"), "", np.full((2, 11), 2))  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match="are not 11 of each row"):
        generate.compare([ended, ended], ("plain", 2, "greedy"))
