"""docs/engine.md: its code prints what it shows, and what it names and counts in the engine is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text()
PROSE = " ".join(re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL).split())
FILES = [path for folder in ("engine", "engine/cells") for path in sorted((ROOT / folder).iterdir()) if path.is_file()]
SOURCES = [" ".join(path.read_text().split()) for path in FILES]

# What the page says, and the line of the engine that says so.
SAID = {
    "128 KiB of z a thread (`kChunkBytes`)": "kChunkBytes = 128 << 10;",
    "256 pairs of a row and a step (`kChunkRows`)": "kChunkRows = 256;",
    "less than 30 µs in all (`kWorthWaking`": "kWorthWaking = 30e3,",
    "more than 0.2 µs a step (`kWorthWaiting`)": "kWorthWaiting = 200;",
    "R at most 2 MiB (`kLargeKernel`)": "kLargeKernel = 2 << 20;",
    "(`kAccumulators` in [`simd.h`](../engine/simd.h) says 24 or 12)": "kAccumulators = kRegisters == 32 ? 24 : 12;",
    "Who waits looks 500 times": "if (look < 500)",
    "A tape above 2 MiB": "kLargeTape = 2 << 20;",
}


def test_the_code_prints_what_is_shown() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```\n(threads.*?)```", PAGE, re.DOTALL)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == shown


def test_names_are_those_of_the_engine() -> None:
    names = re.findall(r"`((?:\w+::)?[a-zA-Z]\w*)`", PROSE)
    words = set(re.findall(r"\w+", " ".join(SOURCES)))
    assert len(names) > 20
    assert [name for name in names if not words.issuperset(name.split("::"))] == []


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PROSE)
    assert len(links) > 8
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize("said", SAID)
def test_numbers_are_those_of_the_engine(said: str) -> None:
    assert said in PROSE
    assert sum(SAID[said] in source for source in SOURCES) == 1
