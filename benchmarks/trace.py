"""Times what a trace costs, relative to predict: `make trace-bench`.

A trace of everything, h, c and gates of every layer, and a predict of the same model take turns, many times over; the
cost is the median of the ratios of neighbours. It should stay within 1.5.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import report
from timing import timed

from everystep import Input, Model
from everystep.layers import GRU, LSTM, Dense

B, T, I, H = 32, 100, 64, 256


def models() -> dict[str, Any]:
    x = Input((T, I))
    two = LSTM(H, return_sequences=True)(x)
    return {
        f"LSTM({H})": Model(x, LSTM(H)(x)),
        f"LSTM({H}), sequences": Model(x, LSTM(H, return_sequences=True)(x)),
        f"LSTM({H}), GRU({H}), Dense(10)": Model(x, Dense(10)(GRU(H)(two))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Times what a trace costs, relative to predict.")
    parser.add_argument("--seconds", type=float, default=10, help="for each model")
    limit = parser.parse_args().seconds
    x = np.random.default_rng(1).standard_normal((B, T, I), np.float32)
    print(f"B {B}, T {T}, I {I}, float32; median, and quartiles")
    for name, model in models().items():
        plain, traced = map(
            np.asarray, timed([lambda m=model: m.predict(x), lambda m=model: m.trace(x).compute()], limit)
        )
        low, cost, high = np.quantile(traced / plain, (0.25, 0.5, 0.75))
        times = f"predict {report.duration(float(np.median(plain)))}, trace {report.duration(float(np.median(traced)))}"
        print(
            f"{name}: {times}; {cost:.2f} times ({low:.2f} to {high:.2f}), {'within' if cost <= 1.5 else 'above'} 1.5"
        )


if __name__ == "__main__":
    main()
