"""Where a reader of dates looks in a string: the attention's weights, for each character that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from dates import Written

import everystep

Array = np.ndarray[Any, np.dtype[Any]]

LOCALES = ("de", "es", "en_US", "hu", "vi")  # in patterns that were not learned from
TWO_DIGITS = "el"  # in one that was, with two digits of the year
CHARACTERS = 10
INK, FAINT, LINES = "#222222", "#8a8a8a", "#eeeeee"


def attention(model: Any, source: Array, start: int, written: Array) -> Array:
    """(B,T,S): the weights on source (B,S), when each of `written` (B,T) was chosen, by a model of the same layers.

    Step by step the decoder read the start and what it had written; here it reads all of that at once.
    """
    layer = model.get_layer("attention")
    weights = layer(layer.input, return_attention_scores=True)[1]
    told = np.concatenate([np.full_like(written[:, :1], start), written[:, :-1]], axis=1)
    return everystep.Model(model.inputs, weights).predict({"source": source, "target": told})


def draw(model: Any, text: Any, days: list[Written], patterns: list[Written], path: Path) -> None:
    """Six strings, the first of their kind in each list."""
    strings = [next(one for one in patterns if one.locale == locale) for locale in LOCALES]
    strings.append(next(one for one in days if one.locale == TWO_DIGITS and "yy" in one.pattern))
    source = text.encode([one.source for one in strings])
    tokens = model.generate(source, start=text.start, end=text.end, max_length=CHARACTERS)
    weights = attention(model, source, text.start, tokens)
    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT})
    figure, axes = plt.subplots(3, 2, figsize=(11, 9), layout="constrained")
    for axis, one, answer, found in zip(axes.flat, strings, text.decode(tokens), weights, strict=True):
        read = [one.locale, *one.text]
        image = axis.imshow(found[: len(answer), : len(read)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(read)), read)
        axis.get_xticklabels()[0].set(rotation=90, color=FAINT)
        axis.set_yticks(range(len(answer)), list(answer))
        axis.set_xticks(np.arange(1, len(read)) - 0.5, minor=True)
        axis.set_yticks(np.arange(1, len(answer)) - 0.5, minor=True)
        axis.grid(which="minor", color=LINES, linewidth=0.6)
        axis.tick_params(which="both", length=0)
        axis.set_title(f"{one.text}   →   {answer}", loc="left", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.4, label="weight")
    figure.suptitle(
        "Where the decoder looks in the string (across) as it writes each character (down)",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    figure.supxlabel(
        "The first column is the locale's token. All of the days are unseen, and all patterns but the last.", fontsize=9
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
