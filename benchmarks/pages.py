"""From a file of results to what is read: docs/benchmarks, and the marked part of the README."""

from __future__ import annotations

import re
from pathlib import Path

import chart
import results as kept
import tables
from report import ROOT

MARKED = re.compile(r"<!-- bench (?P<file>\S+) -->\n.*?<!-- /bench -->", re.DOTALL)


def with_summary(readme: str, found: kept.Results, file: str) -> str:
    """The README's text with its marked part made anew."""
    if not MARKED.search(readme):
        raise ValueError("README.md has no part from <!-- bench FILE --> to <!-- /bench -->, which the table goes into")
    part = f"<!-- bench {file} -->\n{tables.summary(found, file)}\n<!-- /bench -->"
    return MARKED.sub(lambda _: part, readme, count=1)


def write(found: kept.Results, file: str, root: Path = ROOT) -> None:
    """`file`: where the results are, from the project's root. `root`: where README.md and docs/benchmarks are."""
    folder = root / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(tables.page(found, file))
    chart.draw(found, folder / "chart.png")
    readme = root / "README.md"
    readme.write_text(with_summary(readme.read_text(), found, file))
