"""The small recipe learnt by three libraries from the same weights and batches: what each reaches, and its time."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from contest import HERE, KEPT_MEMORY, VENVS, Worker
from report import ROOT

from g2p.batches import Pairs
from g2p.decoding import said
from g2p.learner import PEERS
from g2p.recipe import SMALL
from g2p.scores import score
from g2p.words import Word

SEEDS = (0, 1, 2)
RESULTS = "small.json"


class Learner(Worker):
    """A library's process, which runs only while it is asked something."""

    def __init__(self, peer: str, pairs: Path) -> None:
        self.peer = peer
        python = ROOT / VENVS.get(peer, ".venv") / "bin" / "python"
        cpus = map(str, sorted(os.sched_getaffinity(0)))
        self.process = subprocess.Popen(
            [python, "-m", "g2p.learner", peer, pairs, *cpus],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | KEPT_MEMORY | {"PYTHONPATH": f"{HERE}:{ROOT / 'src'}", "KERAS_BACKEND": "jax"},
        )  # fmt: skip
        self.versions = self._answer()


def compare(pairs: Pairs, test: list[Word], folder: Path) -> dict[str, Any]:
    """Seeds that are in the folder already are not learnt again."""
    folder.mkdir(parents=True, exist_ok=True)
    found = results(folder) or dict(recipe=SMALL.as_dict(), versions={}, seeds=[])
    if found["recipe"] != SMALL.as_dict():
        raise SystemExit(f"{folder / RESULTS} is of another recipe, {found['recipe']}: take another folder")
    missing = [seed for seed in SEEDS if seed not in [one["seed"] for one in found["seeds"]]]
    if not missing:
        return found
    np.savez(folder / "pairs.npz", **pairs._asdict())
    learners = [Learner(peer, folder / "pairs.npz") for peer in PEERS]
    try:
        for learner in learners:
            found["versions"] |= learner.versions
        for seed in missing:
            found["seeds"].append(dict(seed=seed, peers=learnt(learners, seed, test, folder)))
            (folder / RESULTS).write_text(json.dumps(found, indent=1) + "\n")
    finally:
        for learner in learners:
            learner.close()
    return found


def alike(losses: dict[str, float], seed: int) -> None:
    """From the same weights and batches, float32's rounding moves the mean loss of an epoch by far less than this."""
    every = np.array(list(losses.values()))
    if not every.max() <= 1.01 * every.min():
        raise SystemExit(f"seed {seed}: expected all to learn alike; losses of the first epoch are {losses}")


def results(folder: Path) -> dict[str, Any] | None:
    file = folder / RESULTS
    return json.loads(file.read_text()) if file.exists() else None


def learnt(learners: list[Learner], seed: int, test: list[Word], folder: Path) -> dict[str, Any]:
    """Of each library its losses and seconds, epoch by epoch, in which they take turns, and its scores."""
    import everystep
    from g2p.keras_learner import named_weights
    from g2p.training import built

    model = built(replace(SMALL, seed=seed))
    first = folder / "first.npz"
    np.savez(first, **named_weights(model))
    found: dict[str, Any] = {learner.peer: dict(losses=[], seconds=[]) for learner in learners}
    for learner in learners:
        learner.ask(start=seed, weights=str(first))
    for number in range(SMALL.epochs):
        turn = number % len(learners)
        for learner in learners[turn:] + learners[:turn]:
            loss, seconds = learner.ask(epoch=number)
            found[learner.peer]["losses"].append(loss)
            found[learner.peer]["seconds"].append(seconds)
            print(f"seed {seed}, epoch {number + 1}, {learner.peer}: loss {loss:.4f}, {seconds:.1f} s", flush=True)
        alike({peer: one["losses"][0] for peer, one in found.items()}, seed)
    for learner in learners:
        last = folder / f"{learner.peer}-{seed}.npz"
        learner.ask(save=str(last))
        with np.load(last) as weights:
            for layer in model.layers:
                layer.set_weights([weights[f"{layer.name}.{k}"] for k in range(len(layer.weights))])
        found[learner.peer]["scores"] = score(test, said(everystep.from_keras(model), test))._asdict()
    return found
