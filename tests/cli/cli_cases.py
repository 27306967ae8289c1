"""Models in files, and the command run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from topologies import random_weights

import everystep
from everystep import Input, Model
from everystep.cli.commands import everystep as command
from everystep.layers import LSTM, Concatenate, Dense, Embedding

I, H = 3, 4


def run(*arguments: Any, input: str | bytes | None = None) -> Result:
    """The command in this process; what it raises that is no foreseen error comes through."""
    return CliRunner().invoke(command, [str(each) for each in arguments], input=input, catch_exceptions=False)


def ran(*arguments: Any, input: str | bytes | None = None) -> str:
    """What the command prints, where it must not fail."""
    result = run(*arguments, input=input)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: Any, code: int = 1, input: str | bytes | None = None) -> str:
    """The one message on standard error, where the command must fail."""
    result = run(*arguments, input=input)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def sequences() -> Model:
    """(B,T,I) to one output at each step."""
    x = Input((None, I), name="weather")
    return Model(x, Dense(2, name="forecast")(LSTM(H, return_sequences=True)(x)))


def last(dtype: str = "float32") -> Model:
    """(B,T,I) to one output a row."""
    x = Input((None, I), name="weather", dtype=dtype)
    return Model(x, Dense(2, name="forecast", dtype=dtype)(LSTM(H, dtype=dtype)(x)))


def states() -> Model:
    """Outputs of a layer that returns several."""
    x = Input((None, I), name="weather")
    h, last_h, c = LSTM(H, return_sequences=True, return_state=True, name="lstm")(x)
    return Model(x, [Dense(1, name="forecast")(h), last_h, c])


def two_inputs() -> Model:
    """Sequences beside token ids."""
    x, tokens = Input((None, I), name="weather"), Input((None,), dtype="int32", name="day")
    joined = Concatenate()([x, Embedding(7, 2)(tokens)])
    return Model([x, tokens], Dense(2, name="forecast")(LSTM(H, return_sequences=True)(joined)))


def rows() -> Model:
    """(B,I) to one number."""
    x = Input((I,), name="features")
    return Model(x, Dense(1, name="price")(x))


def saved(model: Model, folder: Path, name: str = "model.keras") -> tuple[Path, Model]:
    """The model with random weights, in a file, and as it is loaded from there."""
    random_weights(model, np.random.default_rng(7))
    model.save(folder / name)
    return folder / name, everystep.load_model(folder / name)
