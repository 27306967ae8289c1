"""What the drawings of the tutorials are made of."""

from __future__ import annotations

INK, LINE, GATE, NEW = "#1f2933", "#52606d", "#2b6cb0", "#b35806"


def text(
    x: int, y: int, content: str, size: int = 15, colour: str = INK, anchor: str = "middle", style: str = ""
) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" {style}>{content}</text>'


def line(
    *points: tuple[int, int], colour: str = LINE, width: float = 2, arrow: bool = True, dashed: bool = False
) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    end = (' stroke-dasharray="5 4"' if dashed else "") + (' marker-end="url(#arrow)"' if arrow else "")
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{end}/>'


def state(letter: str, time: str) -> str:
    """A letter with its time as a subscript."""
    return f'<tspan font-style="italic" font-weight="bold">{letter}</tspan><tspan font-size="11" dy="4">{time}</tspan>'


def picture(width: int, height: int, title: str, description: str, parts: list[str]) -> str:
    """All of the file, on a white ground, which a page of any colour leaves readable."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"'
            ' font-family="Helvetica, Arial, sans-serif">',
            f"<title>{title}</title><desc>{description}</desc>",
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="11" markerHeight="11"'
            f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0,1 L9,5 L0,9 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="10" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )
