"""What it costs that results have the same bits always: `make bits-cost`.

The contract never splits the sum over k, so that no tile, batch or thread changes a bit. any_order.patch is an engine
without that: where a tile has fewer than the eight accumulators that hide a multiply-add's latency, each number is two
or four sums, added up at the end. Both are built, and timed by kernels.cc in turns; docs/benchmarks/bits.md shows it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
from pathlib import Path

from report import ROOT, processor, today, warn_if_busy

BUILD, TOOLS = ROOT / "build" / "bits_cost", ROOT / "build" / "tools"
PATCHES = {"in order": None, "in any order": ROOT / "benchmarks" / "any_order.patch"}
CELLS = {"lstm": "LSTM", "gru": "GRU", "simple": "SimpleRNN"}
SHAPES = (
    "1,1000,32,16",
    "1,1000,32,32",
    "1,1000,32,64",
    "1,1000,32,128",
    "1,1000,32,256",
    "4,100,32,64",
    "32,100,64,256",
)
TIMES = re.compile(r" run +([\d.]+) us .* gradients +([\d.]+) us")


def built(tree: Path, patch: Path | None) -> Path:
    """kernels.cc, linked with the engine's sources, patched."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "engine", tree / "engine")
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    if patch:
        subprocess.run(["patch", "--silent", "-p1", "-d", tree, "-i", patch], check=True)
    tools = {**os.environ, "PYTHONPATH": str(TOOLS)}
    cmake, ninja = TOOLS / "bin" / "cmake", TOOLS / "bin" / "ninja"
    configure = [cmake, "-S", tree, "-B", tree, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "--log-level=WARNING"]
    for command in (configure, [cmake, "--build", tree, "--target", "everystep_engine"]):
        subprocess.run(command, check=True, env=tools, stdout=subprocess.DEVNULL)
    program = tree / "kernels"
    library = [f"-L{tree}", "-leverystep_engine", f"-Wl,-rpath,{tree}"]
    source = ROOT / "benchmarks" / "kernels.cc"
    subprocess.run(["c++", "-std=c++20", "-O2", f"-I{tree}/engine", source, "-o", program, *library], check=True)
    return program


def measured(program: Path, cell: str, threads: int) -> list[tuple[float, float]]:
    """Microseconds of a run, and of its gradients, for each shape."""
    command = [program, cell, str(threads), *SHAPES]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [(float(run), float(gradients)) for run, gradients in TIMES.findall(printed)]


def costs(programs: list[Path], cell: str, rounds: int, threads: int) -> list[list[str]]:
    """For each shape, how much longer a run and its gradients take in order."""
    taken: list[list[list[tuple[float, float]]]] = [[] for _ in programs]
    for _ in range(rounds):
        for program, results in zip(programs, taken, strict=True):
            results.append(measured(program, cell, threads))

    def cost(shape: int, what: int) -> str:
        ordered, free = (statistics.median(times[shape][what] for times in results) for results in taken)
        return f"{(ordered / free - 1) * 100:+.0f} %"

    return [[cost(shape, what) for what in (0, 1)] for shape in range(len(SHAPES))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    programs = [built(BUILD / name.replace(" ", "_"), patch) for name, patch in PATCHES.items()]
    warn_if_busy()
    by_cell = [costs(programs, cell, args.rounds, args.threads) for cell in CELLS]
    lines = [
        "| batch, steps, inputs, units | " + " | ".join(f"{name} | its gradients" for name in CELLS.values()) + " |"
    ]
    lines.append("|:--|" + "--:|" * 2 * len(CELLS))
    for k, shape in enumerate(SHAPES):
        fields = [field for cell in by_cell for field in cell[k]]
        lines.append(f"| {shape.replace(',', ', ')} | {' | '.join(fields)} |")
    table = "\n".join(lines)
    page = PAGE.format(day=today(), processor=processor(), table=table, **vars(args))
    (ROOT / "docs" / "benchmarks" / "bits.md").write_text(page)
    print(table)


PAGE = """# What the same bits cost

How much longer the kernels take because the sum over k is never split: the engine as it is, beside one that makes two
or four sums of a number wherever a tile has fewer than eight accumulators. `make bits-cost`, {day}, {processor},
{threads} thread(s), float32, medians of {rounds} runs in turns. Repeated, a figure moves by 2 % on a quiet machine, by
5 % on a busy one.

{table}

For LSTM and GRU there is nothing to gain from eight accumulators on (an LSTM of 32 units in AVX-512), nor with several
rows. Below that, at batch 1, a step waits for a chain of k multiply-adds. A SimpleRNN does so up to 64 units, and
its gradients further: dh of one row is then one sum for each of four vectors. Sums split for one row, and not for many,
would give that row other bits in a batch; split for all, they would take twice the registers everywhere.
"""

if __name__ == "__main__":
    main()
