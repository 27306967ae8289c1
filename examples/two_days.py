"""The next hour's weather from all hours before it, fed back for 48 hours, beside simple rivals.

The network is trained twice. First to forecast the next hour from observed ones, which is quick; fed back, it drifts.
So then as it will be used: through 48 hours of its own forecasts, the gradient going back through all of them. What is
known of the future is the clock alone. Size, step sizes, epochs and weights of the losses were chosen on October, by
fits on the months before it; the split is that of forecaster.py, and what it says of the test months holds here too.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from forecaster import rivals
from progress import Progress
from weather import FEATURES, MEASURED, Array, Weather, Windows, windows

import everystep
import everystep.keras as keras
from everystep.keras.layers import LSTM, Add, Concatenate, Dense, Input, Masking

HISTORY, AHEAD = 48, 48
UNITS, DROPOUT, RECURRENT_DROPOUT = 32, 0.2, 0.4
M, F = len(MEASURED), len(FEATURES)
BLOCKS = [(1, 6), (7, 12), (13, 24), (25, 36), (37, 48)]


class FedBack(keras.layers.Layer):
    """A cell for keras.layers.RNN whose input is the clock: it reads its own newest forecast beside it.

    It is the same LSTM and the same Dense as the model that it trains; their state goes on, with the forecast: h, c, y.
    """

    def __init__(self, lstm: Any, change: Any) -> None:
        super().__init__()
        self.lstm, self.change = lstm.cell, change
        self.state_size, self.output_size = [UNITS, UNITS, M], M

    def call(self, clock: Any, states: Any) -> Any:
        h, c, y = states
        h, (_, c) = self.lstm(keras.ops.concatenate([y, clock], -1), [h, c], training=False)
        y = y + self.change(h)
        return y, [h, c, y]


def read(weather: Weather) -> tuple[Windows, Windows]:
    """The forecasts to learn from, and to be judged by."""
    N = weather.observed.shape[1]
    return windows(weather, 0, weather.fitted, HISTORY, AHEAD), windows(weather, weather.fitted, N, HISTORY, AHEAD)


def train(weather: Weather, fit: Windows) -> tuple[Any, everystep.Model]:
    """The model of the next hour, (B,T,F) to (B,T,M), in units of the features; and that of the first training."""
    keras.utils.set_random_seed(2013)
    lstm = LSTM(
        UNITS,
        return_sequences=True,
        return_state=True,
        dropout=DROPOUT,
        recurrent_dropout=RECURRENT_DROPOUT,
        name="lstm",
    )
    change = Dense(M, kernel_initializer="zeros", name="change")  # at first, all stays as it is
    x = Input((None, F), name="hours")
    h, *state = lstm(Masking(0.0)(x))
    y = Add(name="next_hour")([x[:, :, :M], change(h)])
    model = keras.Model(x, y)

    by_hour = np.diff(weather.features[:, : weather.fitted, :M], axis=1).std(axis=(0, 1))

    def loss(true: Any, forecast: Any) -> Any:
        """The squared error over what an hour changes."""
        return keras.ops.mean(((true - forecast) / by_hour) ** 2, -1)

    observed, true, counts = sequences(weather)
    _fit(model, loss, observed, true, counts, epochs=5, batch=64, step_size=3e-3)
    before = everystep.from_keras(model)

    clock = Input((None, F - M), name="clock")
    first = y[:, -1]
    rest = keras.layers.RNN(FedBack(lstm, change), return_sequences=True)(clock, initial_state=[*state, first])
    fed_back = keras.Model([x, clock], Concatenate(axis=1)([first[:, None], rest]))
    some = slice(None, None, 3)
    counts = np.broadcast_to(np.arange(1, AHEAD + 1, dtype=np.float32) ** -0.5, (len(fit.x[some]), AHEAD))
    given = [fit.x[some], fit.after[some, :-1, M:]]
    _fit(fed_back, loss, given, fit.after[some, :, :M], counts, epochs=4, batch=128, step_size=5e-4)
    return model, before


def _fit(model: Any, loss: Any, x: Any, y: Array, counts: Array, *, epochs: int, batch: int, step_size: float) -> None:
    rate = keras.optimizers.schedules.CosineDecay(step_size, epochs * -(-len(y) // batch), alpha=0.1)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss=loss)
    model.fit(x, y, batch, epochs, sample_weight=counts, verbose=0, callbacks=[Progress()])


def sequences(weather: Weather, length: int = 96, every: int = 4) -> tuple[Array, Array, Array]:
    """Observed hours (W,T,F), the next hour of each (W,T,M), and whether it counts (W,T): where both were observed, and
    the network has seen some hours."""

    def cut(array: Array) -> Array:
        view = np.lib.stride_tricks.sliding_window_view(array[:, : weather.fitted], length + 1, axis=1)[:, ::every]
        return np.moveaxis(view, -1, 2).reshape(-1, length + 1, *array.shape[2:])

    seen, features = cut(weather.observed), cut(weather.features)
    counts = (seen[:, 1:] & seen[:, :-1]).astype(np.float32)
    counts[:, :8] = 0
    return np.where(seen[..., None], features, np.float32(0))[:, :-1], features[:, 1:, :M], counts


def forecast(model: everystep.Model, weather: Weather, data: Windows) -> Array:
    """(W,48) temperatures, by feedback."""
    y = model.forecast(data.x, AHEAD, feedback=range(M), future=data.after[..., M:])
    before = weather.known[:, : weather.fitted]
    return y[..., 0] * np.nanstd(before) + np.nanmean(before)


def judged(weather: Weather) -> str:
    """Trains, and forecasts the test months: a table of all forecasts' errors."""
    fit, test = read(weather)
    model, before = train(weather, fit)
    found = {
        **rivals(fit, test),
        "mean of the last 7 days, same hour": np.tile(test.week, AHEAD // 24),
        "LSTM, the next hour fed back": forecast(before, weather, test),
    }
    moved = everystep.from_keras(model)
    started = time.perf_counter()
    found["LSTM, trained as it is fed back"] = forecast(moved, weather, test)
    seconds = time.perf_counter() - started
    return f"\n{table(test, found)}\n\n{len(test.x)} forecasts of {AHEAD} hours by model.forecast in {seconds:.2f} s"


def table(test: Windows, forecasts: dict[str, Array]) -> str:
    """The errors by hours ahead, in degrees Celsius."""
    heads = "".join(f"{f'{first}–{last}':>9}" for first, last in BLOCKS)
    lines = [f"{'mean absolute error, °C':38}{'48 hours':>10}{heads}   hours ahead"]
    for name, found in forecasts.items():
        error = np.abs(found - test.future)
        cells = "".join(f"{error[:, first - 1 : last].mean():9.2f}" for first, last in BLOCKS)
        lines.append(f"{name:38}{error.mean():10.2f}{cells}")
    return "\n".join(lines)
