"""A saved forecaster in a process without a framework, fed hour by hour with weather as it was observed.

    python examples/stream_forecasts.py MODEL.keras [--hours 24] [--without keras ...]

One sequence for each airport, side by side. What each step returns is compared with `predict` on all hours so far.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

START = time.perf_counter()

from seed_cases import forbid  # noqa: E402  # which imports NumPy: the clock runs from before

SCALE = 5.0  # degrees, as in forecaster.py, which imports Keras


def main() -> None:
    parser = argparse.ArgumentParser(description="Stream a saved forecaster.")
    parser.add_argument("model", help="the .keras file")
    parser.add_argument("--hours", type=int, default=24, help="how many hours to print, from 21 December 2013 on")
    parser.add_argument("--without", nargs="*", default=[], help="packages that must not be imported")
    options = parser.parse_args()
    forbid(options.without)

    import numpy as np
    from weather import AIRPORTS, index, load

    import everystep

    imported = time.perf_counter()
    model = everystep.load_model(options.model)
    stream = model.stream(batch_size=len(AIRPORTS))
    ready = time.perf_counter()
    print(f"Python's start to a stream of {options.model.rsplit('/', 1)[-1]}: ", end="")
    print(f"imports {imported - START:.2f} s, h5py, load and open {1000 * (ready - imported):.0f} ms\n")

    year = load(index(11, 1))
    begin = index(12, 21)
    x = np.where(year.observed[..., None], year.features, np.float32(0))[:, begin : begin + options.hours]
    print(f"{'hour':>5}{'':4}{'now, °C':24}{'forecast for 24 hours later, °C':36}{'step':>8}")
    print(f"{'':9}" + "".join(f"{name:>8}" for name in AIRPORTS) + "".join(f"{name:>12}" for name in AIRPORTS))
    returned, times = [], []
    for hour in range(options.hours):
        x_t = np.ascontiguousarray(x[:, hour])
        started = time.perf_counter()
        y_t = stream.step(x_t)
        times.append(1e6 * (time.perf_counter() - started))
        returned.append(y_t)
        now = year.known[:, begin + hour]
        words = "".join(f"{t:8.1f}" for t in now) + "".join(f"{t:12.1f}" for t in now + SCALE * y_t[:, -1])
        print(f"{hour:5}{'':4}{words}{times[-1]:9.1f} µs", flush=True)
    same = all(np.array_equal(y_t, model.predict(x[:, : hour + 1])) for hour, y_t in enumerate(returned))
    print(f"\nmedian step, {len(AIRPORTS)} airports at once: {statistics.median(times):.1f} µs")
    print(f"each of them is {'the same bits as' if same else 'NOT the same bits as'} predict on all hours so far")
    if options.without:
        found = sorted({name.split(".")[0] for name in sys.modules} & set(options.without))
        print(f"of {', '.join(options.without)} {'none' if not found else ', '.join(found)} was imported")
    if not same:
        raise SystemExit("the stream differs from predict")


if __name__ == "__main__":
    main()
