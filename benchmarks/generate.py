"""Times `generate` of an encoder-decoder, in tokens a second, beside others' loops: `make generate-bench`.

Writes docs/benchmarks/generate.md and .json. A call is all of it: from the source's ids to tokens. Ways to decode are
processes of their own, which take turns, and each is stopped while another one runs; but for everystep, each is tried
in every mode of its own, on one CPU and on all, and the fastest is timed. All must find the same tokens.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
from typing import Any, NamedTuple

import decoding
import numpy as np
import report
from contest import HERE, VENVS, Worker
from report import ROOT
from tqdm import tqdm

OURS = "engine"
NAMES = {
    OURS: "everystep, `generate`",
    "pytorch": "PyTorch, a step at a time",
    "keras_step": "Keras on JAX, a step under jit at a time",
    "keras_loop": "Keras on JAX, all steps under one jit",
    "keras_predict": "Keras on JAX, `predict` for each token",
}
GREEDY_ONLY = ("keras_predict",)
BATCHES, METHODS = (1, 64), ("greedy", "beam")
# How many times as fast generate is to be, greedy.
GOALS = {(1, "pytorch"): 5, (1, "keras_step"): 3, (1, "keras_predict"): 100, (64, "pytorch"): 2}

Case = tuple[str, int, str]  # model, batch, method


class Decoder(Worker):
    """A way to decode, on so many CPUs."""

    def __init__(self, peer: str, cpus: list[int]) -> None:
        self.peer, self.threads = peer, len(cpus)
        python = ROOT / VENVS.get(peer, ".venv") / "bin" / "python"
        self.process = subprocess.Popen(
            [python, HERE / "decoder.py", peer, *map(str, cpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        self.versions = self._answer()


class Ready(NamedTuple):
    """One that has prepared a case, in its fastest mode."""

    decoder: Decoder
    mode: str
    tokens: np.ndarray


def prepare(decoders: list[Decoder], folder: str, case: Case, trial: float) -> Ready:
    """The fastest of one peer's processes."""
    tried = []
    for decoder in decoders:
        mode, seconds, tokens = decoder.ask(prepare=[folder, *case], trial=trial)
        tried.append((seconds, Ready(decoder, mode, np.array(tokens))))
    return min(tried, key=lambda one: one[0])[1]


def compare(ready: list[Ready], case: Case) -> None:
    first, *others = ready
    for one in others:
        if not np.array_equal(one.tokens, first.tokens):
            rows = np.flatnonzero((one.tokens != first.tokens).any(axis=1)).tolist()
            raise SystemExit(
                f"{case}: {NAMES[one.decoder.peer]} finds other tokens than {NAMES[first.decoder.peer]} in rows {rows}"
            )
    if first.tokens.shape != (case[1], decoding.MOST) or first.tokens.min() < decoding.SPECIAL:
        raise SystemExit(f"{case}: tokens are not {decoding.MOST} of each row, free of start, end and padding")


def measure(peers: dict[str, list[Decoder]], folder: str, cases: list[Case], effort: argparse.Namespace) -> Any:
    """A row for each case and peer: the median of its calls' seconds, and quartiles."""
    rows = []
    for case in tqdm(cases, desc="cases", disable=None):
        able = [peer for peer in peers if case[2] == "greedy" or peer not in GREEDY_ONLY]
        ready = [prepare(peers[peer], folder, case, effort.trial) for peer in able]
        compare(ready, case)
        times: list[list[float]] = [[] for _ in ready]
        for round in range(effort.rounds):
            for k in np.roll(range(len(ready)), round):
                times[k] += ready[k].decoder.ask(time=effort.seconds)
        model, batch, method = case
        for one, taken in zip(ready, times, strict=True):
            low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
            rows.append(dict(model=model, batch=batch, method=method, peer=one.decoder.peer, mode=one.mode,
                             threads=one.decoder.threads, median=median, quartiles=(low, high),
                             count=len(taken)))  # fmt: skip
    return rows


# ---- The page ----


def find(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    return next((row for row in rows if wanted.items() <= row.items()), None)


def markdown(found: dict[str, Any]) -> str:
    rows = found["rows"]
    d = found["shape"]
    goals = "; ".join(f"batch {batch}: {goal} beside {NAMES[peer]}" for (batch, peer), goal in GOALS.items())
    lines = [
        *report.heading("Tokens a second", found),
        f"Written by `make generate-bench`. `generate` of a saved encoder-decoder of the size of the demo's reader of "
        f"dates: LSTM of {d['H']} units, embeddings of {d['E']}, {d['S']} ids to read and {d['L']} of {d['V']} to "
        "write; *plain*, and as the demo has it, with an encoder of both ways and Luong's attention. Weights are "
        "random, the same for all, and all find the same tokens. A call is all of it, from ids to tokens; fields are "
        "tokens a second, of the median of calls in turns, and how many times as fast everystep is. The beam has "
        f"{d['W']} hypotheses, of which the best one's tokens count; the others' loops leave out what hypotheses call "
        "for that end, as here none "
        f"does. Goals, greedy: {goals}.",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        lines += ["", *table([row for row in rows if row["model"] == model], model, d["L"])]
    if missed(rows):
        lines += ["", "Goals that were not reached:", "", *(f"- {line}" for line in missed(rows))]
    lines += [
        "",
        "*All steps under one jit* is no step loop: its number of steps is compiled in, and it does not look for the "
        "end. everystep's threads are its own choice; of the others, the fastest of one thread and all, and of these "
        "modes, was timed:",
        "",
        "| | | " + " | ".join(f"batch {batch}, {method}" for batch in BATCHES for method in METHODS) + " |",
        "|:--|:--" + "|:--" * (len(BATCHES) * len(METHODS)) + "|",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        for peer in dict.fromkeys(row["peer"] for row in rows if row["peer"] != OURS):
            ran = [find(rows, model=model, peer=peer, batch=b, method=m) for b in BATCHES for m in METHODS]
            modes = [", ".join(filter(None, (row["mode"], threads(row["threads"])))) if row else "" for row in ran]
            lines.append(f"| {model} | {NAMES[peer]} | {' | '.join(modes)} |")
    return "\n".join(lines) + "\n"


def threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def table(rows: list[dict[str, Any]], model: str, length: int) -> list[str]:
    cases = [(batch, method) for batch in BATCHES for method in METHODS]
    lines = [
        f"| {model} | " + " | ".join(f"batch {batch}, {method} | " for batch, method in cases) + " |",
        "|:--" + "|--:|--:" * len(cases) + "|",
    ]
    for peer in dict.fromkeys(row["peer"] for row in rows):
        fields = []
        for batch, method in cases:
            row = find(rows, batch=batch, method=method, peer=peer)
            ours = find(rows, batch=batch, method=method, peer=OURS)
            if row is None or ours is None:
                fields += ["–", ""]
                continue
            per_second = batch * length / row["median"]
            fields.append(f"{float(f'{per_second:.3g}'):,.0f}")
            fields.append("" if peer == OURS else times(row["median"] / ours["median"]))
        lines.append(f"| {NAMES[peer]} | {' | '.join(fields)} |")
    return lines


def times(ratio: float) -> str:
    """How many times as fast, bold where it is slower."""
    text = f"{ratio:.3g}" if ratio >= 10 else f"{ratio:.1f}"
    return text if ratio >= 0.995 else f"**{ratio:.2f}**"


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The goals that were not reached, in words."""
    lines = []
    for row in rows:
        goal = GOALS.get((row["batch"], row["peer"]))
        if row["method"] != "greedy" or goal is None:
            continue
        ours = find(rows, model=row["model"], batch=row["batch"], method="greedy", peer=OURS)
        assert ours is not None
        ratio = row["median"] / ours["median"]
        if ratio < goal:
            lines.append(f"{row['model']}, batch {row['batch']}, {NAMES[row['peer']]}: {times(ratio)} of {goal}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", default=[*NAMES][1:], choices=[*NAMES][1:])
    parser.add_argument("--quick", action="store_true", help="few calls: a look; writes nothing")
    arguments = parser.parse_args()
    report.warn_if_busy()
    effort = argparse.Namespace(rounds=2, seconds=0.03, trial=0.02)
    if not arguments.quick:
        effort = argparse.Namespace(rounds=5, seconds=0.08, trial=0.04)
    os.environ["KERAS_BACKEND"] = "jax"
    cpus = sorted(os.sched_getaffinity(0))
    cases = [(model, batch, method) for model in decoding.MODELS for batch in BATCHES for method in METHODS]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        decoding.save(folder)
        peers = {}
        for peer in (OURS, *arguments.peers):
            on = [cpus] if peer == OURS or len(cpus) == 1 else [cpus, cpus[:1]]
            peers[peer] = [Decoder(peer, some) for some in on]
            for decoder in peers[peer]:
                stack.callback(decoder.close)
        versions = {name: version for (one, *_) in peers.values() for name, version in one.versions.items()}
        rows = measure(peers, folder, cases, effort)
    found = report.circumstances(versions, len(cpus))
    shape = dict(S=decoding.S, L=decoding.MOST, V=decoding.V, E=decoding.EMBEDDING, H=decoding.H, W=decoding.W)
    found |= dict(shape=shape, rows=rows)
    print(markdown(found))
    if not arguments.quick:
        report.write("generate", found, markdown(found))


if __name__ == "__main__":
    main()
