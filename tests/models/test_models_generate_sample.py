"""Sampling: the distribution is the model's, after temperature, top_k and top_p; a row's draws are its seed's alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generators import V, language, log_probabilities, stacked, static_of
from topologies import Names, random_weights

import everystep
from everystep.errors import OptionError
from everystep.models.generation import sample
from everystep.models.generation.sample import draw

START, END, ROWS = 1, 2, 20_000


def made(topology: Any, scale: float = 1.0) -> Any:
    model = topology(Names(everystep))
    random_weights(model, np.random.default_rng(6))
    model.set_weights([scale * weight for weight in model.get_weights()])
    return model


def assert_distributed(counts: np.ndarray, probabilities: np.ndarray) -> None:
    """Pearson's chi-square: within six of its standard deviations, sqrt(2 df), of its mean df; nothing where p is 0."""
    possible = probabilities > 0
    assert not counts[~possible].any()
    expected = counts.sum() * probabilities[possible]
    assert expected.min() > 5  # where the statistic has its distribution
    statistic, df = float(((counts[possible] - expected) ** 2 / expected).sum()), int(possible.sum()) - 1
    assert statistic <= df + 6 * np.sqrt(2 * df)


def kept(p: np.ndarray, temperature: float, top_k: int | None, top_p: float | None) -> np.ndarray:
    """The probabilities to draw with, by the definitions, in plain Python."""
    p = p ** (1 / temperature)
    p = p / p.sum()
    order = sorted(range(len(p)), key=lambda token: -p[token])[:top_k]
    total, nucleus = sum(p[token] for token in order), []
    for token in order:
        if top_p is not None and nucleus and sum(p[t] for t in nucleus) / total >= top_p:
            break
        nucleus.append(token)
    found = np.zeros_like(p)
    found[nucleus] = p[nucleus]
    return found / found.sum()


OPTIONS: list[dict[str, Any]] = [
    {},
    dict(temperature=0.6),
    dict(temperature=2.5),
    dict(top_k=1),
    dict(top_k=3),
    dict(top_k=V + 9),
    dict(top_p=0.75),
    dict(top_p=1e-9),
    dict(top_p=1.0),
    dict(temperature=1.7, top_k=4, top_p=0.8),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tokens_are_distributed_as_the_model_says(options: dict[str, Any]) -> None:
    model = made(language)
    tokens = model.generate(start=[[START]] * ROWS, max_length=1, method="sample", seed=5, **options)[:, 0]
    every = np.array([[START, token] for token in range(V)])
    p = np.exp(log_probabilities(model, None, every)[:, 0])
    wanted = kept(p, options.get("temperature", 1.0), options.get("top_k"), options.get("top_p"))
    assert_distributed(np.bincount(tokens, minlength=V), wanted)


def test_sequences_are_distributed_as_the_model_says() -> None:
    model, static = made(stacked), np.repeat(static_of(made(stacked), 1), ROWS, 0)
    tokens, scores = model.generate(static, START, max_length=2, method="sample", seed=8, return_scores=True)
    pairs = np.array([[START, a, b] for a in range(V) for b in range(V)])
    each = log_probabilities(model, static[: len(pairs)], pairs).sum(axis=1)
    places = tokens[:, 0] * V + tokens[:, 1]
    assert_distributed(np.bincount(places, minlength=V * V), np.exp(each))
    np.testing.assert_allclose(scores, each[places], rtol=0, atol=1e-9)


def test_scores_are_the_models_own_whatever_the_temperature() -> None:
    model, static = made(stacked), static_of(made(stacked), 30)
    how: dict[str, Any] = dict(max_length=4, method="sample", seed=1, temperature=3.0, top_k=4, return_scores=True)
    tokens, scores = model.generate(static, START, **how)
    each = log_probabilities(model, static, np.c_[np.full(30, START), tokens])
    np.testing.assert_allclose(scores, each.sum(axis=1), rtol=0, atol=1e-9)


def test_a_seed_gives_the_same_and_another_another() -> None:
    model, static = made(stacked), static_of(made(stacked), 6)
    how: dict[str, Any] = dict(start=START, end=END, max_length=12, method="sample")
    first = model.generate(static, **how, seed=3)
    np.testing.assert_array_equal(first, model.generate(static, **how, seed=3))
    assert not np.array_equal(first, model.generate(static, **how, seed=4))
    assert not np.array_equal(model.generate(static, **how), model.generate(static, **how))


def test_a_row_draws_the_same_whatever_the_others_are() -> None:
    """Row k of one seed is row k with other rows beside it, in a longer batch, at another length; and rows of seeds of
    their own are the same alone."""
    model, static = made(stacked), static_of(made(stacked), 9)
    how: dict[str, Any] = dict(start=START, end=END, method="sample", temperature=1.5, top_p=0.9)
    tokens = model.generate(static, **how, seed=3, max_length=30)
    others = static.copy()
    others[[0, 2, 5]] *= -1
    longer = model.generate(np.concatenate([others, static]), **how, seed=3, max_length=40)
    for row in (1, 3, 4, 6, 7, 8):
        n = min(30, longer.shape[1], tokens.shape[1])
        np.testing.assert_array_equal(tokens[row, :n], longer[row, :n])
    seeds = [11, 5, 5, 0, 7, 1, 2, 3, 4]
    tokens = model.generate(static, **how, seed=seeds, max_length=30)
    lengths = set()
    for row, seed in enumerate(seeds):
        for given in (seed, [seed], np.array([seed])):
            alone = model.generate(static[row : row + 1], **how, seed=given, max_length=30)
            np.testing.assert_array_equal(alone[0], tokens[row, : alone.shape[1]])
        lengths.add(alone.shape[1])
    assert len(lengths) > 2


def test_draws_at_the_edges() -> None:
    """The first token is for u = 0, the last for the largest below 1; those of no weight for none."""
    with np.errstate(divide="ignore"):
        log_weights = np.log([[0.0, 0.25, 0.0, 0.75, 0.0]])
    below_one = 1 - 2.0**-53
    for u, token in ((0.0, 1), (0.25 - 1e-12, 1), (0.25, 3), (below_one, 3)):
        assert draw(log_weights, np.array([u])).tolist() == [token]
        assert draw(log_weights, np.array([u]), top_p=1.0).tolist() == [3 if u < 0.75 else 1]  # the likeliest first
    equal = np.zeros((1, 6))
    assert {int(draw(equal, np.array([u]), top_k=2)[0]) for u in np.linspace(0, below_one, 50)} == {0, 1}
    assert draw(np.array([[-1e300, 0.0]]), np.array([below_one])).tolist() == [1]
    assert draw(np.array([[-3.0, -2.0]]), np.array([0.0]), temperature=1e-320).tolist() == [1]


def test_a_row_draws_its_generators_numbers_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: they are made some at a time."""
    found, length = list[np.ndarray](), 2 * sample.AT_ONCE + 3
    monkeypatch.setattr(sample, "draw", lambda log_p, u, *how: (found.append(u), draw(log_p, u, *how))[1])
    made(language).generate(start=[[1], [2]], max_length=length, method="sample", seed=4)
    each = [np.random.default_rng(seed).random(length) for seed in np.random.SeedSequence(4).spawn(2)]
    np.testing.assert_array_equal(np.array(found).T, each)


@pytest.mark.parametrize("seed", [-1, 0.5, "a", True, [1, 2], [1, None, 2], [[1, 2, 3]], [1, -2, 3]], ids=str)
def test_other_seeds_are_refused(seed: Any) -> None:
    model = made(language)
    with pytest.raises(OptionError, match="seed must be a whole number from 0 on, or 3, one for each row"):
        model.generate(start=[[1], [2], [3]], max_length=2, method="sample", seed=seed)
