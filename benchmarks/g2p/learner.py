"""One library learning the small recipe, for contest.py: `python -m g2p.learner PEER PAIRS CPU...`.

Tells its versions, then answers lines of JSON:
    {"start": seed, "weights": path}: from these weights, with this seed's batches; null
    {"epoch": number}: trains for an epoch; its mean loss and its seconds
    {"save": path}: keeps the weights; null
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
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
    if peer == "pytorch":
        from g2p.pytorch_learner import PytorchLearner, versions

        def learner(*arguments: Any) -> Any:
            return PytorchLearner(*arguments)
    else:
        from g2p.keras_learner import KerasLearner, versions

        def learner(*arguments: Any) -> Any:
            return KerasLearner(peer == "keras_jax", *arguments)

    now: Any = None
    recipe = SMALL

    def answer(request: dict[str, Any]) -> Any:
        nonlocal now, recipe
        if "start" in request:
            recipe = replace(SMALL, seed=request["start"])
            with np.load(request["weights"]) as weights:
                now = learner(recipe, recipe.epochs * steps_of(of, recipe.batch), dict(weights))
            return None
        if "epoch" in request:
            return now.epoch(batches_of(of, recipe.batch, recipe.seed, request["epoch"]))
        np.savez(request["save"], **now.weights())
        return None

    serve(versions(), answer)


if __name__ == "__main__":
    main()
