"""Faults of forecasts that are fed back."""

from __future__ import annotations

from fault import Fault

FORECAST, TESTS = "src/everystep/models/forecast.py", ("tests/models/test_models_forecast.py",)

FORECAST_FAULTS = [
    Fault(
        "forecast: the known columns are those of the next step",
        FORECAST,
        "x_t[:, left] = known[:, k]",
        "x_t[:, left] = known[:, k + 1]",
        TESTS,
    ),
    Fault(
        "forecast: what is not fed back shifts what is",
        FORECAST,
        "x_t[:, into] = converted(where, y, tensor.dtype)[:, of]",
        "x_t[:, into] = converted(where, y, tensor.dtype)[:, : len(of)]",
        TESTS,
    ),
    Fault(
        "forecast: histories of other lengths begin anew after they were read",
        FORECAST,
        "stream._take(rows, some)",
        "pass",
        TESTS,
    ),
    Fault(
        "forecast: a shorter history is read with its padding",
        FORECAST,
        "y[rows] = _newest(some, x[rows, :T])",
        "y[rows] = _newest(some, x[rows])",
        TESTS,
    ),
    Fault(
        "forecast: the newest step of the history is read twice",
        FORECAST,
        "stream.run(x[:, :-1])",
        "stream.run(x)",
        TESTS,
    ),
    Fault(
        "forecast: the function is told the number of the step that it makes",
        FORECAST,
        "y = stream.step(feed(y, k - 1))",
        "y = stream.step(feed(y, k))",
        TESTS,
    ),
    Fault(
        "forecast: nobody asks whether there is an output yet",
        FORECAST,
        "if output.clock is not None and not output.clock.arrived.all():",
        "if output.clock is not None and not output.clock.arrived.any():",
        TESTS,
    ),
]
