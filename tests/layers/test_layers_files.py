"""Every option of convolutions, pooling and normalisation in `.keras` files: Keras's read here, ours read by Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from test_layers_convolution import KINDS as CONVOLUTIONS
from test_layers_normalization import KINDS as NORMALIZATIONS
from test_layers_pooling import GLOBAL
from test_layers_pooling import KINDS as POOLINGS
from tolerances import assert_close64
from topologies import Names
from wide_floats import float64

import everystep

B, T, I = 3, 12, 4
KINDS = [
    *CONVOLUTIONS,
    *POOLINGS,
    *((kind, dict(keepdims=keepdims)) for kind in GLOBAL for keepdims in (False, True)),
    *((kind, options) for kind, options in NORMALIZATIONS if np.ndim(options.get("mean", options.get("scale"))) == 0),
    ("Normalization", dict(mean=[0.5, -1, 2, 0], variance=[1, 2, 0, 4])),
    ("Rescaling", dict(scale=[0.5, -1, 2, 0], offset=[1, 2, 3, 4])),
    ("BatchNormalization", dict(momentum=0.5, renorm=True, renorm_clipping={"rmax": 3.0}, renorm_momentum=0.8)),
    ("BatchNormalization", dict(synchronized=False, gamma_regularizer="l2", beta_constraint="max_norm")),
    ("LayerNormalization", dict(gamma_initializer="he_normal", beta_regularizer="l1")),
    ("DepthwiseConv1D", dict(kernel_size=2, depthwise_initializer="he_normal", bias_constraint="unit_norm")),
    ("Cropping1D", dict(cropping=3)),
    ("ZeroPadding1D", dict(padding=(0, 2))),
]
CHANNELS_FIRST = ("Conv1D", "SeparableConv1D", "ZeroPadding1D", "MaxPooling1D", "AveragePooling1D", *GLOBAL)


def of_kind(kind: str) -> list[dict[str, Any]]:
    found = [options for its, options in KINDS if its == kind]
    if kind in CHANNELS_FIRST:
        found += [dict(o, data_format="channels_first") for o in found if o.get("activation") != "softmax"]
    return found


def random_weights(model: Any) -> None:
    """Variances above 0; counts are whole numbers."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape)
        whole = np.full(weight.shape, 3)
        weight.assign(whole if "int" in weight.dtype else np.abs(drawn) + 0.1 if "variance" in weight.path else drawn)


def configs(model: Any) -> list[Any]:
    """Of all layers, as JSON has them: no tuples."""
    return [keras.saving.serialize_keras_object(layer.get_config()) for layer in model.layers]


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`, which is deprecated:UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", sorted({kind for kind, _ in KINDS}))
def test_files_both_ways(kind: str, dtype: str, tmp_path: Any) -> None:
    k = Names(keras, dtype)
    with float64():
        last, first = k.Input((T, I), name="last"), k.Input((I, T), name="first")
        outputs = [
            getattr(k, kind)(**options)(first if "data_format" in options else last) for options in of_kind(kind)
        ]
        theirs = k.Model([last, first], outputs)
        random_weights(theirs)
        theirs.save(tmp_path / "theirs.keras")
        theirs = keras.saving.load_model(tmp_path / "theirs.keras")  # Normalization reads its weights as it loads
        ours = everystep.load_model(tmp_path / "theirs.keras")
        ours.save(tmp_path / "ours.keras")
        back = keras.saving.load_model(tmp_path / "ours.keras")
        again = everystep.load_model(tmp_path / "ours.keras")
        assert configs(back) == configs(theirs)

        x = np.random.default_rng(6).normal(size=(B, T, I)).astype(dtype)
        arrays = [x, np.ascontiguousarray(x.swapaxes(1, 2))]
        found = _listed(ours.predict(arrays))
        for one, other in zip(_listed(again.predict(arrays)), found, strict=True):
            np.testing.assert_array_equal(one, other)
        expected, returned = ([np.asarray(y) for y in _listed(m(arrays))] for m in (theirs, back))
        for one, other in zip(returned, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        if dtype == "float64":
            assert_close64(found, expected)


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
