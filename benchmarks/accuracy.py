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
from oracle import equations, reference
from problem import LAYERS, Problem
from report import ROOT
from tqdm import tqdm

from everystep import engine

HERE = Path(__file__).resolve().parent
PYTHON, BENCH_PYTHON = ROOT / ".venv/bin/python", ROOT / ".venv-bench/bin/python"
PEERS = {"engine": PYTHON, "pytorch": BENCH_PYTHON, "onnx_runtime": BENCH_PYTHON, "keras_jax": PYTHON}
FORWARD_ONLY = ("onnx_runtime",)
MEMORIES = {"lstm": ("short", "long"), "gru": ("short", "long"), "simple_rnn": ("short",)}
LENGTHS, GRADIENT_LENGTHS = (10, 100, 1_000, 10_000, 100_000), (10, 100, 1_000)
LONGEST_LOOP = 10_000
UNIT = 2.0**-24  # the relative error of rounding one number to float32
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # an engine that has one has those after it
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


def name_of(row: dict[str, Any]) -> str:
    names = {"everystep": "everystep, {which}", "numpy": "NumPy {which}", "pytorch": "PyTorch {which}"}
    return names.get(row["library"], "JAX {which}").format(**row)


# ---- The page ----


def of_unit(error: float) -> str:
    return f"{error / UNIT:.2g}" if error < 99.5 * UNIT else f"{error / UNIT:.0f}"


def markdown(found: dict[str, Any]) -> str:
    B, I, H = found["shape"]
    lines = [
        *report.heading("How far float32 is from float64", found),
        "Written by `make accuracy`. All libraries get the same float32 inputs, states and weights; what is right is "
        "computed in float64 from these, by the textbook loop of `tests/equations` (beyond "
        f"{LONGEST_LOOP:,} steps by the engine in float64, which agrees with that loop to 1e-12).",
        "",
        "![Errors against the number of steps, and ulp of tanh and sigmoid against their argument](accuracy.png)",
        "",
        "## The output h",
        "",
        f"B {B}, I {I}, H {H}. In units of 2^-24 = 6.0e-8, the relative error of rounding one number: the error's root "
        "mean square over all steps, relative to that of h · its largest over all steps, relative to the largest h · "
        "its largest at the last step, relative to the largest h there. *Short memory*: states fade within a few "
        f"steps. *Long memory*: the gate that keeps the state has the bias {errors.REMEMBERS:g}, and sigmoid(6) is "
        "0.9975, so that an error stays for hundreds of steps; its recurrent kernel is "
        f"{errors.WEAKER:g} times the other's, since a strong one together with a long memory blows up every error, in "
        "every library.",
    ]
    rows = found["runs"]
    for layer, memory in dict.fromkeys((row["layer"], row["memory"]) for row in rows):
        lines += table(f"{LAYERS[layer].name}, {memory} memory", rows, layer, memory, of_h)
    lines += [
        "",
        "## The gradients",
        "",
        "Of x, of the first states and of each weight, from a random gradient of h. The worst of them, in the same "
        "units: the error's root mean square relative to the gradient's · the largest error relative to the largest "
        "gradient.",
    ]
    rows = [row for row in rows if "gradients" in row]
    for layer, memory in dict.fromkeys((row["layer"], row["memory"]) for row in rows):
        lines += table(f"{LAYERS[layer].name}, {memory} memory", rows, layer, memory, of_gradients)
    return "\n".join([*lines, *functions_section(found["functions"])]) + "\n"


def of_h(row: dict[str, Any]) -> str:
    return " · ".join(map(of_unit, (row["all"]["rms"], row["all"]["largest"], row["last"]["largest"])))


def of_gradients(row: dict[str, Any]) -> str:
    return " · ".join(of_unit(worst_gradient(row, measure)) for measure in ("rms", "largest"))


def worst_gradient(row: dict[str, Any], measure: str) -> float:
    return max(of[measure] for of in row["gradients"].values())


def table(title: str, rows: list[dict[str, Any]], layer: str, memory: str, field: Any) -> list[str]:
    rows = [row for row in rows if (row["layer"], row["memory"]) == (layer, memory)]
    lengths = list(dict.fromkeys(row["T"] for row in rows))
    lines = ["", f"| {title} |{'|'.join(f' T {T:,} ' for T in lengths)}|", f"|:--|{'--:|' * len(lengths)}"]
    for peer in dict.fromkeys(row["peer"] for row in rows):
        fields = {row["T"]: field(row) for row in rows if row["peer"] == peer}
        lines.append(f"| {report.NAMES[peer]} | {' | '.join(fields[T] for T in lengths)} |")
    return lines


def functions_section(rows: list[dict[str, Any]]) -> list[str]:
    ours = next(row for row in rows if row["library"] == "everystep")
    others = next(row for row in rows if row["library"] != "everystep")
    lines = [
        "",
        "## tanh and sigmoid",
        "",
        f"In ulp, the distance of neighbouring float32: {share(ours)} for everystep, {share(others)} for the others. "
        "Each field is the largest error (and where it is) · the share of results that are the nearest float32. NumPy "
        "has no sigmoid; 1 / (1 + exp(-x)) in float32 is what people write. The engine promises 2 ulp.",
        "",
        "| | tanh | sigmoid |",
        "|:--|--:|--:|",
    ]
    for name in dict.fromkeys(map(name_of, rows)):
        of = {row["function"]: row for row in rows if name_of(row) == name}
        lines.append(f"| {name} | {' | '.join(ulp_field(of[function]) for function in ('tanh', 'sigmoid'))} |")
    wrong = [f"{name_of(row)} {row['function']}" for row in rows if not row["limits"]]
    flush = sorted({name_of(row).partition(",")[0] for row in rows if row["flushed"]})
    return [
        *lines,
        "",
        "Results that are 0 where the nearest number is subnormal, below 1.2e-38, count as right; "
        f"{', '.join(flush)} return some of these. NaN gives NaN and the infinities give the limits"
        + (f", but for {', '.join(wrong)}." if wrong else ", in all of them."),
    ]


def share(row: dict[str, Any]) -> str:
    return "over all float32" if row["stride"] == 1 else f"over every {row['stride']}th float32"


def ulp_field(row: dict[str, Any]) -> str:
    return f"{row['worst']:.2f} (at {row['at']:.4g}) · {row['right']:.2%}"


# ---- The chart ----

COLORS = {"engine": "#1f5fbf", "pytorch": "#e8743b", "onnx_runtime": "#3b9b5c", "keras_jax": "#a04bb5"}
COLORS |= {"everystep": "#1f5fbf", "numpy": "#777777", "jax": "#a04bb5"}
STYLES = {"short": "-", "long": "--"}


def draw(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    for axis, layer in zip(axes[0], LAYERS, strict=True):
        lines_over_T(axis, [row for row in found["runs"] if row["layer"] == layer], lambda row: row["all"]["rms"])
        long = " (dashed: long memory)" if "long" in MEMORIES[layer] else ""
        axis.set_title(f"{LAYERS[layer].name}: error of h over all steps{long}", fontsize=11)
        axis.set_ylabel("rms error / rms of h")
    rows = [row for row in found["runs"] if row["layer"] == "lstm" and "gradients" in row]
    lines_over_T(axes[1, 0], rows, lambda row: worst_gradient(row, "rms"))
    axes[1, 0].set_title("LSTM: error of the worst gradient (dashed: long memory)", fontsize=11)
    axes[1, 0].set_ylabel("rms error / rms of the gradient")
    for axis, function in zip(axes[1, 1:], ("tanh", "sigmoid"), strict=True):
        draw_ulp(axis, [row for row in found["functions"] if row["function"] == function])
        axis.set_title(f"{function}: largest error among x of one exponent", fontsize=11)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in (axes[0, 0], axes[1, 1]):  # the others have the same lines
        axis.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def lines_over_T(axis: Any, rows: list[dict[str, Any]], value: Any) -> None:
    for peer, memory in dict.fromkeys((row["peer"], row["memory"]) for row in rows):
        of = [row for row in rows if (row["peer"], row["memory"]) == (peer, memory)]
        label = report.NAMES[peer] if memory == "short" else None
        axis.plot([row["T"] for row in of], [value(row) for row in of], STYLES[memory], marker="o", ms=3.5,
                  color=COLORS[peer], label=label, lw=2 if peer == "engine" else 1.3)  # fmt: skip
    axis.axhline(UNIT, color="black", lw=0.8, ls=":")
    axis.annotate("rounding of one number", (0.99, UNIT), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                  fontsize=8)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="steps T")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.3)  # room for the legend


def draw_ulp(axis: Any, rows: list[dict[str, Any]], bias: int = 127) -> None:
    exponents = range(-16, 8)
    for row in rows:
        ours = row["library"] == "everystep"
        styles = dict(zip(INSTRUCTION_SETS, ("-", "--", ":"), strict=True))
        axis.plot([2.0**e for e in exponents], [row["by_exponent"][bias + e] for e in exponents],
                  styles.get(row["which"], "-"), color=COLORS[row["library"]], lw=2 if ours else 1.3,
                  label=name_of(row))  # fmt: skip
    axis.axhline(2, color="black", lw=0.8, ls=":")
    axis.annotate("what the engine promises", (0.01, 2), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    axis.set(xlabel="|x|", ylabel="ulp", ylim=(0, 1.35 * axis.get_ylim()[1]))
    axis.set_xscale("log", base=2)


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
