"""Times a recurrent layer forward, and forward with all gradients, beside its peers: `make bench`.

Each peer is a process of its own, stopped while another one runs, so that threads which spin while they wait disturb
nobody. The peers take turns, many times over; the tables show the median and the quartiles of all calls. Before a peer
is timed, its results are compared with the textbook loop of tests/equations in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import report
from oracle import check, reference
from problem import LAYERS, Problem, Shape
from report import ROOT
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
SHAPES = ("1,1,32,64", "1,100,32,64", "32,100,64,256", "64,200,128,512", "1,100,256,1024")
OURS = ("engine", "keras_everystep")
PEERS = (*OURS, "pytorch", "onnx_runtime", "keras_jax")
FORWARD_ONLY = ("onnx_runtime",)
IN_BENCH_VENV = ("pytorch", "onnx_runtime")


class Worker:
    """A peer's process. It runs only while it is asked something."""

    def __init__(self, peer: str) -> None:
        python = ROOT / (".venv-bench/bin/python" if peer in IN_BENCH_VENV else ".venv/bin/python")
        self.peer = peer
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},  # what a cell is, for those that have no everystep
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


def roofline(threads: int) -> list[dict[str, Any]]:
    program = ROOT / "build" / "roofline"
    program.parent.mkdir(exist_ok=True)
    compiler = os.environ.get("CXX", "c++")
    options = ["-std=c++20", "-O3", "-march=native", "-pthread"]
    subprocess.run([compiler, *options, HERE / "roofline.cc", "-o", program], check=True)
    found: list[dict[str, Any]] = json.loads(
        subprocess.run([program, str(threads)], check=True, capture_output=True).stdout
    )
    return found


def measure(
    workers: list[Worker], layer: str, shapes: list[Shape], passes: list[bool], rounds: int, turn: float
) -> list[dict[str, Any]]:
    found = []
    progress = tqdm(total=len(shapes) * len(passes) * rounds, desc=LAYERS[layer].name, disable=None)
    for shape in shapes:
        problem = Problem(LAYERS[layer], shape)
        truth = reference(problem)
        for gradients in passes:
            entrants = [worker for worker in workers if not (gradients and worker.peer in FORWARD_ONLY)]
            for worker in entrants:
                with tempfile.NamedTemporaryFile(suffix=".npz") as file:
                    worker.ask(prepare=layer, shape=shape, gradients=gradients, save=file.name)
                    check(worker.peer, problem, gradients, np.load(file.name), truth)
            times: dict[str, list[float]] = {worker.peer: [] for worker in entrants}
            for round in range(rounds):
                first = round % len(entrants)
                for worker in entrants[first:] + entrants[:first]:
                    times[worker.peer] += worker.ask(time=turn)
                progress.update()
            for peer, taken in times.items():
                low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
                found.append(dict(shape=shape, gradients=gradients, peer=peer, calls=len(taken), median=median,
                                  quartiles=(low, high)))  # fmt: skip
    progress.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", default=["lstm"], choices=LAYERS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="B,T,I,H")
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--passes", nargs="+", default=("forward", "gradients"), choices=("forward", "gradients"))
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="the CPUs that each peer gets"
    )
    parser.add_argument("--quick", action="store_true", help="few calls: a look, no measurement")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/CELL.md and .json")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the peers' processes inherit it
    shapes = [Shape(*map(int, shape.split(","))) for shape in arguments.shapes]
    passes = [name == "gradients" for name in arguments.passes]
    rounds, turn = (2, 0.05) if arguments.quick else (15, 0.3)

    report.warn_if_busy()
    limits = roofline(arguments.threads)
    workers: list[Worker] = []
    try:
        for peer in arguments.peers:
            workers.append(Worker(peer))
        measured = {cell: measure(workers, cell, shapes, passes, rounds, turn) for cell in arguments.cell}
    finally:
        for worker in workers:
            worker.close()
    limits = report.best(limits, roofline(arguments.threads))
    versions = {name: version for worker in workers for name, version in worker.versions.items()}
    for cell, rows in measured.items():
        found = report.circumstances(versions, arguments.threads) | report.complete(cell, rows, limits, OURS)
        print(report.markdown(found))
        if arguments.write:
            report.write(cell, found, report.markdown(found))


if __name__ == "__main__":
    main()
