"""What benchmarks make of measured times: speeds, means, rooflines, files that merge, and the README's table."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pages
import pytest
import tables
from cases import SEQUENCES, SHAPES, Case, chosen
from comparison import compared, mean_speed
from contest import FULL, LONG, takes_part, turns_of
from problem import Shape
from results import Results, Row, Run, load, merged, save
from roofline import bandwidth, least_seconds

ROOT = Path(__file__).parents[2]

LIMITS: list[dict[str, Any]] = [
    dict(threads=1, gflops=100.0, read=[dict(bytes=1 << 16, gbps=80.0)]),
    dict(
        threads=2,
        gflops=200.0,
        # The second is lower than the third: measured so, though what is smaller can be read as fast.
        read=[dict(bytes=1 << 14, gbps=500.0), dict(bytes=1 << 16, gbps=90.0), dict(bytes=1 << 20, gbps=100.0)],
    ),
]
LARGE, SMALL = SHAPES[3], SHAPES[0]


def row(case: Case, peer: str, median: float, threads: int = 2, mode: str = "") -> Row:
    return Row(case, peer, threads, mode, 10, 0.9 * median, median, 1.2 * median)


def run(rows: list[Row], **others: Any) -> Run:
    return replace(Run("2026-01-02", "make bench", "abc1234", {"numpy": "2.4.6"}, LIMITS, rows), **others)


def results(*runs: Run) -> Results:
    return Results({"processor": "A processor", "threads": 2, "L1": "48K"}, list(runs))


def rows_of(case: Case, **medians: float) -> list[Row]:
    return [row(case, peer, median) for peer, median in medians.items()]


def test_a_speed_is_beside_the_fastest_of_the_others() -> None:
    case = Case("lstm", LARGE, False)
    (one,) = compared(results(run(rows_of(case, engine=2.0, keras_everystep=1.0, pytorch=5.0, onnx_runtime=3.0))))
    assert one.best_peer() == "onnx_runtime"
    assert (one.speed("engine"), one.speed("keras_everystep")) == (1.5, 3.0)
    assert one.speed("engine", "pytorch") == 2.5


def test_means_are_geometric_and_of_the_cases_that_both_have() -> None:
    first, second = Case("lstm", LARGE, False), Case("lstm", SHAPES[4], False)
    found = compared(
        results(run(rows_of(first, engine=1.0, pytorch=8.0, keras_jax=16.0) + rows_of(second, engine=1.0, pytorch=2.0)))
    )
    assert mean_speed(found, "engine") == pytest.approx(4)
    assert mean_speed(found, "engine", "keras_jax") == pytest.approx(16)
    assert mean_speed(found, "engine", "onnx_runtime") is None


def test_the_roofline_is_multiply_adds_or_reading_the_recurrent_kernel() -> None:
    B, T, I, H = large = Shape(32, 100, 64, 256)
    flops = 2 * B * T * 3 * H * (I + H)
    assert least_seconds(Case("gru", large, False), LIMITS) == pytest.approx(flops / 200e9)
    assert least_seconds(Case("gru", large, True), LIMITS) == pytest.approx(3 * flops / 200e9)
    # A row: 2 flops for each of the kernel's numbers of 4 bytes, which are read from a footprint of 64 KiB.
    one = Shape(1, 1000, 32, 64)
    assert least_seconds(Case("lstm", one, False), LIMITS) == pytest.approx(1000 * 4 * 64 * 4 * 64 / 100e9)
    assert least_seconds(Case("lstm", one, True), LIMITS) == pytest.approx(2 * 1000 * 4 * 64 * 4 * 64 / 100e9)


@pytest.mark.parametrize(
    ("size", "gbps"), [(1, 500), (1 << 14, 500), ((1 << 14) + 1, 100), (1 << 20, 100), (1 << 21, 100)]
)
def test_bandwidth_is_of_the_level_that_holds_the_footprint(size: int, gbps: float) -> None:
    assert bandwidth(size, LIMITS[1]) == gbps * 1e9


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    case = Case("gru", LARGE, True)
    found = results(run([row(case, "engine", 0.25), row(case, "keras_tensorflow", 1.5, 1, "XLA")]))
    save(found, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == found


def test_a_later_run_takes_the_place_of_whole_cases_and_nothing_else() -> None:
    first, second = Case("lstm", LARGE, False), Case("gru", LARGE, False)
    old = run(rows_of(first, engine=1.0, pytorch=2.0, keras_jax=3.0) + rows_of(second, engine=4.0, pytorch=5.0))
    faster = [LIMITS[0], {**LIMITS[1], "gflops": 300.0}]
    new = run(rows_of(first, engine=1.5, pytorch=2.5), commit="def5678", limits=faster)
    both = merged(results(old), results(new))
    assert both.runs == [replace(old, rows=rows_of(second, engine=4.0, pytorch=5.0)), new]
    assert merged(both, results(replace(old, commit="fff"))).runs == [replace(old, commit="fff")]
    assert [one.limits for one in compared(both)] == [faster, faster]  # of one machine


def test_results_of_two_machines_do_not_merge() -> None:
    other = Results({"processor": "Another", "threads": 2}, [])
    with pytest.raises(ValueError, match=r"another machine:\n.*A processor.*\nand this is\n.*Another"):
        merged(results(), other)


def test_the_table_says_who_is_fastest_who_is_slower_and_how_it_ran() -> None:
    case = Case("lstm", LARGE, False)
    rows = rows_of(case, engine=0.9961, keras_everystep=2.0, pytorch=1.0)
    (line,) = tables.times(compared(results(run([*rows, row(case, "keras_tensorflow", 3.0, 1, "XLA")]))))[2:]
    assert line.startswith("| LSTM | 32, 100, 64, 256 | forward | 996 ms | 2 s | *1 s* | 3 s¹ˣ | 1.00 · **0.50** | ")


def test_what_is_slower_is_marked() -> None:
    assert [tables.ratio(speed) for speed in (0.994, 0.9951, 1.0, 9.994, 12.34)] == [
        "**0.99**",
        "1.00",
        "1.00",
        "9.99",
        "12.3",
    ]


def test_the_summary_has_a_line_for_each_shape_and_the_means_of_large_batches() -> None:
    cases = [Case("gru", shape, gradients) for shape in (SMALL, LARGE) for gradients in (False, True)]
    rows = [one for case in cases for one in rows_of(case, engine=1.0, keras_everystep=2.0, pytorch=3.0, keras_jax=1.5)]
    sequence = rows_of(Case("lstm", SEQUENCES[2], False), engine=2.0, onnx_runtime=1.0)
    text = tables.summary(results(run(rows + sequence)), "benchmarks/results/some.json")
    assert "| 1, 1, 32, 64 | 1.50 · **0.75** | 1.50 · **0.75** |\n" in text
    assert "| *mean of large batches* | 1.50 · **0.75** | 1.50 · **0.75** |\n" in text
    assert "| *the same, beside PyTorch* | 3.00 · 1.50 | 3.00 · 1.50 |\n" in text
    assert "An LSTM of 128 units over one sequence" in text
    assert "**0.50** times as fast" in text


def test_the_readme_and_the_page_show_what_the_results_give() -> None:
    readme = (ROOT / "README.md").read_text()
    marked = pages.MARKED.search(readme)
    assert marked is not None
    found = load(ROOT / marked["file"])
    assert pages.with_summary(readme, found, marked["file"]) == readme
    assert tables.page(found, marked["file"]) == (ROOT / "docs" / "benchmarks" / "README.md").read_text()
    assert len(re.findall(r"^\| \d", marked[0], re.MULTILINE)) == len(
        {one.case.shape for one in compared(found)} - {*SEQUENCES}
    )


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no part from <!-- bench FILE -->"):
        pages.with_summary("# everystep\n", results(), "file")


def test_pages_are_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("before\n<!-- bench old.json -->\nold\n<!-- /bench -->\nafter\n")
    found = results(run(rows_of(Case("lstm", LARGE, False), engine=1.0, keras_everystep=3.0, pytorch=2.0)))
    pages.write(found, "benchmarks/results/new.json", tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n<!-- bench benchmarks/results/new.json -->\nMeasured by")
    assert text.endswith("<!-- /bench -->\nafter\n")
    assert "\nold\n" not in text
    assert (tmp_path / "docs/benchmarks/chart.png").read_bytes().startswith(b"\x89PNG")
    assert "## Every shape" in (tmp_path / "docs/benchmarks/README.md").read_text()


def test_cases_are_chosen_by_cell_shape_and_pass() -> None:
    assert len(chosen(["lstm", "gru", "simple_rnn"], None, [False, True])) == 3 * 2 * len(SHAPES) + len(SEQUENCES)
    assert chosen(["gru"], [Shape(1, 2, 3, 4)], [True]) == [Case("gru", Shape(1, 2, 3, 4), True)]
    with pytest.raises(ValueError, match=r"expected a shape B,T,I,H as in .*; got '1,2,3'"):
        Shape.read("1,2,3")


@pytest.mark.parametrize(("seconds", "turns"), [(1e-6, 9), (0.25, 9), (0.5, 5), (2.0, 2), (LONG, 5), (60.0, 2)])
def test_a_slow_peer_has_fewer_turns_spread_evenly(seconds: float, turns: int) -> None:
    assert turns_of(seconds, FULL) == turns
    rounds = [round for round in range(9) if takes_part(round, turns, 9)]
    assert len(rounds) == turns
    gaps = [b - a for a, b in pairwise(rounds)]
    assert {9 // turns, math.ceil(9 / turns)} >= {*gaps}
