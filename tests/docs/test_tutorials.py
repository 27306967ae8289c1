"""Every tutorial runs from top to bottom, and prints what it is shown to print."""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def printed(cell: Any) -> list[str]:
    """What a cell's outputs say as text; a table that a notebook shows as HTML says the same as text."""
    return [
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in cell.get("outputs", [])
    ]


def test_there_are_tutorials() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"return_sequences_and_states", "encoder_decoder"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_tutorial_prints_what_it_shows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # tables are as wide as the terminal, or 110 where there is none
    shown = nbformat.read(path, as_version=4)
    ran = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(ran, timeout=240, kernel_name="python3", coalesce_streams=True, resources=where).execute()
    for before, after in zip(shown.cells, ran.cells, strict=True):
        assert printed(before) == printed(after), before.source
    assert sum(map(len, map(printed, shown.cells))) > 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_tutorial_holds_no_trace_of_the_machine_it_ran_on(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert all("execution" not in cell["metadata"] for cell in notebook["cells"])
    for place in (str(FOLDER.parents[1]), os.path.expanduser("~"), "site-packages"):
        assert place not in path.read_text()


@pytest.mark.parametrize("name", ["lstm_cell", "encoder_decoder"])
def test_a_drawing_is_what_its_script_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)  # as of a script that is run from a shell
    drawing = runpy.run_path(str(FOLDER / f"draw_{name}.py"))["drawing"]()
    assert drawing == (FOLDER / f"{name}.svg").read_text()
    assert 'role="img"' in drawing
    assert "<title>" in drawing


def written(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_links_lead_to_files(path: Path) -> None:
    links = set(re.findall(r"\]\(([^)#:]+)\)", written(path)))
    assert {link for link in links if not (FOLDER / link).exists()} == set()
    assert links
