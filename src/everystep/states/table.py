"""A table of paragraphs, for a terminal and for a notebook. It knows nothing of what they say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

Cell = Sequence[str]  # paragraphs
GAP = "   "
COMFORT = 18  # columns up to this wide are served first


def terminal(title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], notes: Cell, width: int) -> str:
    """Plain text of at most `width` columns: every paragraph wrapped, a rule between rows."""
    columns = list(zip(*([[name] for name in header], *rows), strict=True))
    widths = _share(width - len(GAP) * (len(header) - 1), columns)
    rule = "-" * (sum(widths) + len(GAP) * (len(header) - 1))
    lines = [*textwrap.wrap(title, width), rule, *_lines([[name] for name in header], widths), rule]
    for row in rows:
        lines += [*_lines(row, widths), rule]
    for note in notes:
        lines += textwrap.wrap(note, width, initial_indent="* ", subsequent_indent="  ")
    return "\n".join(lines)


def html(title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], notes: Cell) -> str:
    """A table that a screen reader can read by row and column; colours are the page's own, light or dark."""
    cell = "text-align:left;vertical-align:top;padding:.4em .8em .4em 0;border-bottom:1px solid currentColor"

    def paragraphs(content: Cell) -> str:
        return "<br>".join(escape(paragraph) for paragraph in content)

    heads = "".join(f'<th scope="col" style="{cell}">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row" style="{cell}">{paragraphs(row[0])}</th>'
        + "".join(f'<td style="{cell}">{paragraphs(content)}</td>' for content in row[1:])
        + "</tr>"
        for row in rows
    )
    caption = f'<caption style="text-align:left;font-weight:bold">{escape(title)}</caption>'
    table = (
        f'<table style="border-collapse:collapse">{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    )
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div style="overflow-x:auto">{table}{f"<ul>{items}</ul>" if items else ""}</div>'


def _share(room: int, columns: Sequence[Sequence[Cell]]) -> list[int]:
    """How wide each column is: at most as its longest paragraph; room goes where there is most to read."""
    words = [[word for cell in column for paragraph in cell for word in paragraph.split()] for column in columns]
    most = [max(len(paragraph) for cell in column for paragraph in cell) for column in columns]
    widths = [min(full, max(map(len, column))) for full, column in zip(most, words, strict=True)]
    while sum(widths) > room:  # break the longest words
        widths[widths.index(max(widths))] -= 1
    amount = [sum(map(len, column)) for column in words]
    while sum(widths) < room and widths != most:
        growing = [k for k in range(len(columns)) if widths[k] < most[k]]
        widths[max(growing, key=lambda k: (widths[k] < COMFORT, amount[k] / widths[k]))] += 1
    return widths


def _lines(cells: Sequence[Cell], widths: list[int]) -> list[str]:
    """A row of the table, line by line."""
    wrapped = [
        [line for paragraph in cell for line in (textwrap.wrap(paragraph, width, break_on_hyphens=False) or [""])]
        for cell, width in zip(cells, widths, strict=True)
    ]
    height = max(map(len, wrapped))
    padded = [
        [line.ljust(width) for line in [*lines, *[""] * (height - len(lines))]]
        for lines, width in zip(wrapped, widths, strict=True)
    ]
    return [GAP.join(line).rstrip() for line in zip(*padded, strict=True)]
