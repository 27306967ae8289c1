"""Draws lstm_cell.svg, one time step of an LSTM: python docs/tutorials/draw_lstm_cell.py"""

from __future__ import annotations

from pathlib import Path

from svg import GATE, INK, LINE, NEW, line, picture, state, text

WIDTH, HEIGHT = 790, 420
MEMORY, BUS, OUT = 84, 330, 206  # heights of c's line, of the line that all gates read, and of h's line
BEFORE = "t&#8722;1"
FORGET, INPUT, CANDIDATE, OUTPUT, TANH = 165, 280, 400, 520, 610  # from left to right

GATES = (  # where, letter, its function, what it decides, colour
    (FORGET, "f", "sigmoid", "how much of", "c to keep", GATE),
    (INPUT, "i", "sigmoid", "how much of", "g to add", GATE),
    (CANDIDATE, "g", "tanh", "what there", "is to add", NEW),
    (OUTPUT, "o", "sigmoid", "how much of", "c to show", GATE),
)


def box(x: int, y: int, letter: str, function: str, colour: str) -> str:
    middle = y + 27
    return (
        f'<rect x="{x - 48}" y="{y}" width="96" height="44" rx="7" fill="white" stroke="{colour}" stroke-width="2"/>'
        + text(x - 31, middle + 1, letter, 20, colour, style='font-style="italic" font-weight="bold"')
        + text(x + 12, middle, function, 13, colour)
    )


def operator(x: int, y: int, sign: str) -> str:
    circle = f'<circle cx="{x}" cy="{y}" r="13" fill="#fff7e6" stroke="{INK}" stroke-width="1.6"/>'
    return circle + text(x, y + 6, sign, 19)


def drawing() -> str:
    added = (INPUT + CANDIDATE) // 2
    parts = [
        # c: one straight line on which the old is scaled down and the new added
        line((58, MEMORY), (FORGET - 14, MEMORY), width=4),
        line((FORGET + 13, MEMORY), (added - 14, MEMORY), width=4),
        line((added + 13, MEMORY), (690, MEMORY), width=4),
        text(34, MEMORY + 6, state("c", BEFORE), 18),
        text(700, MEMORY + 6, state("c", "t"), 18, anchor="start"),
        text(58, MEMORY - 32, "the cell state: scaled and added to, never squashed", 13, LINE, "start"),
        # what every gate reads
        line((58, BUS), (OUTPUT, BUS), arrow=False),
        text(34, BUS + 6, state("h", BEFORE), 18),
        line((100, BUS + 56), (100, BUS), arrow=False),
        text(100, BUS + 76, state("x", "t"), 18),
        # h: c squashed, and as much of it as o lets through
        line((TANH, MEMORY), (TANH, 122)),
        f'<rect x="{TANH - 28}" y="124" width="56" height="28" rx="7" fill="white" stroke="{LINE}" stroke-width="2"/>',
        text(TANH, 143, "tanh", 13, LINE),
        line((TANH, 152), (TANH, OUT - 15)),
        line((TANH + 13, OUT), (690, OUT)),
        text(700, OUT + 6, state("h", "t"), 18, anchor="start"),
        text(700, OUT + 28, "the output,", 13, LINE, "start"),
        text(700, OUT + 44, "and back in", 13, LINE, "start"),
        text(700, MEMORY + 28, "the memory", 13, LINE, "start"),
        # the gates, and where each one acts
        line((FORGET, 236), (FORGET, MEMORY + 15), colour=GATE),
        line((INPUT, 236), (INPUT, 166), (added - 15, 166), colour=GATE),
        line((CANDIDATE, 236), (CANDIDATE, 166), (added + 15, 166), colour=NEW),
        line((added, 153), (added, MEMORY + 15)),
        line((OUTPUT, 236), (OUTPUT, OUT), (TANH - 15, OUT), colour=GATE),
    ]
    for x, letter, function, first, second, colour in GATES:
        parts += [line((x, BUS), (x, 283)), box(x, 236, letter, function, colour)]
        parts += [text(x, BUS + 26, first, 13, colour), text(x, BUS + 43, second, 13, colour)]
    for x, y, sign in ((FORGET, MEMORY, "&#215;"), (added, MEMORY, "+"), (added, 166, "&#215;"), (TANH, OUT, "&#215;")):
        parts.append(operator(x, y, sign))
    description = (
        "The cell state c runs straight through: it is multiplied by the forget gate f, then i times g is added. The "
        "hidden state h is tanh of the new c, times the output gate o. All four gates read the input x and the last h."
    )
    return picture(WIDTH, HEIGHT, "One time step of an LSTM", description, parts)


if __name__ == "__main__":
    Path(__file__).with_name("lstm_cell.svg").write_text(drawing())
