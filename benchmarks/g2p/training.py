"""Trains an encoder-decoder by Keras's `fit` on JAX; an epoch leaves a file to go on from, to the same end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from g2p.batches import Batch, Pairs, batches_of, coarse, steps_of
from g2p.recipe import Recipe

HISTORY = "history.json"
BEST = "best.keras"


def built(recipe: Recipe) -> Any:
    import keras

    from everystep.seq2seq import encoder_decoder

    keras.utils.set_random_seed(recipe.seed)
    return encoder_decoder(**recipe.model_arguments())


def compiled(model: Any, recipe: Recipe, steps: int) -> Any:
    """The model. steps: of all epochs together."""
    import keras

    rise = recipe.rising(steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - rise, warmup_target=recipe.learning_rate, warmup_steps=rise
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=recipe.clip), loss)
    return model


def reseed(model: Any, recipe: Recipe, number: int) -> None:
    """The random numbers of an epoch's dropout, too, depend on nothing before it: a Keras file has no state of them."""
    states = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
    random = np.random.default_rng([recipe.seed, number, 1])
    for state in states:
        state.assign(random.integers(2**32, size=state.shape, dtype=np.uint32))


def fit_epoch(model: Any, batches: list[Batch]) -> float:
    """Trains on the batches, in their order; the mean loss of their phonemes on the way."""
    import keras

    class Given(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, place: int) -> Any:
            batch = batches[place]
            return (batch.source, batch.target), batch.wanted

    return float(model.fit(Given(), shuffle=False, verbose=0).history["loss"][0])


def judged(model: Any, of: Pairs, size: int = 256) -> dict[str, float]:
    """The loss, and the word error rate against any pronunciation, of words that the model was not trained on.

    Nothing is generated for this: the decoder reads what is right so far, as in training. It says a pronunciation if,
    and only if, every phoneme is then its likeliest one; so this is the error rate of greedy decoding.
    """
    S, T = (np.count_nonzero(numbers, axis=1) for numbers in (of.source, of.wanted))
    order = np.lexsort((T, S))
    loss, said = 0.0, np.zeros(len(S), bool)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        full = np.resize(rows, size)  # one shape for all of a length
        batch = of.batch(full, coarse(S[rows].max(), of.source), coarse(T[rows].max(), of.wanted))
        logits = np.asarray(model.predict_on_batch([batch.source, batch.target]), np.float64)[: len(rows)]
        wanted = batch.wanted[: len(rows)]
        logits -= np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        loss -= np.take_along_axis(logits, wanted[..., None], axis=-1)[wanted > 0].sum()
        said[rows] = ((logits.argmax(axis=-1) == wanted) | (wanted == 0)).all(axis=1)
    right = np.zeros(of.word.max() + 1, bool)
    np.logical_or.at(right, of.word, said)
    return {"loss": float(loss / T.sum()), "word_any": 100 * (1 - float(right.mean()))}


def train(
    recipe: Recipe, of: Pairs, development: Pairs, folder: Path, until: int | None = None
) -> list[dict[str, Any]]:
    """Goes on from the last epoch in the folder, if there is one; what was found after each epoch.

    The folder gets the model after the last epoch, with its optimizer, the model that was best on the development
    words, and the history. A process may be killed at any moment: an epoch is in the
    history only once its file is whole.

    until: how many epochs there are when it stops, to be gone on from; the recipe's if None.

    Raises:
        SystemExit: what is in the folder was trained by another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, history = resumed(recipe, folder)
    model = model or compiled(built(recipe), recipe, recipe.epochs * steps_of(of, recipe.batch))
    for number in range(len(history), recipe.epochs if until is None else until):
        start = time.perf_counter()
        reseed(model, recipe, number)
        loss = fit_epoch(model, batches_of(of, recipe.batch, recipe.seed, number))
        seconds = time.perf_counter() - start
        found = judged(model, development)
        history.append(dict(epoch=number + 1, train_loss=loss, seconds=seconds, **found))
        print(
            f"epoch {number + 1} of {recipe.epochs}: loss {loss:.4f}, on development words {found['loss']:.4f}, "
            f"{found['word_any']:.2f} % of words wrong, {seconds:.0f} s",
            flush=True,
        )
        kept(model, recipe, history, folder)
    return history


def resumed(recipe: Recipe, folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    from everystep.keras.models import load_model

    if not (folder / HISTORY).exists():
        return None, []
    found = read_history(folder)
    if found["recipe"] != recipe.as_dict():
        raise SystemExit(f"{folder} has a model of another recipe: {found['recipe']}; this is {recipe.as_dict()}")
    history: list[dict[str, Any]] = found["history"]
    return load_model(folder / found["file"]), history


def kept(model: Any, recipe: Recipe, history: list[dict[str, Any]], folder: Path) -> None:
    file = folder / f"epoch-{len(history)}.keras"
    model.save(file)
    if best(history) is history[-1]:
        model.save(folder / f"new-{BEST}", include_optimizer=False)
        os.replace(folder / f"new-{BEST}", folder / BEST)
    new = folder / f"new-{HISTORY}"
    new.write_text(json.dumps(dict(recipe=recipe.as_dict(), file=file.name, history=history), indent=1) + "\n")
    os.replace(new, folder / HISTORY)
    for other in folder.glob("epoch-*.keras"):
        if other != file:
            other.unlink()


def read_history(folder: Path) -> dict[str, Any]:
    """{"recipe": its numbers, "file": of the model after the last epoch, "history": what was found after each}."""
    found: dict[str, Any] = json.loads((folder / HISTORY).read_text())
    return found


def best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the fewest development words wrong; of several, the one of the least loss."""
    return min(history, key=lambda one: (one["word_any"], one["loss"]))
