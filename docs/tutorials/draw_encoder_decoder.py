"""Draws encoder_decoder.svg, what is read and said at each step: python docs/tutorials/draw_encoder_decoder.py"""

from __future__ import annotations

from pathlib import Path

from svg import GATE, INK, LINE, NEW, line, picture, text

WIDTH, HEIGHT = 790, 318
SAID, CELL, READ = 72, 140, 222  # heights of the words that are said, of the layers, and of what they read
STEP = 100  # from one time step to the next
ENCODER, DECODER = 66, 424  # their first steps

DIGITS = ("3", "5", "0")
WORDS = ("three", "hundred", "fifty")
START, END = "&lt;start&gt;", "&lt;end&gt;"


def cell(x: int, colour: str) -> str:
    return (
        f'<rect x="{x - 32}" y="{CELL - 22}" width="64" height="44" rx="7" fill="white" stroke="{colour}"'
        f' stroke-width="2"/>' + text(x, CELL + 5, "LSTM", 14, colour)
    )


def drawing() -> str:
    encoder = [ENCODER + STEP * k for k in range(len(DIGITS))]
    decoder = [DECODER + STEP * k for k in range(len(WORDS) + 1)]
    after = decoder[-1] + 32
    parts = [
        text(encoder[1], 34, "encoder", 17, GATE, style='font-weight="bold"'),
        text(encoder[1], SAID + 2, "says nothing that is used", 13, LINE),
        text((decoder[1] + decoder[2]) // 2, 34, "decoder", 17, NEW, style='font-weight="bold"'),
        text((encoder[-1] + decoder[0]) // 2, CELL - 10, "last h and c", 13),
    ]
    for steps, read, colour in ((encoder, DIGITS, GATE), (decoder, (START, *WORDS), NEW)):
        for x, token in zip(steps, read, strict=True):
            parts += [line((x, READ - 18), (x, CELL + 24)), cell(x, colour), text(x, READ, token)]
        for x in steps[:-1]:
            parts.append(line((x + 32, CELL), (x + STEP - 34, CELL), width=3))
    parts.append(line((encoder[-1] + 32, CELL), (decoder[0] - 34, CELL), colour=INK, width=5))
    for x, token in zip(decoder, (*WORDS, END), strict=True):
        parts += [line((x, CELL - 22), (x, SAID + 10)), text(x, SAID, token)]
    for x in decoder[:-1]:
        back = x + STEP // 2
        path = ((x + 32, SAID - 5), (back, SAID - 5), (back, READ - 5), (x + STEP - 31, READ - 5))
        parts.append(line(*path, colour=NEW, width=1.6, dashed=True))
    parts += [
        text(encoder[1], READ + 40, "the number, one digit a step", 13, LINE),
        text(after, READ + 40, "in training it reads the true words, one step late: teacher forcing", 13, LINE, "end"),
        text(after, READ + 64, "in use it reads what it said itself", 13, NEW, "end"),
        line((after - 248, READ + 60), (after - 198, READ + 60), colour=NEW, width=1.6, dashed=True),
    ]
    description = (
        "The encoder, an LSTM, reads the digits 3, 5, 0, one a step. Its last h and c are where the decoder, another "
        "LSTM, starts. The decoder reads the start, three, hundred, fifty, and at the same steps says three, hundred, "
        "fifty, the end. In training what it reads is the true target, one step late; in use it is what it said."
    )
    return picture(WIDTH, HEIGHT, "An encoder-decoder, step by step", description, parts)


if __name__ == "__main__":
    Path(__file__).with_name("encoder_decoder.svg").write_text(drawing())
