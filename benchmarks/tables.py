"""Results as tables in Markdown: the page docs/benchmarks/README.md, and the README's part about speed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from cases import SEQUENCES, Case
from comparison import Comparison, compared, is_large, machine_limits, mean_speed
from problem import LAYERS, Shape
from report import NAMES, OURS, duration
from results import Results, Run

PASSES = {False: "forward", True: "forward, all gradients"}
ONE_THREAD, BY_XLA = "¹", "ˣ"


def page(results: Results, file: str) -> str:
    """`file`: where the results are, from the project's root."""
    found = compared(results)
    sequences = [one for one in found if one.case.shape in SEQUENCES]
    layers = [one for one in found if one.case.shape not in SEQUENCES]
    lines = [
        "# Time for a call, beside others",
        "",
        "![Each shape: how fast everystep is, its peers are, and the machine can be](chart.png)",
        "",
        *circumstances(results, file),
        "",
        "A call is timed with its weights and inputs in place: forward, or forward and the gradients of the inputs, "
        "the first states and all weights. Each peer is compared with the textbook loop, then takes turns with the "
        "others, each in a process of its own, stopped while another runs. *Freed memory kept*: in every process, "
        "glibc's malloc was told to keep it for the next call. Of one thread and all, and, for Keras on TensorFlow, of "
        f"with XLA and without, the faster is timed: {ONE_THREAD} one thread, {BY_XLA} XLA. Fields are "
        "medians of all calls; the quartiles are in the file. *Italic* is the fastest peer. *Speed* is beside that "
        "one: 2 is twice as fast, **bold** is slower. *Roofline* is the share of the speed that the machine's "
        "multiply-adds, and reading the recurrent kernel at every step, allow. Pairs are NumPy · everystep.keras.",
    ]
    if any(is_large(one.case) for one in layers):
        lines += ["", "## Batches of 32 or more, 256 to 1,024 units", "", "Speed, geometric mean.", "", *means(layers)]
    if layers:
        lines += ["", "## Every shape", "", *times(layers)]
    if sequences:
        lines += ["", "## One long sequence, as fast as the weights can be read", "", *times(sequences)]
    lines += ["", "## What the machine can do", "", *limits(results), ""]
    lines += [
        "Measured elsewhere: [what each option of a layer costs](options.md), [starting](start.md), [accuracy]"
        "(accuracy.md), [what time and memory grow with](scaling.md), [fit](fit.md), [generating](generate.md), [what "
        "the same bits cost](bits.md)."
    ]
    return "\n".join(lines) + "\n"


def circumstances(results: Results, file: str) -> list[str]:
    machine = dict(results.machine)
    heading = [machine.pop("processor"), threads(machine.pop("threads")), *(f"{k} {v}" for k, v in machine.items())]
    versions = {name: version for run in results.runs for name, version in run.versions.items()}
    lines = [
        f"{', '.join(heading)}; float32. "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}. [All figures](../../{file}).",
        "",
    ]
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in results.runs:
        alike.setdefault((run.date, run.commit), []).append(run)
    for (date, commit), runs in alike.items():
        measured = sorted({LAYERS[row.case.cell].name for run in runs for row in run.rows})
        command = f"`{runs[0].command}`" if len(runs) == 1 else f"{len(runs)} runs of `make bench`"
        lines.append(f"- {date}, everystep {commit}, {command}: {', '.join(measured)}")
    return lines


def times(found: list[Comparison]) -> list[str]:
    peers = [peer for peer in NAMES if any(peer in one.rows for one in found)]
    most = max(row.threads for one in found for row in one.rows.values())
    lines = [
        f"| | B, T, I, H | | {' | '.join(NAMES[peer] for peer in peers)} | speed | roofline |",
        f"|:--|:--|:--|{'--:|' * len(peers)}--:|--:|",
    ]
    for one in found:
        fields = [LAYERS[one.case.cell].name, shape_text(one.case.shape), PASSES[one.case.gradients]]
        fields += [time(one, peer, most) for peer in peers]
        fields += [ours(one, lambda peer, one=one: ratio(one.speed(peer)))]
        fields += [ours(one, lambda peer, one=one: f"{one.share(peer):.0%}")]
        lines.append(f"| {' | '.join(fields)} |")
    return lines


def time(one: Comparison, peer: str, most: int) -> str:
    if peer not in one.rows:
        return "–"
    row = one.rows[peer]
    text = duration(row.median)
    text += ONE_THREAD if row.threads < most else ""
    text += BY_XLA if row.mode == "XLA" else ""
    return f"*{text}*" if peer == one.best_peer() else text


def ours(one: Comparison, field: Callable[[str], str]) -> str:
    return " · ".join(field(peer) for peer in OURS if peer in one.rows)


def ratio(speed: float) -> str:
    text = f"{speed:.2f}" if speed < 9.995 else f"{speed:.1f}"
    return f"**{text}**" if float(text) < 1 else text


def shape_text(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def means(found: list[Comparison]) -> list[str]:
    lines = ["| | | best peer | PyTorch | Keras on JAX |", "|:--|:--|--:|--:|--:|"]
    for cell, layer in LAYERS.items():
        for gradients, what in PASSES.items():
            cases = [one for one in found if is_large(one.case) and one.case[::2] == (cell, gradients)]
            if cases:
                fields = [mean(cases, other) for other in (None, "pytorch", "keras_jax")]
                lines.append(f"| {layer.name} | {what} | {' | '.join(fields)} |")
    return lines


def mean(cases: Iterable[Comparison], other: str | None) -> str:
    speeds = [mean_speed(cases, peer, other) for peer in OURS]
    return " · ".join(ratio(speed) for speed in speeds if speed is not None) or "–"


def limits(results: Results) -> list[str]:
    found = machine_limits(results)
    peaks = ", ".join(f"{threads(limit['threads'])} {limit['gflops']:.0f} GFLOP/s" for limit in found)
    sizes = [read["bytes"] for read in found[0]["read"]]
    lines = [
        f"Multiply-adds in float32: {peaks}. Read again and again, in GB/s, by footprint of all threads together:",
        "",
        f"| | {' | '.join(footprint(size) for size in sizes)} |",
        f"|:--|{'--:|' * len(sizes)}",
    ]
    for limit in found:
        rates = " | ".join(f"{read['gbps']:.0f}" for read in limit["read"])
        lines.append(f"| {threads(limit['threads'])} | {rates} |")
    return lines


def threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def footprint(size: int) -> str:
    return f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


# ---- The README's part ----


def summary(results: Results, file: str) -> str:
    found = compared(results)
    peers = [NAMES[peer] for peer in NAMES if peer not in OURS and any(peer in one.rows for one in found)]
    dates = sorted({run.date for run in results.runs})
    machine = results.machine
    paragraph = (
        f"Measured by `make bench`, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, on {machine['processor']}, "
        f"{threads(machine['threads'])}, in float32, beside the fastest of {', '.join(peers)}: 2 is twice as fast as "
        f"that one, **bold** is slower. In each field: a call from NumPy · of `everystep.keras` under JAX. Times, "
        f"versions and the machine's limits: [docs/benchmarks](docs/benchmarks); [all figures]({file})."
    )
    lines = [
        textwrap.fill(paragraph, 125, break_long_words=False, break_on_hyphens=False),
        "",
        *speeds([one for one in found if one.case.shape not in SEQUENCES]),
        "",
        *sequence_lines([one for one in found if one.case.shape in SEQUENCES]),
        "![Each shape: how fast everystep is, its peers are, and the machine can be](docs/benchmarks/chart.png)",
    ]
    return "\n".join(lines)


def speeds(found: list[Comparison]) -> list[str]:
    """A line for each shape, a column for each cell and pass, then means."""
    columns = [(cell, gradients) for cell in LAYERS for gradients in PASSES
               if any(one.case[::2] == (cell, gradients) for one in found)]  # fmt: skip
    names = [f"{LAYERS[cell].name}{', gradients' if gradients else ''}" for cell, gradients in columns]
    lines = [f"| batch, steps, inputs, units | {' | '.join(names)} |", f"|:--|{'--:|' * len(columns)}"]
    by_case = {one.case: one for one in found}
    for shape in dict.fromkeys(one.case.shape for one in found):
        cells = [by_case.get(Case(cell, shape, gradients)) for cell, gradients in columns]
        fields = [ours(one, lambda peer, one=one: ratio(one.speed(peer))) if one else "–" for one in cells]
        lines.append(f"| {shape_text(shape)} | {' | '.join(fields)} |")
    others = {"mean of large batches": None, "the same, beside PyTorch": "pytorch", "beside Keras on JAX": "keras_jax"}
    large = [one for one in found if is_large(one.case)]
    for name, other in others.items() if large else ():
        fields = [mean([one for one in large if one.case[::2] == column], other) for column in columns]
        lines.append(f"| *{name}* | {' | '.join(fields)} |")
    return lines


def sequence_lines(found: list[Comparison]) -> list[str]:
    if not found:
        return []
    units = ", ".join(str(one.case.shape.H) for one in found)
    speed = ", ".join(ratio(one.speed("engine")) for one in found)
    shares = ", ".join(f"{one.share('engine'):.0%}" for one in found)
    paragraph = (
        f"An LSTM of {units} units over one sequence of 1,000 steps of 32 inputs, from NumPy: {speed} times as fast; "
        f"{shares} of what the machine's multiply-adds and caches allow."
    )
    return [textwrap.fill(paragraph, 125), ""]
