"""One layer here and in Keras, with the same weights, on the same numbers: what both return, and their masks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from tolerances import assert_close64, model_tolerances
from wide_floats import float64

from everystep import layers, models


def pair(kind: str, inputs: Any, number: int = 0, dtype: str = "float64", **options: Any) -> tuple[Any, Any]:
    """Our layer and Keras's, built on these inputs, with the same random weights; to be called within `float64`."""
    both = tuple(getattr(library, kind)(**options, dtype=dtype) for library in (layers, keras.layers))
    both[0](inputs)
    both[1](inputs)
    rng = np.random.default_rng(number)
    weights = [rng.normal(size=weight.shape) for weight in both[0].get_weights()]
    both[0].set_weights(weights)
    both[1].set_weights(weights)
    return both


def assert_same(kind: str, inputs: Any, **options: Any) -> None:
    """Equal outputs in float64 and, to what float32 holds of numbers of order 1 after a few operations, in float32."""
    with float64():
        ours, theirs = pair(kind, inputs, **options)
        assert_close64([ours(inputs)], [np.asarray(theirs(inputs))])
        expected = {k: v for k, v in theirs.get_config().items() if k not in ("name", "dtype")}
        found = {k: v for k, v in ours.get_config().items() if k not in ("name", "dtype")}
        plain = keras.saving.serialize_keras_object
        assert plain(found) == plain(expected)


def assert_same_model(build: Any, arrays: list[Any], path: Any) -> Any:
    """A model of Keras's, saved and loaded here, and saved here and loaded there, predicts the same each time.

    Args:
        build: of keras.layers: (inputs, outputs).
        arrays: for the inputs.
        path: of a folder.

    Returns:
        our model
    """
    import everystep

    inputs, outputs = build(keras.layers)
    theirs = keras.Model(inputs, outputs)
    rng = np.random.default_rng(3)
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    theirs.save(path / "theirs.keras")
    ours = everystep.load_model(path / "theirs.keras")
    assert isinstance(ours, models.Model)
    ours.save(path / "ours.keras")
    back = keras.saving.load_model(path / "ours.keras")
    expected = theirs.predict(arrays, verbose=0)
    tolerances = model_tolerances(ours, arrays)
    for found in (ours.predict(arrays), back.predict(arrays, verbose=0)):
        assert_within(found, expected, tolerances)
    return ours


def assert_within(found: Any, expected: Any, tolerances: list[float]) -> None:
    """Equal in structure and shapes, and each output to its tolerance."""
    for a, b, tolerance in zip(listed(found), listed(expected), tolerances, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
