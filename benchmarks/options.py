"""Times what each option of a run costs, relative to the plain layer, on the engine from NumPy: `make options`.

A call with the option and a plain one take turns, many times over; the cost is the median of the ratios of neighbours.
Before an option is timed, its results are compared with the textbook loop of tests/equations in float64.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import report
from oracle import check, reference
from peers import engine
from problem import LAYERS, Layer, Problem, Shape
from timing import timed
from tqdm import tqdm

from everystep import cells
from everystep.engine import engine_info

SHAPES = (Shape(32, 100, 64, 256), Shape(1, 100, 32, 64))


class Option(NamedTuple):
    name: str
    problems: tuple[Problem, ...]  # several run side by side
    most: float | None = None  # the cost that we want it to stay within
    share: float | None = None  # of the steps, where the cost should go by it


def options_of(layer: Layer, shape: Shape) -> list[Option]:
    (B, T, I, H), G = shape, len(layer.cell.gates)
    random = np.random.default_rng(1)

    def option(name: str, most: float | None = None, share: float | None = None, **options: Any) -> Option:
        return Option(name, (Problem(layer, shape, options),), most, share)

    def arriving(*size: int) -> np.ndarray:
        return random.standard_normal(size, np.float32)

    def dropout(*size: int) -> np.ndarray:
        rate = 0.2
        return ((random.random(size) >= rate) / (1 - rate)).astype(np.float32)

    lengths = random.permutation(np.ceil((np.arange(B) + 0.5) / B * T))  # spread evenly over 1..T
    ragged = np.arange(T) < lengths[:, None]
    additions, their_gradients = {"gates": True}, {"d_gates": arriving(B, T, G, H)}
    if len(layer.cell.states) > 1:
        additions["cells"], their_gradients["d_cells"] = True, arriving(B, T, H)
    found = [
        option("mask, every step true", 1.1, mask=np.ones((B, T), bool)),
        option("mask, half of the steps true", 1.1, mask=random.random((B, T)) < 0.5),
        option("ragged batch", 1.15, float(ragged.mean()), mask=ragged),
        option("resets, at a tenth of the steps", resets=random.random((B, T)) < 0.1),
        option("dropout, a mask for each gate", dropout=dropout(G, B, I)),
        option("recurrent dropout", 1.2, recurrent_dropout=dropout(G, B, H)),
        Option("all additions returned", (Problem(layer, shape, additions, their_gradients),), 1.3),
        option("go_backwards", backwards=True),
        Option("two directions side by side", (Problem(layer, shape), Problem(layer, shape, {"backwards": True})), 2.0),
        option("activation relu", activation="relu"),
        option("activation gelu", activation="gelu"),
    ]
    if G > 1:
        found.append(option("recurrent activation hard_sigmoid", recurrent_activation="hard_sigmoid"))
    if layer.cell is cells.GRU:
        before = layer._replace(cell=cells.GRU_RESET_BEFORE)
        found.append(Option("reset_after=False", (Problem(before, shape),)))
    return found


def call_of(option: Option, gradients: bool) -> Any:
    if len(option.problems) > 1:
        return engine.prepare_together(option.problems, gradients)
    return engine.prepare(option.problems[0], gradients)[0]


def compare(name: str, p: Problem) -> None:
    truth = reference(p)
    for gradients in (False, True):
        call, arrays = engine.prepare(p, gradients)
        check(f"{p.layer.name}, {name}", p, gradients, dict(zip(p.names, arrays(call()), strict=False)), truth)


def measure(layer: Layer, shape: Shape, limit: float) -> list[dict[str, Any]]:
    found = []
    options = options_of(layer, shape)
    plain = Problem(layer, shape)
    calls = {gradients: engine.prepare(plain, gradients)[0] for gradients in (False, True)}
    for option in tqdm(options, desc=f"{layer.name}, B {shape.B}", disable=None):
        for p in option.problems:
            compare(option.name, p)
        for gradients, call in calls.items():
            plain_taken, taken = map(np.asarray, timed([call, call_of(option, gradients)], limit))
            low, cost, high = np.quantile(taken / plain_taken, (0.25, 0.5, 0.75)).tolist()
            found.append(dict(layer=layer.name, shape=shape, gradients=gradients, option=option.name, most=option.most,
                              share=option.share, pairs=len(taken), plain=float(np.median(plain_taken)), cost=cost,
                              quartiles=(low, high)))  # fmt: skip
    return found


def markdown(found: dict[str, Any]) -> str:
    """One table: options down, shapes and layers across, in each field forward, then with all gradients."""
    rows = found["rows"]
    columns = list(dict.fromkeys((row["shape"], row["layer"]) for row in rows))
    fields = {(row["option"], (row["shape"], row["layer"]), row["gradients"]): row for row in rows}
    plain = {(row["shape"], row["layer"], row["gradients"]): report.duration(row["plain"]) for row in rows}
    shares = dict.fromkeys(f"{row['share']:.2f} at B {row['shape'][0]}" for row in rows if row["share"])
    lines = [
        *report.heading("What each option costs", found),
        "How long a call takes with the option, relative to the plain layer: forward · forward and all gradients. Each "
        "is the median of the ratios of calls that took turns; the first row is the plain layer's median.",
        f"Shapes are {', then '.join(f'B {B}, T {T}, I {I}, H {H}' for B, T, I, H in dict(columns))}. "
        "*Target* is what an option should stay within; what does not is **bold**. "
        f"A ragged batch has sequences of 1 to T steps, spread evenly; its share of true steps is "
        f"{' and '.join(shares)}.",
        "",
        f"| | target | {' | '.join(f'{name}, B {shape[0]}' for shape, name in columns)} |",
        f"|:--|:--|{'--:|' * len(columns)}",
    ]
    both = (False, True)
    times = [" · ".join(plain[*column, gradients] for gradients in both) for column in columns]
    lines.append(f"| plain | | {' | '.join(times)} |")
    for name, row in {row["option"]: row for row in rows}.items():
        target = "" if row["most"] is None else f"{row['most']:g}" + (" × share" if row["share"] else "")
        costs = [
            " · ".join(cost(fields[name, column, gradients]) for gradients in both)
            if (name, column, False) in fields
            else "–"
            for column in columns
        ]
        lines.append(f"| {name} | {target} | {' | '.join(costs)} |")
    return "\n".join(lines) + "\n"


def cost(row: dict[str, Any]) -> str:
    missed = row["most"] is not None and row["cost"] > row["most"] * (row["share"] or 1)
    return f"**{row['cost']:.2f}**" if missed else f"{row['cost']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--quick", action="store_true", help="few calls: a look, no measurement")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/options.md and .json")
    arguments = parser.parse_args()
    report.warn_if_busy()
    limit = 0.1 if arguments.quick else 2
    rows = [row for shape in SHAPES for cell in arguments.cell for row in measure(LAYERS[cell], shape, limit)]
    found = report.circumstances(engine.versions(), engine_info()["num_threads"]) | dict(rows=rows)
    print(markdown(found))
    if arguments.write:
        report.write("options", found, markdown(found))


if __name__ == "__main__":
    main()
