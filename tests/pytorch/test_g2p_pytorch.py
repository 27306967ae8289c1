"""The grapheme-to-phoneme benchmark's model in PyTorch learns as the one in Keras does, from the same weights."""

from __future__ import annotations

import random

import numpy as np
from g2p.batches import Batch, batches_of, pairs
from g2p.keras_learner import KerasLearner, named_weights
from g2p.pytorch_learner import PytorchLearner
from g2p.recipe import Recipe
from g2p.training import built
from g2p.words import PHONEMES, Word

RECIPE = Recipe(units=5, embedding=3, layers=2, epochs=1, batch=6, learning_rate=0.01)


def drawn_batches() -> list[Batch]:
    """Of words of one length, and, put together from what is left over, of several."""
    random.seed(4)
    spellings = ["".join(random.choices("abcdefgh'", k=random.choice((3, 4, 4, 4, 6)))) for _ in range(45)]
    words = [Word(spelling, (tuple(random.choices(PHONEMES, k=random.randint(1, 5))),)) for spelling in spellings]
    return batches_of(pairs(words), RECIPE.batch, 0, 0)


def test_the_first_epoch_is_alike() -> None:
    batches = drawn_batches()
    lengths = [np.count_nonzero(batch.source, axis=1) for batch in batches]
    assert {bool(np.ptp(some)) for some in lengths} == {False, True}
    random_ = np.random.default_rng(5)  # large, and biases too, so that nothing is near 0 by chance of its start
    model = built(RECIPE)
    first = {name: random_.normal(0, 0.5, w.shape).astype(np.float32) for name, w in named_weights(model).items()}
    keras, torch = KerasLearner(True, RECIPE, len(batches)), PytorchLearner(RECIPE, len(batches))
    for learner in (keras, torch):
        learner.start(first)
    # The losses are the means of a batch's phonemes: rounding, and gradients that are rounded to 0, leave this much.
    np.testing.assert_allclose(torch.epoch(batches)[0], keras.epoch(batches)[0], rtol=1e-4)
    ours, theirs = torch.weights(), keras.weights()
    assert ours.keys() == theirs.keys()
    for name, w in theirs.items():
        # The two add Adam's epsilon at different places: that is as much as gradients of about 1e-6, which there are.
        assert np.linalg.norm(ours[name] - w) < 0.1 * np.linalg.norm(w - first[name]), name


def test_it_starts_again() -> None:
    batches = drawn_batches()
    first = named_weights(built(RECIPE))
    learner = PytorchLearner(RECIPE, len(batches))
    losses = []
    for _ in range(2):
        learner.start(first)
        losses.append(learner.epoch(batches)[0])
    assert losses[0] == losses[1]
