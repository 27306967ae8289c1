"""Times a step of Keras's `fit` of a small model: everystep.keras beside stock Keras: `make fit-bench`.

Writes docs/benchmarks/fit.md and .json. The contestants are processes of their own, which take turns, and each is
stopped while another one runs. Before they are timed, their losses are compared, from the same weights and data.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

import fitter
import numpy as np
import report
from contest import HERE, VENVS, Worker
from report import NAMES, ROOT
from tqdm import tqdm

OURS, STOCK = "keras_everystep", "keras_jax"
LAYERS = ("LSTM", "GRU", "SimpleRNN")
TRAINER = "Flatten"  # the model that leaves Keras's trainer alone
TOGETHER = 16  # steps_per_execution, where it is not 1
ONE_BY_ONE = ("keras_torch",)  # Keras takes no other steps_per_execution there
GOAL = 2.0  # times as fast as stock Keras on its fastest backend


class Fitter(Worker):
    def __init__(self, peer: str, python: Path) -> None:
        self.peer = peer
        cpus = map(str, sorted(os.sched_getaffinity(0)))
        self.process = subprocess.Popen(
            [python, HERE / "fitter.py", peer, *cpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        self.versions = self._answer()


def compare(losses: dict[str, list[float]], what: str) -> None:
    """All train alike: from float32's rounding, 300 steps on, to a thousandth."""
    first = np.array(next(iter(losses.values())))
    for peer, found in losses.items():
        if not np.abs(np.array(found) - first).max() <= 1e-3 * first.max():
            raise SystemExit(f"{NAMES[peer]} with {what} trains otherwise: losses {found}, not {first.tolist()}")


def measure(fitters: list[Fitter], layers: list[str], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each contestant and model, of what it was asked: its median and quartiles."""
    models = [(layer, together) for layer in (*layers, TRAINER) for together in (1, TOGETHER)]
    asked: list[tuple[Fitter, dict[str, Any]]] = []
    for layer, together in tqdm(models, desc="compiling", disable=None):
        able = [fit for fit in fitters if together == 1 or fit.peer not in ONE_BY_ONE]
        compare({fit.peer: fit.ask(what="ready", layer=layer, together=together) for fit in able}, layer)
        for fit in able:
            asked.append((fit, dict(what="fit", layer=layer, together=together)))
            if fit.peer in (OURS, STOCK) and together == 1:
                asked.append((fit, dict(what="step", layer=layer, together=1)))
            if fit.peer == OURS and together == 1 and layer != TRAINER:
                asked.append((fit, dict(what="engine", layer=layer, together=1)))
    times: list[list[float]] = [[] for _ in asked]
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for (fit, request), taken in zip(asked, times, strict=True):
            taken += fit.ask(**request, seconds=seconds)
    rows = []
    for (fit, request), taken in zip(asked, times, strict=True):
        low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
        rows.append(dict(peer=fit.peer, **request, median=median, quartiles=(low, high), count=len(taken)))
    return rows


# ---- The page ----


def median(rows: list[dict[str, Any]], peer: str, what: str, layer: str, together: int = 1) -> float:
    wanted = dict(peer=peer, what=what, layer=layer, together=together)
    (row,) = (row for row in rows if wanted.items() <= row.items())
    found: float = row["median"]
    return found


def markdown(found: dict[str, Any]) -> str:
    rows = found["rows"]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    layers = [layer for layer in LAYERS if any(row["layer"] == layer for row in rows)]
    B, T, I, H = found["shape"]
    lines = [
        *report.heading("A step of fit", found),
        f"Written by `make fit-bench`. A recurrent layer of {H} units and Dense(1) on sequences of {T} steps of {I} "
        f"features: Adam, mean squared error, batches of {B}, `fit` on NumPy arrays, all else as Keras has it. Medians "
        f"over epochs of {fitter.STEPS} steps, divided by these; compiling is left out. *Speed* is that of "
        f"everystep.keras relative to this row; the goal is {GOAL:g} beside the fastest. With `steps_per_execution` "
        f"{TOGETHER}, Keras's trainer looks up from its work only every so many steps. *Dense alone* has no recurrent "
        "layer: what Keras's trainer costs.",
    ]
    for layer in layers:
        lines += ["", *table(rows, layer, peers)]
    lines += [
        "",
        "## Where a step's time goes",
        "",
        "*Engine*: its two calls, forward and backward, from NumPy. *Rest of the compiled step*: what the whole step, "
        "under jit and by itself, takes beyond that: the Dense layer, the loss, Adam, XLA's own steps between them. "
        "*Keras's trainer*: what `fit` takes beyond the compiled step: Python, once a step. Only the first is ours.",
        "",
        "| | fit, a step | engine | rest of the compiled step | Keras's trainer |",
        "|:--|--:|--:|--:|--:|",
    ]
    for layer in layers:
        fit, step = (median(rows, OURS, what, layer) for what in ("fit", "step"))
        engine = median(rows, OURS, "engine", layer)
        parts = (fit, engine, step - engine, fit - step)
        lines.append(f"| {layer}, {NAMES[OURS]} | {' | '.join(map(signed, parts))} |")
    for layer in (*layers, TRAINER):
        fit, step = (median(rows, STOCK, what, layer) for what in ("fit", "step"))
        name = "Dense alone" if layer == TRAINER else layer
        lines.append(f"| {name}, {NAMES[STOCK]} | {signed(fit)} | | {signed(step)} | {signed(fit - step)} |")
    lines += [
        "",
        f"Keras's trainer by Python's profiler, which makes all of it slower: functions of a step of {NAMES[OURS]}, by "
        "the time in each itself.",
        "",
        "| | a step |",
        "|:--|--:|",
        *(f"| `{name}` | {report.duration(seconds)} |" for name, seconds in found["profile"]),
    ]
    return "\n".join(lines) + "\n"


def signed(seconds: float) -> str:
    return report.duration(seconds) if seconds >= 0 else f"-{report.duration(-seconds)}"


def table(rows: list[dict[str, Any]], layer: str, peers: list[str]) -> list[str]:
    lines = [
        f"| {layer} | a step | quartiles | speed | steps_per_execution={TOGETHER} | speed | Dense alone |",
        "|:--|--:|:-:|--:|--:|--:|--:|",
    ]
    ours = {together: median(rows, OURS, "fit", layer, together) for together in (1, TOGETHER)}
    for row in sorted(rows, key=lambda row: row["median"]):
        if (row["what"], row["layer"], row["together"]) != ("fit", layer, 1):
            continue
        peer, quartiles = row["peer"], " to ".join(map(report.duration, row["quartiles"]))
        fields = [report.duration(row["median"]), quartiles, speed(row["median"], ours[1])]
        if peer in ONE_BY_ONE:
            fields += ["–", ""]
        else:
            together = median(rows, peer, "fit", layer, TOGETHER)
            fields += [report.duration(together), speed(together, ours[TOGETHER])]
        fields.append(report.duration(median(rows, peer, "fit", TRAINER)))
        lines.append(f"| {NAMES[peer]} | {' | '.join(fields)} |")
    return lines


def speed(seconds: float, ours: float) -> str:
    return "" if seconds == ours else f"{seconds / ours:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=LAYERS, choices=LAYERS)
    parser.add_argument("--peers", nargs="+", default=list(fitter.BACKENDS), choices=fitter.BACKENDS)
    parser.add_argument("--tensorflow", metavar="PYTHON", type=Path, help="of another environment that has TensorFlow")
    parser.add_argument("--quick", action="store_true", help="few steps: a look; writes nothing")
    arguments = parser.parse_args()
    report.warn_if_busy()
    peers = dict.fromkeys((OURS, STOCK, *arguments.peers))
    pythons = {peer: ROOT / VENVS.get(peer, ".venv") / "bin" / "python" for peer in peers}
    if arguments.tensorflow:
        pythons["keras_tensorflow"] = arguments.tensorflow
    rounds, seconds = (1, 0.1) if arguments.quick else (5, 0.6)
    with contextlib.ExitStack() as stack:
        fitters = []
        for peer in peers:
            fitters.append(Fitter(peer, pythons[peer]))
            stack.callback(fitters[-1].close)
        versions = {name: version for fit in fitters for name, version in fit.versions.items()}
        rows = measure(fitters, arguments.layers, rounds, seconds)
        profile = fitters[0].ask(what="profile", layer=arguments.layers[0], together=1, seconds=seconds)
    found = report.circumstances(versions, len(os.sched_getaffinity(0)))
    found |= dict(shape=(fitter.B, fitter.T, fitter.I, fitter.H), rows=rows, profile=profile)
    print(markdown(found))
    if not arguments.quick:
        report.write("fit", found, markdown(found))


if __name__ == "__main__":
    main()
