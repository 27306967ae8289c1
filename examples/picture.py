"""What an LSTM remembers over three days: h, c and the forget gate of every unit, below the temperature."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from weather import AIRPORTS, EASTERN, START, Array, Weather

import everystep

AIRPORT = AIRPORTS.index("JFK")
INK, FAINT, WARM = "#222222", "#8a8a8a", "#b35806"  # the brown end of PuOr, told from purple by colour-blind eyes too


def states(weights: list[Array], x: Array) -> tuple[Array, Array, Array]:
    """h, c (T,H) and the forget gate (T,H) at every step of x (T,F), by everystep's own LSTM with trained weights."""
    lstm = everystep.layers.LSTM(
        weights[1].shape[0], return_sequences=True, return_cell_sequences=True, return_gates=True
    )
    lstm(everystep.Input((None, x.shape[1])))
    lstm.set_weights(weights)
    mask = x.any(axis=-1)  # an hour that was not observed is all zeros
    h, c, gates = lstm(x[None], mask=mask[None])
    return h[0], c[0], np.where(mask[:, None], gates[0, :, 1], np.nan)


def draw(weather: Weather, weights: list[Array], start: int, days: int, history: int, path: Path) -> None:
    """Draws `days` days from hour `start` on; the LSTM reads the `history` hours before them first."""
    hours = slice(start, start + 24 * days)
    read = slice(start - history, hours.stop)
    x = np.where(weather.observed[AIRPORT, read, None], weather.features[AIRPORT, read], np.float32(0))
    h, c, forget = (array[history:] for array in states(weights, x))
    order = np.argsort(np.nanmean(forget, axis=0))[::-1]  # what remembers longest on top
    reach = float(np.ceil(np.quantile(np.abs(c), 0.99)))  # a few numbers lie beyond: the pointed ends of the colour bar
    panels = [
        ("hidden state h", h, "PuOr_r", -1, 1),
        ("cell state c", c, "PuOr_r", -reach, reach),
        ("forget gate f", forget, "cividis", 0, 1),
    ]
    plt.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT})
    figure, axes = plt.subplots(
        4, 2, figsize=(10, 9.4), sharex="col", width_ratios=[60, 1], height_ratios=[1.1, 1, 1, 1], layout="constrained"
    )
    for row in axes[:-1, 0]:
        row.tick_params(labelbottom=False)
    time = np.arange(24 * days) + 0.5
    _temperature(axes[0, 0], time, weather.temperature[AIRPORT, hours])
    axes[0, 1].axis("off")
    for (axis, bar), (name, array, colours, low, high) in zip(axes[1:], panels, strict=True):
        image = axis.imshow(
            array[:, order].T, aspect="auto", cmap=colours, vmin=low, vmax=high, interpolation="nearest",
            extent=(0, 24 * days, array.shape[1], 0),
        )  # fmt: skip
        axis.set_ylabel(f"{name}\n{array.shape[1]} units")
        axis.set_yticks([])
        figure.colorbar(image, cax=bar, extend="both" if np.abs(array).max() > high else "neither")
    for axis in axes[:, 0]:
        for midnight in range(24, 24 * days, 24):
            axis.axvline(midnight, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axis.set_xlim(0, 24 * days)
    axes[-1, 0].set_xticks(np.arange(0, 24 * days, 6) + 0.0, _labels(start, days))
    figure.suptitle(
        f"What the forecaster's LSTM remembers over {days} days of weather at {AIRPORTS[AIRPORT]}",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    figure.supxlabel(
        "Eastern Standard Time. Units are in the same order in all panels: the highest mean f on top.", fontsize=9
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _temperature(axis: Any, time: Array, celsius: Array) -> None:
    axis.plot(time, celsius, color=WARM, linewidth=2, marker=".", markersize=4)
    axis.set_ylabel("temperature\nobserved, °C")
    axis.grid(axis="y", color="#dddddd", linewidth=0.7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _labels(start: int, days: int) -> list[str]:
    """The hour every six hours, with the date below each midnight."""
    labels = []
    for hour in range(0, 24 * days, 6):
        moment = START + EASTERN + timedelta(hours=start + hour)
        labels.append(f"{moment:%H:%M}" + (f"\n{moment:%a} {moment.day} {moment:%b}" if moment.hour == 0 else ""))
    return labels
