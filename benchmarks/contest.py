"""Peers in processes of their own, which take turns: what one of them does while another is timed is nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cases import Case
from oracle import check, reference
from problem import LAYERS, Problem
from report import NAMES, OURS, ROOT
from results import Row

HERE = Path(__file__).resolve().parent
VENVS = {"pytorch": ".venv-bench", "onnx_runtime": ".venv-bench", "keras_torch": ".venv-bench",
         "keras_tensorflow": ".venv-bench-tensorflow"}  # fmt: skip
FORWARD_ONLY = ("onnx_runtime",)


class Effort(NamedTuple):
    turns: int  # of each peer
    turn: float  # seconds; always one call at least
    allowance: float  # seconds that a peer may take for a case: a slow one gets fewer turns
    trial: float  # seconds that each mode of a peer is tried for
    tries: bool  # whether modes and numbers of threads are tried at all; else it is the first mode, and all threads


FULL = Effort(turns=9, turn=0.25, allowance=5, trial=0.1, tries=True)
QUICK = Effort(turns=2, turn=0.05, allowance=0.5, trial=0.02, tries=False)
FEWEST_TURNS = 2
LONG = 1.0  # seconds: such a call needs no other before it, to warm up

# Memory that a call frees stays with the process, where the next call finds it: else large calls spend their time in
# getting pages from the system, PyTorch's training up to half of it. Only glibc knows these.
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}


class Worker:
    """A peer's process, on so many CPUs. It runs only while it is asked something."""

    def __init__(self, peer: str, cpus: list[int], memory: dict[str, str]) -> None:
        python = ROOT / VENVS.get(peer, ".venv") / "bin" / "python"
        self.peer, self.threads = peer, len(cpus)
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", peer, *map(str, cpus)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            # The path is for those that have no everystep: to know what a cell is.
            env=os.environ | memory | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        self.versions = self._answer()

    def ask(self, **request: Any) -> Any:
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.peer} died with exit status {self.process.wait()}; its last words are above")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Ready(NamedTuple):
    """A worker that has prepared a case, in the mode that is its fastest."""

    worker: Worker
    mode: str
    seconds: float  # of a call


class Peer:
    """One that takes turns. Those that are not ours have a worker on one CPU and one on all; the faster one is timed.

    Ours is always on all of them: how many threads it takes is its own choice, and part of what is measured.
    """

    def __init__(self, name: str, cpus: list[int], memory: dict[str, str], effort: Effort) -> None:
        self.name, self.effort = name, effort
        one = effort.tries and name not in OURS and len(cpus) > 1
        self.workers = [Worker(name, some, memory) for some in ([cpus, cpus[:1]] if one else [cpus])]

    @property
    def versions(self) -> dict[str, str]:
        found: dict[str, str] = self.workers[0].versions
        return found

    def prepare(self, case: Case, problem: Problem, truth: dict[str, np.ndarray]) -> Ready:
        tried = []
        with tempfile.TemporaryDirectory() as folder:
            for worker in self.workers:
                file = f"{folder}/results.npz"
                mode, seconds = worker.ask(prepare=case.cell, shape=case.shape, gradients=case.gradients, save=file,
                                           trial=self.effort.trial, modes=None if self.effort.tries else 1)  # fmt: skip
                with np.load(file) as results:
                    check(NAMES[self.name], problem, case.gradients, results, truth)
                tried.append(Ready(worker, mode, seconds))
        return min(tried, key=lambda one: one.seconds)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def takes_part(round: int, turns: int, rounds: int) -> bool:
    """Whether one of `turns` turns, spread evenly over `rounds` rounds, is in this round."""
    return (round + 1) * turns // rounds > round * turns // rounds


def turns_of(seconds: float, effort: Effort) -> int:
    """How many turns a peer gets whose call takes so long. A turn has a call at least, and one before, to warm up."""
    turn = seconds if seconds >= LONG else max(1.2 * effort.turn, 2 * seconds)
    return min(effort.turns, max(FEWEST_TURNS, int(effort.allowance / turn)))


def measure(peers: list[Peer], case: Case, effort: Effort) -> list[Row]:
    problem = Problem(LAYERS[case.cell], case.shape)
    truth = reference(problem, case.gradients)
    entrants = [peer for peer in peers if not (case.gradients and peer.name in FORWARD_ONLY)]
    ready = {peer.name: peer.prepare(case, problem, truth) for peer in entrants}
    times: dict[str, list[float]] = {name: [] for name in ready}
    names = list(ready)
    for round in range(effort.turns):
        first = round % len(names)
        for name in names[first:] + names[:first]:
            if takes_part(round, turns_of(ready[name].seconds, effort), effort.turns):
                times[name] += ready[name].worker.ask(time=effort.turn, cold=ready[name].seconds >= LONG)
    rows = []
    for name, taken in times.items():
        low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
        seconds = (float(f"{value:.4g}") for value in (low, median, high))
        rows.append(Row(case, name, ready[name].worker.threads, ready[name].mode, len(taken), *seconds))
    return rows


def versions(peers: list[Peer]) -> dict[str, str]:
    found: dict[str, str] = {}
    for peer in peers:
        for name, version in peer.versions.items():
            if found.setdefault(name, version) != version:
                raise SystemExit(
                    f"{NAMES[peer.name]} has {name} {version}, another peer {found[name]}: run `make lock`"
                )
    return found
