"""Trains the paper's model and the same with attention, compares three libraries on a small one, and writes the page.

    make g2p                         all of it; takes hours on a few cores
    make g2p G2P_ARGS='plain'        only this part: plain, attention or small; the page shows what there is
    make g2p G2P_ARGS='page'         the page alone, from what was trained before

Everything is kept in a folder, build/g2p. What is there is not done again, and a training that was stopped goes on
after its last epoch.
"""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import report
from report import ROOT

from g2p import page, small, training
from g2p.batches import pairs
from g2p.decoding import said, scores
from g2p.recipe import FULL
from g2p.words import Word, cmudict, split

DECODINGS: dict[str, dict[str, Any]] = {"greedy": {}, "4 beams": {"method": "beam", "beam_width": 4}}


def judged(folder: Path, test: list[Word]) -> dict[str, Any]:
    """The history of a training, and the scores of its best model."""
    import everystep

    found = training.read_history(folder)
    model = everystep.load_model(folder / training.BEST)
    return dict(
        recipe=found["recipe"], history=found["history"], best=training.best(found["history"])["epoch"],
        scores={
            name: {which: one._asdict() for which, one in scores(test, said(model, test, **options)).items()}
            for name, options in DECODINGS.items()
        },
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*FULL, "small", "page"], metavar="part")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "g2p")
    parser.add_argument("--look", action="store_true", help="print the page, and write nothing")
    arguments = parser.parse_args()
    parts = arguments.parts or [*FULL, "small"]
    words = split(cmudict())
    train, development = pairs(words["train"]), pairs(words["development"])
    for name in FULL:
        if name in parts:
            training.train(FULL[name], train, development, arguments.folder / name)
    if "small" in parts:
        small.compare(train, words["test"], arguments.folder / "small")
    begun = [name for name in FULL if (arguments.folder / name / training.BEST).exists()]
    found = report.circumstances(
        {name: version(name) for name in ("keras", "jax", "numpy")}, len(os.sched_getaffinity(0))
    )
    found |= dict(
        cmudict=version("cmudict"),
        words={name: len(some) for name, some in words.items()},
        models={name: judged(arguments.folder / name, words["test"]) for name in begun},
        small=small.results(arguments.folder / "small"),
    )
    if found["small"]:
        found["versions"] |= found["small"]["versions"]
    text = page.markdown(found)
    print(text)
    if not arguments.look:
        report.write("g2p", found, text)


if __name__ == "__main__":
    main()
