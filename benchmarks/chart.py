"""Results as a picture: for each shape how fast everystep is, its peers are, and the machine can be.

Everything is a speed beside the fastest peer, which stands at 1; longer bars are faster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cases import SEQUENCES
from comparison import Comparison, compared
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from problem import LAYERS
from report import NAMES, OURS
from results import Results
from tables import threads

# Colours that stay apart for the colour-blind (Okabe and Ito); peers have shapes as well.
BARS = {"engine": "#0072B2", "keras_everystep": "#56B4E9"}
SLOWER = {"engine": "#D55E00", "keras_everystep": "#F0A878"}
MARKERS = {
    "pytorch": ("o", "#E69F00"),
    "onnx_runtime": ("s", "#009E73"),
    "keras_jax": ("^", "#CC79A7"),
    "keras_tensorflow": ("X", "#404040"),
    "keras_torch": ("D", "#999999"),
}
MOST = 5.0  # where the axis ends; what is beyond has its number at the edge
HEIGHT, LANE = 0.27, 0.3  # of a bar, and how far below the middle the peers are


def draw(results: Results, path: Path) -> None:
    found = compared(results)
    panels = []
    for cell, layer in LAYERS.items():
        for gradients in (False, True):
            cases = [one for one in found if one.case[::2] == (cell, gradients) and one.case.shape not in SEQUENCES]
            panels.append((f"{layer.name}, {'forward and all gradients' if gradients else 'forward'}", cases))
    panels.append(("LSTM, forward, one long sequence", [one for one in found if one.case.shape in SEQUENCES]))
    rows = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    lines = [max(1, *(len(cases) for _, cases in row)) if row[1:] else max(1, len(row[0][1])) for row in rows]
    figure = Figure(figsize=(11, 1.2 + 0.5 * sum(lines) + 0.6 * len(rows)), layout="constrained", dpi=110)
    axes = figure.subplots(len(rows), 2, sharex=True, squeeze=False, height_ratios=lines)
    for row, pair in zip(axes, rows, strict=True):
        for place, axis in enumerate(row):
            if place < len(pair) and pair[place][1]:
                panel(axis, *pair[place], named=place == 0)
            else:
                axis.axis("off")
    legend(axes[-1][1], found)
    machine, date = results.machine, max(run.date for run in results.runs)
    where = f"{machine['processor']}, {threads(machine['threads'])}, float32, {date}"
    figure.suptitle(f"Speed of a call; the fastest peer is at 1\n{where}")
    figure.savefig(path, metadata={"Software": None})


def panel(axis: Any, title: str, cases: list[Comparison], named: bool) -> None:
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.set_xlim(0, MOST)
    axis.set_ylim(len(cases) - 0.45, -0.55)
    axis.set_yticks(range(len(cases)), [shape_label(one) for one in cases] if named else [])
    axis.tick_params(length=0, labelsize=8.5, labelbottom=True)
    axis.axvline(1, color="black", linewidth=0.8, zorder=1)
    axis.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    for y, one in enumerate(cases):
        for k, peer in enumerate(peer for peer in OURS if peer in one.rows):
            bar(axis, y - 0.3 + k * HEIGHT, peer, one.speed(peer))
        for peer, (marker, colour) in MARKERS.items():
            if peer in one.rows:
                axis.plot(one.speed(peer), y + LANE, marker, color=colour, markersize=6, markeredgecolor="white",
                          markeredgewidth=0.5, clip_on=False, zorder=3)  # fmt: skip
        limit(axis, y, one.roofline())


def bar(axis: Any, y: float, peer: str, speed: float) -> None:
    slower = round(speed, 2) < 1  # as the tables show it
    axis.barh(y, min(speed, MOST), HEIGHT, color=(SLOWER if slower else BARS)[peer], zorder=2)
    axis.text(0.05, y, f"{speed:.2f}", va="center", fontsize=7.5, zorder=4,
              color="white" if peer == "engine" else "black")  # fmt: skip


def limit(axis: Any, y: float, speed: float) -> None:
    if speed <= MOST:
        axis.plot([speed, speed], [y - 0.45, y + 0.42], color="black", linewidth=2.2, solid_capstyle="butt", zorder=3)
    else:
        axis.text(MOST, y + LANE, f"limit {speed:.0f} ▸", ha="right", va="center", fontsize=7.5)


def shape_label(one: Comparison) -> str:
    return "  ".join(f"{letter} {size}" for letter, size in one.case.shape._asdict().items())


def legend(axis: Any, found: list[Comparison]) -> None:
    shown: list[Any] = [Patch(color=BARS[peer], label=NAMES[peer]) for peer in OURS]
    shown += [Patch(color=SLOWER[peer], label=f"{NAMES[peer]}: slower") for peer in OURS]
    for peer, (marker, colour) in MARKERS.items():
        if any(peer in one.rows for one in found):
            shown.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=NAMES[peer]))
    shown.append(Line2D([], [], color="black", linewidth=2.2, label="what the machine allows (roofline)"))
    axis.axis("off")
    axis.legend(handles=shown, loc="center left", fontsize=9, frameon=False)
