"""The grapheme-to-phoneme benchmark's training: what it goes on from, whom it takes, how what it says is scored."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from g2p import decoding, keras_learner, small, training
from g2p.batches import Pairs, batches_of, pairs, steps_of
from g2p.recipe import Recipe
from g2p.scores import score
from g2p.words import PHONEMES, Word

import everystep
import everystep.keras  # isort: split  # first, since it chooses Keras's backend

RECIPE = Recipe(units=6, embedding=4, epochs=3, layers=2, batch=8, dropout=0.3, learning_rate=0.02)


def words(count: int) -> list[Word]:
    """Spelt as they sound, of four letters all: two shapes of batches, which are soon compiled."""
    random.seed(3)
    found = {"".join(random.choices("abcdefghij", k=4)) for _ in range(count)}
    return [Word(spelling, (tuple(PHONEMES[ord(letter) - 97] for letter in spelling),)) for spelling in sorted(found)]


@pytest.fixture(scope="module")
def parts() -> tuple[Pairs, Pairs]:
    every = words(100)
    return pairs(every[:-20]), pairs(every[-20:])


@pytest.fixture(scope="module")
def whole(parts: tuple[Pairs, Pairs], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("whole")
    training.train(RECIPE, *parts, folder)
    return folder


def weights(folder: Path, file: str) -> list[np.ndarray]:
    return everystep.keras.models.load_model(folder / file).get_weights()


def test_a_training_that_was_stopped_ends_with_the_same_bits(
    whole: Path, parts: tuple[Pairs, Pairs], tmp_path: Path
) -> None:
    training.train(RECIPE, *parts, tmp_path, until=1)
    assert [one["epoch"] for one in training.read_history(tmp_path)["history"]] == [1]
    training.train(RECIPE, *parts, tmp_path)
    for one, other in zip(weights(whole, "epoch-3.keras"), weights(tmp_path, "epoch-3.keras"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.keras", "epoch-3.keras", "history.json"]


def test_what_is_whole_is_not_trained_again(whole: Path, parts: tuple[Pairs, Pairs]) -> None:
    before = (whole / "epoch-3.keras").stat().st_mtime_ns
    history = training.train(RECIPE, *parts, whole)
    assert [one["epoch"] for one in history] == [1, 2, 3]
    assert (whole / "epoch-3.keras").stat().st_mtime_ns == before


def test_a_folder_of_another_recipe_is_refused(whole: Path, parts: tuple[Pairs, Pairs]) -> None:
    with pytest.raises(SystemExit, match=r"has a model of another recipe: .*'units': 6.*; this is .*'units': 7"):
        training.train(replace(RECIPE, units=7), *parts, whole)


def test_the_model_of_the_fewest_wrong_development_words_is_kept(
    parts: tuple[Pairs, Pairs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([(30.0, 0.5), (20.0, 0.4), (20.0, 0.3), (20.0, 0.35), (25.0, 0.2)])

    def judged(model: Any, of: Pairs) -> dict[str, float]:
        word_any, loss = next(given)
        return {"word_any": word_any, "loss": loss}

    monkeypatch.setattr(training, "judged", judged)
    history = training.train(replace(RECIPE, epochs=5, dropout=0.0), *parts, tmp_path)
    assert training.best(history)["epoch"] == 3
    taken = weights(tmp_path, training.BEST)
    last = weights(tmp_path, json.loads((tmp_path / training.HISTORY).read_text())["file"])
    assert any(np.any(one != other) for one, other in zip(taken, last, strict=True))


def test_a_model_that_has_learnt_says_what_is_counted_as_right() -> None:
    """Teacher forcing counts as wrong what greedy decoding then says wrongly, word by word."""
    every = words(400)
    # Of two words that were learnt, one pronunciation is wrong: the first, and the last.
    learnt = [
        Word(word.spelling, (*word.pronunciations, (PHONEMES[0],))[::way])
        for word, way in zip(every[:2], (1, -1), strict=True)
    ]
    test = [*every[-60:], *learnt]
    of, unseen = pairs(every[:-60]), pairs(test)
    recipe = replace(RECIPE, units=48, embedding=16, epochs=40, dropout=0.0)
    model = training.compiled(training.built(recipe), recipe, recipe.epochs * steps_of(of, recipe.batch))
    for number in range(recipe.epochs):
        training.fit_epoch(model, batches_of(of, recipe.batch, recipe.seed, number))
    found = training.judged(model, unseen, size=16)
    said = decoding.said(everystep.from_keras(model), test, size=16)
    assert score(test, said).word_any == pytest.approx(found["word_any"])
    assert 5 < found["word_any"] < 95  # some are right, some wrong
    assert decoding.scores(test, said)["letters"] == score(test, said)


def test_keras_with_its_own_layers_learns_alike(parts: tuple[Pairs, Pairs]) -> None:
    recipe = replace(RECIPE, dropout=0.0, epochs=1)
    first = keras_learner.named_weights(training.built(recipe))
    batches = batches_of(parts[0], recipe.batch, 0, 0)
    found = []
    for stock in (False, True):
        learner = keras_learner.KerasLearner(stock, recipe, len(batches))
        learner.start(first)
        routes = {route.name for route in everystep.keras.routes(learner.model).values()}
        assert routes == {"loop" if stock else "engine"}
        loss, ends = learner.epoch(batches)[0], learner.weights()
        learner.start(first)
        assert learner.epoch(batches)[0] == loss
        found.append((loss, ends))
    (loss, ours), (stock_loss, theirs) = found
    assert loss == pytest.approx(stock_loss, rel=1e-4)
    # Adam's first steps are of one size whatever the gradient: what is 0 but for rounding moves by a rate either way.
    for name, one in ours.items():
        np.testing.assert_allclose(one, theirs[name], atol=1e-3, err_msg=name)
        assert np.any(one != first[name])


def test_libraries_that_learn_otherwise_are_refused() -> None:
    small.alike({"one": 1.0, "other": 1.005}, 0)
    for other in (1.02, float("nan")):
        with pytest.raises(SystemExit, match=r"expected all to learn alike"):
            small.alike({"one": 1.0, "other": other}, 0)
