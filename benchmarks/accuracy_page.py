"""The page and the chart of benchmarks/accuracy.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import errors
import report
from problem import LAYERS

UNIT = 2.0**-24  # the relative error of rounding one number to float32
LONGEST_LOOP = 10_000  # steps; beyond, the engine in float64 says what is right
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # an engine that has one has those after it


def name_of(row: dict[str, Any]) -> str:
    names = {"everystep": "everystep, {which}", "numpy": "NumPy {which}", "pytorch": "PyTorch {which}"}
    return names.get(row["library"], "JAX {which}").format(**row)


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
        long = " (dashed: long memory)" if layer != "simple_rnn" else ""
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
