"""A drawn model in stock Keras, and its file here: the same numbers, whole, in float32 too, and step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from drawn_models import B
from tolerances import assert_close64

import everystep
from everystep.errors import ShapeError, UnsupportedError
from everystep.layers.structure import flatten
from everystep.models import Model

# In a model of these alone a step has the bits of predict on the prefix: the list in docs/streams.md, inputs and cells.
_EXACT = (
    "LSTM GRU SimpleRNN RNN Dense Embedding Masking Concatenate Dropout Activation TimeDistributed Conv1D "
    "DepthwiseConv1D SeparableConv1D MaxPooling1D AveragePooling1D Cropping1D GlobalMaxPooling1D "
    "GlobalAveragePooling1D LayerNormalization BatchNormalization UnitNormalization Normalization Rescaling "
    "SpatialDropout1D AlphaDropout GaussianDropout GaussianNoise ActivityRegularization Identity ReLU LeakyReLU ELU "
    "PReLU Add Average Multiply Maximum Minimum Subtract Softmax Reshape Permute InputLayer LSTMCell GRUCell "
    "SimpleRNNCell StackedRNNCells"
)
EXACT = frozenset(_EXACT.split())


def random_weights(model: Any, rng: np.random.Generator) -> None:
    """Weights without any symmetry; variances above 0. What Normalization adapted to stays."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) or list(layer._flatten_layers(include_self=False)):
            continue
        for weight in layer.weights:
            values = rng.normal(0, 0.6, weight.shape)
            weight.assign(np.abs(values) + 0.2 if "variance" in weight.name else values)


def random_inputs(model: Any, rng: np.random.Generator, dtype: str = "float64") -> list[np.ndarray]:
    """An array for each input; steps that Masking masks, and ids that Embedding masks, among them."""
    arrays = []
    for tensor in model.inputs:
        shape = (B, *tensor.shape[1:])
        if tensor.dtype == "int32":
            arrays.append(rng.integers(0, 5, shape).astype("int32"))
        elif tensor.dtype == "bool":
            arrays.append(rng.random(shape) < 0.65)
        else:
            x = rng.normal(size=shape).astype(dtype)
            if x.ndim > 2:
                x[rng.random(shape[:-1]) < 0.2] = 0
                x[rng.random(shape[:-1]) < 0.15] = 1.5
            arrays.append(x)
    return arrays


def _alone(x: list[Any]) -> Any:
    return x if len(x) > 1 else x[0]


def arrays(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in keras.tree.flatten(outputs)]


def finite(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both with 0 where both have the same that is not a number or infinite."""
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    found = []
    for a, b in zip(ours, theirs, strict=True):
        odd = ~np.isfinite(b) if b.dtype.kind == "f" else np.zeros(b.shape, bool)
        np.testing.assert_array_equal(a[odd], b[odd])
        found.append((np.where(odd, 0, a).astype(a.dtype), np.where(odd, 0, b).astype(b.dtype)))
    return [a for a, _ in found], [b for _, b in found]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Fractions to what float64 holds, whole numbers and flags as they are."""
    assert len(ours) == len(theirs)
    ours, theirs = finite(ours, theirs)
    for a, b in zip(ours, theirs, strict=True):
        if b.dtype.kind == "f":
            assert_close64([a], [b])
        else:
            np.testing.assert_array_equal(a, b)


class Refused(Exception):
    """Stock Keras raises, or its file does not hold the model that it was made of: there is nothing to compare."""


def compare(theirs: Any, seed: int, folder: Path) -> Model:
    """Ours, of their file, after both returned the same.

    Raises:
        Refused: Keras does not run the model.
    """
    rng = np.random.default_rng(seed)
    random_weights(theirs, rng)
    x = random_inputs(theirs, rng)
    path = folder / "drawn.keras"
    theirs.save(path)
    try:
        expected = theirs.predict(_alone(x), verbose=0)
    except Exception as error:
        raise Refused(f"{type(error).__name__}: {str(error)[:300]}") from error
    ours = everystep.load_model(path)
    assert isinstance(ours, Model)
    found = ours.predict(_alone(x))
    keras.tree.assert_same_structure(found, expected)
    if any(layer.kind == "MultiHeadAttention" for layer in ours.flat_layers().values()):
        assert_within(arrays(found), arrays(expected), allowed32(ours, x, rng))  # Keras's softmax there is of float32
    else:
        assert_same(arrays(found), arrays(expected))
    assert_same(arrays(ours.predict(_alone(x), batch_size=2)), arrays(found))
    return ours


# ---- float32 ----

SIZE = 64 * float(np.finfo(np.float32).eps)
# What jumps: a number that is rounded may be on the other side.
_JUMPS = (
    "Sign Floor Ceil Round Mod FloorDivide Equal NotEqual Greater GreaterEqual Less LessEqual Argmax Argmin Cast "
    "Threshold OneHot Any All LogicalAnd LogicalOr LogicalXor LogicalNot Where DivideNoNan"
)
JUMPS = frozenset(_JUMPS.split())


def allowed32(ours: Model, x: list[np.ndarray], rng: np.random.Generator) -> list[float]:
    """For each output, how far a run in float32 and another one may lie apart.

    Higham, "Accuracy and Stability of Numerical Algorithms" (2002), 3.1: a sum of n products, in any order, is the
    exact sum of products of which each is changed by up to n eps, relatively; a function within a few ulp is the same
    on a number changed as little. So what a run in float32 is off by is what weights and inputs changed that much are
    off by in float64, to first order. Here they are changed by SIZE, 64 eps, in random directions, eight times;
    twice the largest change found is allowed for each of the two runs, and SIZE of the largest number for what is
    rounded last. Numbers that Masking looks for stay what they are.
    """
    weights = ours.get_weights()

    def moved(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        return np.where(np.isin(array, (0, 1.5)), array, array * (1 + SIZE * rng.choice([-1, 1], array.shape)))

    def run() -> list[np.ndarray]:
        return [v.astype("float64") for v in arrays(ours.predict(_alone([moved(a) for a in x])))]

    middle = [v.astype("float64") for v in arrays(ours.predict(_alone(x)))]
    change = [0.0] * len(middle)
    with np.errstate(invalid="ignore"):
        for _ in range(8):
            ours.set_weights([moved(w) for w in weights])
            found = run()
            change = [max(c, _largest(a - b)) for c, a, b in zip(change, middle, found, strict=True)]
    ours.set_weights(weights)
    return [4 * c + SIZE * max(1.0, _largest(a)) for c, a in zip(change, middle, strict=True)]


def _largest(array: np.ndarray) -> float:
    return float(np.nanmax(abs(array), initial=0))


def assert_within(ours: list[np.ndarray], theirs: list[np.ndarray], allowed: list[float]) -> None:
    for one, other, most in zip(ours, theirs, allowed, strict=True):
        if most > 1e20:  # where float32 ends, one may be infinite before the other
            continue
        (a,), (b,) = finite([one], [other])
        assert float(np.abs(a.astype("float64") - b.astype("float64")).max(initial=0)) <= most


def compare32(theirs: Any, ours: Model, seed: int) -> bool:
    """Both again with every float64 in their configs made float32; False where the model has jumps."""
    if JUMPS & {operation.kind for operation in _operations(ours)}:
        return False
    rng = np.random.default_rng(seed)
    narrow = [a.astype("float32") if a.dtype.kind == "f" else a for a in random_inputs(theirs, rng)]
    weights = [w.astype("float32") if w.dtype.kind == "f" else w for w in theirs.get_weights()]
    ours.set_weights(weights)
    allowed = allowed32(ours, [a.astype("float64") if a.dtype.kind == "f" else a for a in narrow], rng)

    config = json.loads(json.dumps(keras.saving.serialize_keras_object(theirs)).replace("float64", "float32"))
    twin = keras.saving.deserialize_keras_object(config)
    mine = type(ours).from_config(json.loads(json.dumps(ours.get_config()).replace("float64", "float32")))
    for model in (twin, mine):
        model.set_weights(weights)
    for layer in twin._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    expected, found = arrays(twin.predict(_alone(narrow), verbose=0)), arrays(mine.predict(_alone(narrow)))
    assert [v.dtype for v in found] == [tensor.dtype for tensor in mine.outputs]
    assert_within(found, expected, allowed)
    return True


def _operations(model: Model) -> list[Any]:
    found = []
    for node in model.graph.nodes:
        found += [node.operation, *(_operations(node.operation) if isinstance(node.operation, Model) else [])]
    return found


# ---- Streams ----


def stream(ours: Model, seed: int) -> str | None:
    """Each step beside predict on the prefix: to the bit where only layers of EXACT are, else as close as float64.

    Returns:
        why the model is not streamed, or None
    """
    x = {t.name: a for t, a in zip(ours.inputs, random_inputs(ours, np.random.default_rng(seed)), strict=True)}
    static = {t.name: x[t.name] for t in ours.inputs if len(t.shape) == 2 and t.dtype == "float64"}
    streamed = [name for name in x if name not in static]
    if not streamed:
        return "has no sequence"
    try:
        stream = ours.stream(B, static=static)
    except UnsupportedError as error:
        return str(error)
    kinds = {layer.kind for layer in ours.flat_layers().values()}
    exact = kinds <= EXACT
    T = min(x[name].shape[1] for name in streamed)
    for t in range(T):
        stepped = flatten(stream.step({name: x[name][:, t] for name in streamed}))
        try:
            prefix = {name: a if name in static else a[:, : t + 1] for name, a in x.items()}
            ran = flatten(ours.run([prefix[tensor.name] for tensor in ours.inputs])[0])
        except ShapeError:  # shorter than a window
            continue
        for now, whole in zip(stepped, ran, strict=True):
            timed = now.ndim < whole.ndim
            if timed and not whole.shape[1]:
                assert np.isnan(now).all()
                continue
            newest = whole[:, -1] if timed else whole
            if exact:
                assert now.dtype == newest.dtype
                np.testing.assert_array_equal(now, newest)
            else:
                assert_same([np.asarray(now)], [newest])
    return None
