"""everystep: a saved model's `generate`."""

from collections.abc import Callable

import numpy as np
from decoding import END, MOST, START, Decoding, W

import everystep


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(d: Decoding) -> Callable[[], np.ndarray]:
    model, source = everystep.load_model(d.file(".keras")), d.source
    options = {"method": "beam", "beam_width": W} if d.method == "beam" else {}
    return lambda: model.generate(source, start=START, end=END, max_length=MOST, **options)
