"""The main job from end to end: what `make demo` runs, in under four minutes.

1. A tutorial's four models on `return_sequences` and `return_state`, on NumPy alone, each explained in words.
2. The same code on Keras: the same bits.
3. A forecaster trained on a year of weather, judged beside simple rivals, moved to NumPy, and its memory drawn.
4. The forecaster saved, and opened by a process without a framework, which streams real hours one by one.
5. A model of the next hour alone, fed back to forecast 48 hours.
6. An encoder-decoder with attention, trained to read dates as sixteen locales write them.
7. The encoder-decoder from its file, without a framework: days and patterns that it never saw, greedy and by beam.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import seed_cases

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "out" / "weather_states.png"
ATTENTION = HERE.parent / "out" / "dates_attention.png"


def heading(text: str) -> None:
    print(f"\n{'=' * 110}\n{text}\n{'=' * 110}\n", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(" ".join(text.split()), 110) + "\n", flush=True)


def on_numpy(save: Path) -> None:
    heading("1. Four models on return_sequences and return_state, on NumPy")
    say(
        """The code is a tutorial's, with `tensorflow.keras` replaced by `everystep`. The tutorial's weights are lost;
        the ones set here before each prediction were solved for, so that its printed numbers come out again. They obey
        what Keras's initializers promise: a kernel within Glorot's bound, a recurrent kernel of norm 1, a forget bias
        of 1. Importing keras, jax, torch or tensorflow is an error in this process."""
    )
    command = [sys.executable, str(HERE / "seed_cases.py"), "everystep", "--explain", "--save", str(save)]
    subprocess.run([*command, "--without", "keras", "jax", "torch", "tensorflow"], check=True)


def on_keras(saved: Path) -> None:
    heading("2. The same four models on Keras")
    say("The same code with `everystep.keras`: these models can be trained, and compute on the same engine.")
    import everystep.keras

    with np.load(saved) as numpy_outputs:
        for number, case in enumerate(seed_cases.CASES, 1):
            ran = seed_cases.run(case, "everystep.keras")
            pairs = [(numpy_outputs[f"case{number}_output{k}"], array) for k, array in enumerate(ran.outputs)]
            same = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)
            print(f"# Case {number}\n{ran.printed}\n{'same bits' if same else 'NOT the same bits'} as on NumPy\n")
            print(f"{everystep.keras.routes(ran.model)}\n")
            if not same or ran.printed != case.printed:
                raise SystemExit(f"case {number} differs: the tutorial prints\n{case.printed}")


def on_weather(save: Path) -> None:
    heading("3. A forecaster: New York's temperature over the next 24 hours")
    import forecaster
    import picture

    data = forecaster.read()
    gaps = int((~data.weather.observed).sum())
    say(
        f"""Hourly observations at {", ".join(picture.AIRPORTS)} in 2013. {len(data.fit.x):,} forecasts from January to
        October to learn from, {len(data.test.x):,} in November and December to be judged by. {gaps} hours were not
        observed: the LSTM skips them by a mask, and a forecast of one is not judged."""
    )
    model = forecaster.train(data.fit)
    print(f"\n{forecaster.keras.routes(model)}\n")
    forecasts = forecaster.rivals(data.fit, data.test)
    returned = model.predict(data.test.x, batch_size=1024, verbose=0)
    forecasts["LSTM"] = forecaster.degrees(data.test, returned)
    print(f"{forecaster.table(data.test, forecasts)}\n")
    print("Moved to NumPy by everystep.from_keras:")
    print(f"{forecaster.moved(model, data.test.x)}\n")
    weights = model.get_layer("lstm").get_weights()
    picture.draw(data.weather, weights, forecaster.index(12, 21), 3, forecaster.HISTORY, PICTURE)
    print(f"Its h, c and forget gate over three days: {PICTURE.relative_to(HERE.parent)}")
    model.save(save)


def streamed(saved: Path) -> None:
    heading("4. The forecaster from its file, hour by hour, without a framework")
    say(
        f"""Keras saved it: {saved.stat().st_size:,} bytes. A fresh process, in which importing keras, jax, torch or
        tensorflow is an error, opens the file and takes one hour of weather at a time. It has no window: what it knows
        of the past is its state."""
    )
    command = [sys.executable, str(HERE / "stream_forecasts.py"), str(saved)]
    subprocess.run([*command, "--without", "keras", "jax", "torch", "tensorflow"], check=True)


def two_days_ahead() -> None:
    heading("5. Forty-eight hours ahead, by feedback")
    say(
        """Another LSTM knows the next hour alone: temperature, dew point, pressure and wind. Its forecast is fed back
        as the next hour's weather, beside the hour of the day, which is known; so it goes on as long as one likes.
        Trained on the next hour only it drifts; so it is then trained through 48 hours of its own forecasts."""
    )
    import forecaster
    import two_days

    print(two_days.judged(forecaster.read().weather))


def on_dates(model_file: Path, vocabulary_file: Path) -> None:
    heading("6. Dates as sixteen locales write them: an encoder-decoder")
    import dates
    import dates_model

    days = dates.days()
    strings = dates.seen(days.fit, dates_model.STRINGS, dates.SEED)
    patterns = sum(len(dates.patterns(locale)) for locale in dates.LOCALES)
    say(
        f"""No one wrote these dates: Babel makes them by the patterns of the Unicode CLDR, {patterns} patterns of
        {len(dates.LOCALES)} locales, of all days from {dates.FIRST.year} to {dates.LAST.year}. The model reads a
        locale's token and the characters of a string, and writes the day in ISO 8601. In training it reads each of
        {len(strings):,} strings once, such as"""
    )
    for locale in ("de", "en_US", "ja"):
        one = next(one for one in strings if one.locale == locale)
        print(f"    {locale:8}{one.text}  ->  {one.iso}")
    print()
    say(
        f"""Held out: {len(days.test):,} days, drawn from all of them, in whatever locale; and one pattern of every
        locale, on all days. {len(days.choose):,} more days were for choosing the model's size and its training."""
    )
    text = dates_model.vocabulary(strings)
    model = dates_model.train(text, strings)
    print(f"\n{model.count_params():,} weights in {model.name!r}:\n{dates_model.keras.routes(model)}")
    model.save(model_file)
    text.save(vocabulary_file)


def decoded(model_file: Path, vocabulary_file: Path) -> None:
    heading("7. The encoder-decoder from its file, without a framework")
    say(
        f"""Keras saved the graph that was trained: {model_file.stat().st_size:,} bytes; no second model was built to
        decode. A fresh process, in which importing keras, jax, torch or tensorflow is an error, opens it, runs the
        encoder once and feeds the decoder what it wrote: the likeliest character, which is greedy, or the four
        likeliest strings so far, a beam."""
    )
    command = [sys.executable, str(HERE / "dates_decode.py"), str(model_file), str(vocabulary_file)]
    command += ["--picture", str(ATTENTION), "--without", "keras", "jax", "torch", "tensorflow"]
    subprocess.run(command, check=True)


def main() -> None:
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "numpy.npz"
        on_numpy(saved)
        on_keras(saved)
        on_weather(Path(folder) / "forecaster.keras")
        streamed(Path(folder) / "forecaster.keras")
        two_days_ahead()
        dates_files = Path(folder) / "dates.keras", Path(folder) / "dates.json"
        on_dates(*dates_files)
        decoded(*dates_files)
    print(f"\nAll in {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
