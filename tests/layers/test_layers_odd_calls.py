"""Layers called in ways that few call them: shared between ranks, on sizes they were not built for, on numbers without
a value, with masks that do not fit, while another thread sets their weights."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest

from everystep import Input, Model, engine, layers
from everystep.errors import EverystepError, ShapeError
from everystep.layers.base import Layer

K = keras.layers
RNG = np.random.default_rng(5)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("Flatten", {}, [(2, 3, 4), (3, 4), (4,)]),
        ("Flatten", {"data_format": "channels_first"}, [(2, 3, 4), (3, 4)]),
        ("Reshape", {"target_shape": (6,)}, [(3, 2), (6,)]),
        ("Reshape", {"target_shape": (2, 3)}, [(3, 2), (6,)]),
        ("Softmax", {"axis": 1}, [(3, 4, 5), (4, 5)]),
        ("Softmax", {"axis": [1, -1]}, [(3, 4, 5), (4, 5)]),
        ("LayerNormalization", {}, [(3, 4), (4,)]),
        ("UnitNormalization", {}, [(3, 4), (4,)]),
    ],
)
def test_a_layer_shared_between_inputs_of_other_ranks_counts_axes_in_each(name: str, options: Any, shapes: Any) -> None:
    ours, theirs = getattr(layers, name)(**options), getattr(K, name)(**options)
    x = [Input(shape) for shape in shapes]
    model = Model(x, [ours(one) for one in x])
    data = [normal(2, *shape) for shape in shapes]
    for found, array in zip(model.predict(data), data, strict=True):
        np.testing.assert_allclose(found, np.asarray(theirs(array)), rtol=1e-5, atol=1e-6)


def test_a_sum_shared_between_inputs_of_other_ranks() -> None:
    add = layers.Add()
    a, b, c, d = (normal(2, *shape) for shape in ((3, 4), (3, 4), (3, 4), (4,)))
    assert add([a, b]).tobytes() == (a + b).tobytes()
    assert add([c, d]).tobytes() == (c + d[:, None]).tobytes()


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization(),
        layers.UnitNormalization(axis=1),
        layers.Normalization(),
        layers.BatchNormalization(),
    ],
    ids=lambda layer: layer.kind,
)
def test_sizes_that_a_layer_was_not_built_for_are_refused(layer: Layer) -> None:
    layer(normal(2, 3, 3))
    for shape in ((2, 4, 4), (2, 1, 1)):
        with pytest.raises(ShapeError, match="is built for"):
            layer(normal(*shape))


def test_one_feature_rescaled_by_several_numbers_is_as_many() -> None:
    x, several = normal(2, 3, 1), layers.Rescaling([1.0, 2.0, 3.0], 0.5)
    np.testing.assert_allclose(several(x), np.asarray(K.Rescaling([1.0, 2.0, 3.0], 0.5)(x)), rtol=1e-6)
    assert several(Input((3, 1))).shape == (None, 3, 3)
    with pytest.raises(ShapeError, match="scale and offset for 3 and 1 features"):
        several(normal(2, 3, 4))


@pytest.mark.parametrize("axis", [[1, -1], [-1, 1], [2, 1]])
def test_normalised_over_axes_from_both_ends_with_weights_in_keras_order(axis: list[int]) -> None:
    x = normal(2, 5, 6)
    ours, theirs = layers.LayerNormalization(axis=axis), K.LayerNormalization(axis=axis)
    ours(x), theirs(x)
    weights = [normal(*weight.shape) for weight in theirs.get_weights()]
    ours.set_weights(weights), theirs.set_weights(weights)
    np.testing.assert_allclose(ours(x), np.asarray(theirs(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization(),
        layers.UnitNormalization(),
        layers.UnitNormalization(axis=1),
        layers.BatchNormalization(),
        layers.Rescaling(3.0),
        layers.Softmax(axis=1),
        layers.LeakyReLU(0.0),
        layers.PReLU(shared_axes=[1]),
        layers.Activation("glu"),
        layers.Activation("sparsemax"),
        layers.DepthwiseConv1D(2),
        layers.AveragePooling1D(2),
        layers.GlobalAveragePooling1D(),
    ],
    ids=lambda layer: layer.kind,
)
def test_numbers_without_a_value_make_no_warnings(layer: Layer) -> None:
    x = normal(2, 5, 6)
    layer(x)
    x[0, :2] = [np.nan, np.inf, -np.inf, 3e38, -3e38, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = layer(x)
        state = layer.initial_state(2)
        for t in range(5 if layer.step_obstacle() is None else 0):
            _, state = layer.step(x[:, t], state)
        if isinstance(layer, layers.UnitNormalization):
            assert layer(x[:, :0] if layer.axis == -1 else x).shape[0] == 2
    assert np.isfinite(whole[1]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.BatchNormalization(axis=[1, 2]),
        lambda: layers.BatchNormalization(axis=[]),
        lambda: layers.Permute(("a", 1)),
        lambda: layers.Permute((True, 2)),
        lambda: layers.PReLU(shared_axes=1.5),  # type: ignore[arg-type]
        lambda: layers.MultiHeadAttention(2, 2, output_shape=2.5),  # type: ignore[arg-type]
        lambda: layers.MultiHeadAttention(2, 2, attention_axes=2.5),  # type: ignore[arg-type]
        lambda: layers.Softmax(axis=[1, -2])(normal(2, 3, 4)),
    ],
)
def test_options_that_are_no_numbers_or_too_many_are_refused(make: Any) -> None:
    with pytest.raises(EverystepError, match=r"^layer '\w+'"):
        make()


def test_masks_that_do_not_fit_are_refused() -> None:
    query, value = normal(2, 3, 4), normal(2, 5, 4)
    several, one, average = layers.MultiHeadAttention(2, 3), layers.Attention(), layers.GlobalAveragePooling1D()

    def held(*shape: int) -> Any:
        return np.ones(shape, bool)

    for shape in ((2, 5), (2, 3, 4), (3, 3, 5), (2, 4, 3, 5)):
        for scores in (False, True):
            with pytest.raises(ShapeError, match=r"attention_mask must be \(B,T,S\)"):
                several(query, value, attention_mask=held(*shape), return_attention_scores=scores)
    with pytest.raises(ShapeError, match="value_mask and key_mask are"):
        several(query, value, value_mask=held(2, 3))
    for mask in ([None, held(2, 3)], [held(2, 5), None], [None], held(2, 3)):
        with pytest.raises(ShapeError, match="mask"):
            one([query, value], mask=mask)
    with pytest.raises(ShapeError, match=r"mask must be \(B,T\)"):
        average(query, mask=held(2, 4))
    whole = np.ones((2, 5), "float32")  # numbers that are 0 or 1 do as well
    assert (
        one([query, value], mask=[None, whole], use_causal_mask=True) == one([query, value], use_causal_mask=True)
    ).all()


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (layers.Dense(3), (normal(2, 4),)),
        (layers.Conv1D(3, 2), (normal(2, 5, 4),)),
        (layers.SeparableConv1D(3, 2), (normal(2, 5, 4),)),
        (layers.MultiHeadAttention(2, 3), (normal(2, 5, 4), normal(2, 5, 4))),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_weights_set_while_another_thread_packs_are_the_ones_that_count(
    layer: Layer, inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other thread's call comes between reading the weights and keeping what was packed of them."""
    layer(*inputs)
    weights = [normal(*weight.shape) for weight in layer.get_weights()]
    layer.set_weights(layer.get_weights())
    pack, pending = engine.pack_matrix, [True]

    def packed_meanwhile(matrix: Any) -> Any:
        found = pack(matrix)
        if pending:
            pending.clear()
            layer.set_weights(weights)
        return found

    monkeypatch.setattr(engine, "pack_matrix", packed_meanwhile)
    layer(*inputs)
    found = layer(*inputs)
    layer.set_weights(weights)
    assert found.tobytes() == layer(*inputs).tobytes()
