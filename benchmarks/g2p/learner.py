"""One library learning the small recipe, for small.py: `python -m g2p.learner PEER PAIRS CPU...`.

Tells its versions, then answers lines of JSON:
    {"start": seed, "weights": path}: from these weights, with this seed's batches; null. All shapes of its batches have
        been compiled then.
    {"epoch": number}: trains for an epoch; its mean loss and its seconds
    {"save": path}: keeps the weights; null
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from answers import serve

from g2p.batches import Pairs, batches_of, steps_of
from g2p.recipe import SMALL

PEERS = ("keras_everystep", "keras_jax", "pytorch")


def main() -> None:
    os.sched_setaffinity(0, map(int, sys.argv[3:]))  # before there are threads
    peer, file = sys.argv[1:3]
    with np.load(file) as found:
        of = Pairs(**found)
    steps = SMALL.epochs * steps_of(of, SMALL.batch)
    learner: Any
    if peer == "pytorch":
        from g2p.pytorch_learner import PytorchLearner, versions

        learner = PytorchLearner(SMALL, steps)
    else:
        from g2p.keras_learner import KerasLearner, versions

        learner = KerasLearner(peer == "keras_jax", SMALL, steps)
    seed = 0
    compiled: set[tuple[int, ...]] = set()

    def start(weights: dict[str, Any]) -> None:
        learner.start(weights)
        if peer != "pytorch":
            every = [batch for number in range(SMALL.epochs) for batch in batches_of(of, SMALL.batch, seed, number)]
            by_shape = {batch.source.shape + batch.wanted.shape: batch for batch in every}
            learner.epoch([batch for shape, batch in by_shape.items() if shape not in compiled])
            compiled.update(by_shape)
            learner.start(weights)

    def answer(request: dict[str, Any]) -> Any:
        nonlocal seed
        if "start" in request:
            seed = request["start"]
            with np.load(request["weights"]) as weights:
                start(dict(weights))
            return None
        if "epoch" in request:
            return learner.epoch(batches_of(of, SMALL.batch, seed, request["epoch"]))
        np.savez(request["save"], **learner.weights())
        return None

    serve(versions(), answer)


if __name__ == "__main__":
    main()
