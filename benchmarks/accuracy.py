"""How far float32 is from float64, here and in other libraries, on the same data and weights: `make accuracy`.

Writes docs/benchmarks/accuracy.md, .json and .png: the error of h over 10 to 100,000 steps, of the gradients over 10 to
1,000, and tanh and sigmoid in ulp, ours over all 2^32 float32. What is right is said by the textbook loop of
tests/equations in float64; for more than 10,000 steps by the engine in float64, which is compared with that loop first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import errors
import numpy as np
import report
from accuracy_page import INSTRUCTION_SETS, LONGEST_LOOP, draw, markdown
from oracle import equations, reference
from problem import Problem
from report import ROOT
from tqdm import tqdm

from everystep import engine

HERE = Path(__file__).resolve().parent
PYTHON, BENCH_PYTHON = ROOT / ".venv/bin/python", ROOT / ".venv-bench/bin/python"
PEERS = {"engine": PYTHON, "pytorch": BENCH_PYTHON, "onnx_runtime": BENCH_PYTHON, "keras_jax": PYTHON}
FORWARD_ONLY = ("onnx_runtime",)
MEMORIES = {"lstm": ("short", "long"), "gru": ("short", "long"), "simple_rnn": ("short",)}
LENGTHS, GRADIENT_LENGTHS = (10, 100, 1_000, 10_000, 100_000), (10, 100, 1_000)
OTHERS = {"numpy": PYTHON, "pytorch": BENCH_PYTHON, "jax": PYTHON}
OTHERS_STRIDE = 15
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}

Array = np.ndarray[Any, np.dtype[Any]]


# ---- Runs ----


@contextmanager
def workers() -> Iterator[dict[str, subprocess.Popen[str]]]:
    def started(peer: str, python: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, HERE / "errors.py", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    found = {peer: started(peer, python) for peer, python in PEERS.items()}
    try:
        yield found
    finally:
        for process in found.values():
            process.kill()
            process.wait()


def answer(peer: str, process: subprocess.Popen[str], **request: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    if request:
        print(json.dumps(request), file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{peer} died with exit status {process.wait()}; its last words are above")
    return json.loads(line)


def exact_h(p: Problem) -> Array:
    """h (B,T,H) in float64."""
    x, *others = (array.astype(np.float64) for array in (p.x, *p.states, *p.weights))
    states, weights = others[: len(p.states)], others[len(p.states) :]
    h: Array = engine.run(engine.pack(p.layer.cell.name, *weights), x, states).h
    if p.shape.T <= LONGEST_LOOP:
        names = ("kernel", "recurrent_kernel", "bias")
        loop = equations.run(p.layer.cell.name, x, states, dict(zip(names, weights, strict=True))).h
        if not off(h, loop)["largest"] < 1e-12:
            raise SystemExit(f"{p.layer.name} at T {p.shape.T}: the engine in float64 is not the textbook loop")
        h = loop
    return h


def off(found: Array, exact: Array) -> dict[str, float]:
    """The largest error and the root of the mean square, relative to those of what is exact."""
    error = found - exact
    return dict(
        largest=float(np.abs(error).max() / np.abs(exact).max()),
        rms=float(np.sqrt(np.square(error).mean() / np.square(exact).mean())),
    )


def runs(lengths: tuple[int, ...], gradient_lengths: tuple[int, ...]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each library, layer, memory and length: of h, and where asked, of the gradients."""
    rows, versions = [], {}
    cases = [(layer, memory, T) for layer, of in MEMORIES.items() for memory in of for T in lengths]
    with workers() as processes, tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "results.npz")
        for peer, process in processes.items():
            versions |= answer(peer, process)
        for layer, memory, T in tqdm(cases, desc="runs", disable=None):
            p, gradients = errors.problem(layer, memory, T), T in gradient_lengths
            exact = reference(p) if gradients else {"h": exact_h(p)}
            for peer, process in processes.items():
                asked = gradients and peer not in FORWARD_ONLY
                answer(peer, process, layer=layer, memory=memory, T=T, gradients=asked, save=path)
                with np.load(path) as found:
                    h, row = found["h"], dict(peer=peer, layer=layer, memory=memory, T=T)
                    row |= dict(all=off(h, exact["h"]), last=off(h[:, -1], exact["h"][:, -1]))
                    if asked:
                        row["gradients"] = {name: off(found[name], exact[name]) for name in p.names[1:]}
                rows.append(row)
    return rows, versions


# ---- Functions ----


def functions(our_stride: int, others_stride: int) -> list[dict[str, Any]]:
    """What ulp.py finds, one process for each core at a time."""
    best = engine.engine_info()["instruction_set"]
    sets = INSTRUCTION_SETS[INSTRUCTION_SETS.index(best) :]
    tasks = [("everystep", PYTHON, name, our_stride, of) for of in sets for name in ("tanh", "sigmoid")]
    tasks += [
        (peer, python, name, others_stride, "") for peer, python in OTHERS.items() for name in ("tanh", "sigmoid")
    ]

    def one(task: tuple[str, Path, str, int, str]) -> dict[str, Any]:
        library, python, name, stride, instruction_set = task
        only = {"EVERYSTEP_NUM_THREADS": "1"} | (
            {"EVERYSTEP_INSTRUCTION_SET": instruction_set} if instruction_set else {}
        )
        command = [python, HERE / "ulp.py", library, name, str(stride)]
        done = subprocess.run(command, env=ENVIRONMENT | only, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{library} {instruction_set} {name} failed:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(tqdm(pool.map(one, tasks), total=len(tasks), desc="ulp", disable=None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few lengths and few float32: a look; writes nothing")
    parser.add_argument("--draw", metavar="PATH", type=Path, help="draw a chart there too")
    arguments = parser.parse_args()
    lengths, strides = (LENGTHS[:3], (1009, 1009)) if arguments.quick else (LENGTHS, (1, OTHERS_STRIDE))
    rows, versions = runs(lengths, GRADIENT_LENGTHS)
    found = report.circumstances({"numpy": np.__version__} | versions, engine.engine_info()["num_threads"])
    found |= dict(shape=(errors.B, errors.I, errors.H), runs=rows, functions=functions(*strides))
    print(markdown(found))
    if not arguments.quick:
        report.write("accuracy", found, markdown(found))
        draw(found, ROOT / "docs" / "benchmarks" / "accuracy.png")
    if arguments.draw:
        draw(found, arguments.draw)


if __name__ == "__main__":
    sys.exit(main())
