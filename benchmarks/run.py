"""Times the LSTM forward, and forward with all gradients, beside its peers: `make bench`.

Each peer is a process of its own, stopped while another one runs, so that threads which spin while they wait disturb
nobody. The peers take turns, many times over; the tables show the median and the quartiles of all calls. Before a peer
is timed, its results are compared with the textbook loop of tests/equations.py in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import report
from problem import GRADIENTS, Problem, Shape
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "tests"))

import equations  # noqa: E402

SHAPES = ("1,1,32,64", "1,100,32,64", "32,100,64,256", "64,200,128,512", "1,100,256,1024")
OURS = ("engine", "keras_everystep")
PEERS = (*OURS, "torch_lstm", "onnx_runtime", "keras_jax")
FORWARD_ONLY = ("onnx_runtime",)
IN_BENCH_VENV = ("torch_lstm", "onnx_runtime")


class Worker:
    """A peer's process. It runs only while it is asked something."""

    def __init__(self, peer: str) -> None:
        python = ROOT / (".venv-bench/bin/python" if peer in IN_BENCH_VENV else ".venv/bin/python")
        self.peer = peer
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
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


def reference(problem: Problem) -> dict[str, np.ndarray]:
    """The results in float64."""
    names = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias", "d_h")
    x, h0, c0, kernel, recurrent_kernel, bias, d_h = (getattr(problem, name).astype(np.float64) for name in names)
    weights = {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
    out = equations.lstm(x, (h0, c0), weights)
    found = equations.gradient(out, d_h=d_h)
    return {"h": out.h} | {name: found[name.removeprefix("d_")] for name in GRADIENTS}


def check(peer: str, shape: Shape, gradients: bool, results: Any, truth: dict[str, np.ndarray]) -> None:
    """Stops at a peer that computes something else.

    A sum of n rounded products is off by at most about n epsilon of the sum of their sizes; n is I + H in a step, and
    the gradients of the weights sum over B T of these.
    """
    tolerance = np.finfo(np.float32).eps * (shape.I + shape.H + shape.B * shape.T)
    for name in ("h", *(GRADIENTS if gradients else ())):
        error = np.abs(results[name] - truth[name]).max() / np.abs(truth[name]).max()
        if not error <= tolerance:
            raise SystemExit(f"{peer} disagrees at {shape}: {name} is off by {error:.1e} (allowed: {tolerance:.1e})")


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
    workers: list[Worker], shapes: list[Shape], passes: list[bool], rounds: int, turn: float
) -> list[dict[str, Any]]:
    found = []
    progress = tqdm(total=len(shapes) * len(passes) * rounds, desc="rounds", disable=None)
    for shape in shapes:
        problem = Problem(shape)
        truth = reference(problem)
        for gradients in passes:
            entrants = [worker for worker in workers if not (gradients and worker.peer in FORWARD_ONLY)]
            for worker in entrants:
                with tempfile.NamedTemporaryFile(suffix=".npz") as file:
                    worker.ask(prepare=shape, gradients=gradients, save=file.name)
                    check(worker.peer, shape, gradients, np.load(file.name), truth)
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
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="B,T,I,H")
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--passes", nargs="+", default=("forward", "gradients"), choices=("forward", "gradients"))
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="the CPUs that each peer gets"
    )
    parser.add_argument("--quick", action="store_true", help="few calls: a look, no measurement")
    parser.add_argument("--write", metavar="NAME", help="write docs/benchmarks/NAME.md and .json")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the peers' processes inherit it
    shapes = [Shape(*map(int, shape.split(","))) for shape in arguments.shapes]
    passes = [name == "gradients" for name in arguments.passes]
    rounds, turn = (2, 0.05) if arguments.quick else (15, 0.3)

    if os.getloadavg()[0] > 0.5:
        print("Other programs are busy on this machine: the times below are not to be trusted.", file=sys.stderr)
    limits = roofline(arguments.threads)
    workers: list[Worker] = []
    try:
        for peer in arguments.peers:
            workers.append(Worker(peer))
        measured = measure(workers, shapes, passes, rounds, turn)
    finally:
        for worker in workers:
            worker.close()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    limits = report.best(limits, roofline(arguments.threads))
    versions = {"everystep": commit.stdout.strip() or "unknown"}
    versions |= {name: version for worker in workers for name, version in worker.versions.items()}
    found = report.complete(measured, limits, versions, arguments.threads, OURS)
    print(report.markdown(found))
    if arguments.write:
        folder = ROOT / "docs" / "benchmarks"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{arguments.write}.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / f"{arguments.write}.md").write_text(report.markdown(found))


if __name__ == "__main__":
    main()
