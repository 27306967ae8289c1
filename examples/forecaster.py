"""An LSTM that forecasts the next 24 hours' temperature from the last 48 hours' weather, beside three simple rivals.

Split in time: fitted on January to October, tested on November and December. The network's size, dropout, step size and
number of epochs were chosen on October, by fits on the months before it; then it is fitted once on all ten months.
The test months were looked at while the example was written, so they are no blind test.

What it forecasts is the change from the temperature now. An hour that was not observed is a masked step: the LSTM
carries its state past it. Everything is seeded.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from progress import Progress
from weather import FEATURES, Array, Weather, Windows, index, load, windows

import everystep.keras as keras
from everystep.keras.layers import LSTM, Dense, Input, Masking

HISTORY, AHEAD = 48, 24
UNITS, DROPOUT, RECURRENT_DROPOUT = 48, 0.2, 0.4
EPOCHS, BATCH, STEP_SIZE = 12, 128, 3e-3
SCALE = 5.0  # degrees; what the network returns is in units of it
TEST = index(11, 1)


class Data(NamedTuple):
    """The weather, and the forecasts to learn from and to be judged by."""

    weather: Weather
    fit: Windows
    test: Windows


def read() -> Data:
    """The year, split in time: no forecast to learn from reaches into the test months."""
    weather = load(TEST)
    N = weather.observed.shape[1]
    return Data(weather, windows(weather, 0, TEST, HISTORY, AHEAD), windows(weather, TEST, N, HISTORY, AHEAD))


def train(data: Windows) -> Any:
    """The fitted Keras model: (B,T,F) to (B,24), the change from now in units of SCALE."""
    keras.utils.set_random_seed(2013)
    x = Input((None, len(FEATURES)))
    seen = Masking(0.0)(x)
    h = LSTM(UNITS, dropout=DROPOUT, recurrent_dropout=RECURRENT_DROPOUT, name="lstm")(seen)
    model = keras.Model(x, Dense(AHEAD, name="forecast")(h))
    batches = -(-len(data.x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(STEP_SIZE, EPOCHS * batches)
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    y = (data.future - data.now[:, None]) / SCALE
    model.fit(data.x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[Progress()])
    return model


def degrees(data: Windows, returned: Array) -> Array:
    """(W,24) temperatures, from what the network returned."""
    return returned * SCALE + data.now[:, None]


def rivals(fit: Windows, test: Windows) -> dict[str, Array]:
    """What else one might forecast, (W,24) each."""

    def with_constant(data: Windows) -> Array:
        flat = data.filled.reshape(len(data.filled), -1).astype(np.float64)
        return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)

    change = (fit.future - fit.now[:, None]).astype(np.float64)
    coefficients = np.linalg.lstsq(with_constant(fit), change, rcond=None)[0]
    return {
        "as it is now (persistence)": np.broadcast_to(test.now[:, None], test.future.shape),
        "same hour yesterday": test.yesterday,
        "linear autoregression, same inputs": with_constant(test) @ coefficients + test.now[:, None],
    }


def table(test: Windows, forecasts: dict[str, Array]) -> str:
    """Every forecast's errors, in degrees Celsius, and how far it is under the same hour of yesterday."""
    errors = {name: np.abs(forecast - test.future) for name, forecast in forecasts.items()}
    yesterday = errors["same hour yesterday"].mean()
    lines = [f"{'mean absolute error, °C':36}{'24 hours':>10}{'hour 1':>9}{'hour 6':>9}{'hour 12':>9}{'hour 24':>9}"]
    for name, error in errors.items():
        cells = [error.mean(), *(error[:, k - 1].mean() for k in (1, 6, 12, 24))]
        under = 100 * (1 - error.mean() / yesterday)
        beside = (
            ""
            if name == "same hour yesterday"
            else f"   {abs(under):.0f} % {'under' if under > 0 else 'over'} yesterday"
        )
        lines.append(f"{name:36}{cells[0]:10.2f}" + "".join(f"{cell:9.2f}" for cell in cells[1:]) + beside)
    return "\n".join(lines)


def moved(model: Any, x: Array) -> str:
    """Moves the model to NumPy, and says how near its predictions are to the Keras model's."""
    import everystep

    numpy_model = everystep.from_keras(model)
    started = time.perf_counter()
    ours = numpy_model.predict(x)
    seconds = time.perf_counter() - started
    difference = np.abs(ours - model.predict(x, batch_size=1024, verbose=0)).max() * SCALE
    h = keras.Model(model.input, model.get_layer("lstm").output).predict(x, batch_size=1024, verbose=0)
    inner = everystep.Model(numpy_model.inputs, numpy_model.get_layer("lstm").output)
    same = np.array_equal(inner.predict(x), h)
    return (
        f"{len(x)} forecasts in {seconds:.2f} s; largest difference from Keras's: {difference:.1e} °C\n"
        f"h of the LSTM: {'the same bits in both' if same else 'not the same bits'}"
    )
