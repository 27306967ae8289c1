"""What every layer promises: run and step agree to the bit, however a sequence is cut, in whatever company a row is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from everystep.errors import DtypeError, OptionError, UnsupportedError
from everystep.layers import (
    ELU,
    GRU,
    LSTM,
    RNN,
    Activation,
    ActivityRegularization,
    Add,
    AlphaDropout,
    Average,
    AveragePooling1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Cropping1D,
    Dense,
    DepthwiseConv1D,
    Dropout,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    GRUCell,
    Identity,
    Layer,
    LayerNormalization,
    LeakyReLU,
    LSTMCell,
    Masking,
    Maximum,
    MaxPooling1D,
    Minimum,
    Multiply,
    Normalization,
    Permute,
    PReLU,
    ReLU,
    Rescaling,
    Reshape,
    SeparableConv1D,
    SimpleRNN,
    SimpleRNNCell,
    Softmax,
    SpatialDropout1D,
    Subtract,
    TimeDistributed,
    UnitNormalization,
    UpSampling1D,
    ZeroPadding1D,
)
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten, map_leaves
from everystep.layers.windows import Windowed

B, T, I, H = 6, 9, 5, 7


class Case(NamedTuple):
    make: Callable[[str], Layer]
    inputs: Callable[[np.random.Generator, str], Any]
    flags: tuple[str, ...] = ()  # of mask and resets, what the call takes


def floats(rng: np.random.Generator, dtype: str) -> Any:
    x = rng.normal(size=(B, T, I)).astype(dtype)
    x[1, 3:5] = 0
    return x


def ids(rng: np.random.Generator, dtype: str) -> Any:
    return rng.integers(0, 4, (B, T))


def pair(rng: np.random.Generator, dtype: str) -> Any:
    return [floats(rng, dtype), floats(rng, dtype)[..., :2]]


def two(rng: np.random.Generator, dtype: str) -> Any:
    return [floats(rng, dtype), floats(rng, dtype)]


def made(kind: type[Layer], options: dict[str, Any], dtype: str) -> Layer:
    return kind(**options, dtype=dtype)


def recurrent(cls: type[Layer] = LSTM, **options: Any) -> Callable[[str], Layer]:
    return lambda dtype: cls(H, dtype=dtype, return_state=True, **options)


def stack(cells: list[type[Any]], **options: Any) -> Callable[[str], Layer]:
    return lambda dtype: RNN([cls(H, dtype=dtype) for cls in cells], return_state=True, **options)


def sequences(rng: np.random.Generator, dtype: str) -> Any:
    return rng.normal(size=(B, T, 3, I)).astype(dtype)


GATES = dict(return_gates=True, trainable_initial_state=True, return_sequences=True)
EVERYTHING = dict(GATES, return_cell_sequences=True)
BOTH = ("mask", "resets")
ONE_ARRAY: list[tuple[type[Layer], dict[str, Any]]] = [
    (Identity, {}), (Dropout, {"rate": 0.5}), (AlphaDropout, {"rate": 0.5}), (GaussianDropout, {"rate": 0.5}),
    (SpatialDropout1D, {"rate": 0.5}), (GaussianNoise, {"stddev": 0.5}), (ActivityRegularization, {"l1": 0.5}),
    (Reshape, {"target_shape": (-1, I)}), (Reshape, {"target_shape": (-1, I, 1)}), (Permute, {"dims": (1, 2)}),
    (ReLU, {}), (ReLU, {"max_value": 0.9, "negative_slope": 0.3, "threshold": 0.2}), (LeakyReLU, {}),
    (ELU, {"alpha": 0.6}), (PReLU, {"shared_axes": [1]}), (Softmax, {}), (Activation, {"activation": "sparsemax"}),
    (Activation, {"activation": "squareplus"}),
]  # fmt: skip
MERGES = (Add, Subtract, Multiply, Average, Maximum, Minimum)
CASES = {
    "lstm": Case(recurrent(), floats),
    "lstm sequences": Case(recurrent(return_sequences=True, use_bias=False), floats, ("mask",)),
    "lstm everything": Case(recurrent(zero_output_for_mask=True, **EVERYTHING), floats, BOTH),
    "lstm zero output": Case(
        recurrent(zero_output_for_mask=True, recurrent_activation="hard_sigmoid"), floats, ("mask",)
    ),
    "gru": Case(recurrent(GRU), floats, ("mask",)),
    "gru everything": Case(recurrent(GRU, **GATES), floats, BOTH),
    "gru reset before": Case(recurrent(GRU, reset_after=False, zero_output_for_mask=True, **GATES), floats, BOTH),
    "simple": Case(recurrent(SimpleRNN, use_bias=False), floats, ("mask",)),
    "simple everything": Case(recurrent(SimpleRNN, activation="relu", **GATES), floats, BOTH),
    "rnn": Case(stack([LSTMCell, GRUCell, SimpleRNNCell]), floats, ("mask",)),
    "rnn everything": Case(
        stack(
            [GRUCell, LSTMCell],
            zero_output_for_mask=True,
            return_cell_sequences=True,
            return_gates=True,
            return_sequences=True,
        ),
        floats,
        BOTH,
    ),
    "rnn one cell": Case(lambda dtype: RNN(GRUCell(H, dtype=dtype), return_state=True), floats, BOTH),
    "each step": Case(lambda dtype: TimeDistributed(Dense(H, "softmax", dtype=dtype)), floats),
    "each step's sequence": Case(lambda dtype: TimeDistributed(GRU(H, dtype=dtype)), sequences),
    "dense": Case(lambda dtype: Dense(H, "gelu", dtype=dtype), floats),
    "dense softmax": Case(lambda dtype: Dense(1000, "softmax", dtype=dtype), floats),
    "log_softmax": Case(lambda dtype: Activation("log_softmax", dtype=dtype), floats),
    "tanh": Case(lambda dtype: Activation("tanh", dtype=dtype), floats),
    "embedding": Case(lambda dtype: Embedding(4, I, mask_zero=True, dtype=dtype), ids),
    "masking": Case(lambda dtype: Masking(dtype=dtype), floats),
    **{f"{kind.__name__} {options}": Case(partial(made, kind, options), floats) for kind, options in ONE_ARRAY},
    **{kind.__name__: Case(partial(made, kind, {}), two) for kind in MERGES},
    "concatenate": Case(lambda dtype: Concatenate(axis=2, dtype=dtype), pair),
    "convolution causal": Case(lambda dtype: Conv1D(H, 3, padding="causal", dilation_rate=2, dtype=dtype), floats),
    "convolution valid": Case(lambda dtype: Conv1D(H, 3, activation="softmax", dtype=dtype), floats),
    "convolution strided": Case(
        lambda dtype: Conv1D(10, 2, strides=3, groups=5, padding="causal", activation="tanh", dtype=dtype), floats
    ),
    "convolution of one step": Case(lambda dtype: Conv1D(H, 1, use_bias=False, dtype=dtype), floats),
    "depthwise": Case(lambda dtype: DepthwiseConv1D(3, strides=2, depth_multiplier=2, dtype=dtype), floats),
    "separable": Case(lambda dtype: SeparableConv1D(8, 2, dilation_rate=3, activation="glu", dtype=dtype), floats),
    "largest": Case(lambda dtype: MaxPooling1D(3, strides=2, dtype=dtype), floats),
    "average": Case(lambda dtype: AveragePooling1D(2, dtype=dtype), floats),
    "largest of all": Case(lambda dtype: GlobalMaxPooling1D(dtype=dtype), floats),
    "average of all": Case(lambda dtype: GlobalAveragePooling1D(dtype=dtype), floats),
    "average of all seen": Case(lambda dtype: GlobalAveragePooling1D(dtype=dtype), floats, ("mask",)),
    "cropping": Case(lambda dtype: Cropping1D((2, 1), dtype=dtype), floats),
    "padding by nothing": Case(lambda dtype: ZeroPadding1D(0, dtype=dtype), floats),
    "each step once": Case(lambda dtype: UpSampling1D(1, dtype=dtype), floats),
    "layer normalization": Case(lambda dtype: LayerNormalization(dtype=dtype), floats),
    "batch normalization": Case(lambda dtype: BatchNormalization(dtype=dtype), floats),
    "unit normalization": Case(lambda dtype: UnitNormalization(dtype=dtype), floats),
    "normalization": Case(lambda dtype: Normalization(dtype=dtype), floats),
    "rescaling": Case(lambda dtype: Rescaling(0.3, [1, 2, 3, 4, 5], dtype=dtype), floats),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_"))
def case(request: Any) -> Case:
    return CASES[request.param]


@pytest.fixture(params=["float32", "float64"])
def built(request: Any, case: Case) -> tuple[Layer, Any, dict[str, Any]]:
    """A layer with random weights, its inputs, and its call's flags."""
    rng = np.random.default_rng(7)
    layer, x = case.make(request.param), case.inputs(rng, request.param)
    layer(x)
    layer.set_weights(random_weights(layer, rng))
    flags = {"mask": rng.random((B, T)) < 0.6, "resets": rng.random((B, T)) < 0.3}
    return layer, x, {name: flags[name] for name in case.flags}


def random_weights(layer: Layer, rng: np.random.Generator) -> list[Any]:
    """Variances are above 0, and counts are whole numbers."""
    found = []
    for name, weight in layer.named_weights.items():
        drawn = rng.normal(size=weight.shape)
        found.append(np.abs(drawn) + 0.1 if "variance" in name else drawn if weight.dtype.kind == "f" else np.array(3))
    return found


def first_state(layer: Layer) -> Any:
    """To run chunks from: without a state, a layer with windows takes what comes for the whole sequence."""
    return layer.initial_state(B) if isinstance(layer, Windowed) else None


def take(value: Any, index: Any) -> Any:
    """value[index] of every array in value."""
    return map_leaves(lambda array: array[index], value)


def same(a: Any, b: Any) -> None:
    """Equal to the bit."""
    a, b = flatten(a), flatten(b)
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def time_axes(layer: Layer, x: Any) -> list[bool]:
    """For each output, whether it has a time axis: where its size is another for another T."""
    shapes = [[v.shape for v in flatten(layer.run(take(x, np.s_[:, :t]))[0])] for t in (5, T)]
    return [a != b for a, b in zip(*shapes, strict=True)]


def test_each_step_is_the_newest_of_a_run_on_the_prefix(built: Any) -> None:
    layer, x, flags = built
    state, in_time = layer.initial_state(B), time_axes(layer, x)
    for t in range(T):
        stepped, state = layer.step(take(x, np.s_[:, t]), state, **take(flags, np.s_[:, t]))
        prefix = np.s_[:, : t + 1]
        ran, ran_state = layer.run(take(x, prefix), first_state(layer), **take(flags, prefix))
        ran = flatten(ran)
        if layer.own_clock and not ran[0].shape[1]:  # no step is complete yet
            assert np.isnan(stepped).all()
        else:
            same(stepped, [v[:, -1] if timed else v for v, timed in zip(ran, in_time, strict=True)])
        same(state, ran_state)


def test_any_cut_gives_the_bits_of_one_run(built: Any) -> None:
    layer, x, flags = built
    in_time = time_axes(layer, x)
    whole, whole_state = layer.run(x, **flags)
    initial = {} if not isinstance(layer, Recurrent) else {"initial_state": list(layer.initial_state(B))}
    for cuts in ([0, 1, T], [0, 4, 4, 5, T], list(range(T + 1))):
        state, parts = first_state(layer), []
        for start, stop in itertools.pairwise(cuts):
            chunk = np.s_[:, start:stop]
            out, state = layer.run(take(x, chunk), state, **take(flags, chunk), **initial)
            parts.append(flatten(out))
        joined = [
            np.concatenate(each, axis=1) if timed else each[-1]
            for each, timed in zip(zip(*parts, strict=True), in_time, strict=True)
        ]
        same(joined, whole)
        same(state, whole_state)


def test_a_row_is_alone(built: Any) -> None:
    layer, x, flags = built
    whole, _ = layer.run(x, **flags)
    for rows in (np.s_[2:3], np.s_[1:5], np.s_[::-1]):
        part, _ = layer.run(take(x, rows), **take(flags, rows))
        same(part, take(whole, rows))
        stepped, _ = layer.step(take(x, (rows, 0)), **take(flags, (rows, 0)))
        first, _ = layer.step(take(x, np.s_[:, 0]), **take(flags, np.s_[:, 0]))
        same(stepped, take(first, rows))


def test_later_steps_do_not_reach_back_and_masked_ones_do_not_count(built: Any) -> None:
    layer, x, flags = built
    whole, state = layer.run(x, **flags)
    later = map_leaves(np.copy, x)
    for array in flatten(later):
        array[:, 5:] = 3
    changed, _ = layer.run(later, **flags)
    before = layer.window.completed(5, layer.window.first) if isinstance(layer, Windowed) else 5
    for a, b, timed in zip(flatten(whole), flatten(changed), time_axes(layer, x), strict=True):
        if timed:
            np.testing.assert_array_equal(a[:, :before], b[:, :before])
            assert not np.array_equal(a[:, before:], b[:, before:])
    if "mask" in flags:
        padded = x.copy()
        padded[~flags["mask"]] = np.nan
        same(layer.run(padded, **flags), (whole, state))
        assert any(not np.array_equal(a, b) for a, b in zip(flatten(whole), flatten(layer.run(x)[0]), strict=True))


def test_what_is_passed_is_left_as_it_was(built: Any) -> None:
    layer, x, flags = built
    state = layer.initial_state(B)
    before = map_leaves(np.copy, [x, list(state), flags])
    layer.run(x, state, **flags)
    layer.step(take(x, np.s_[:, 0]), state, **take(flags, np.s_[:, 0]))
    for a, b in zip(flatten(before), flatten([x, list(state), flags]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_steps_and_no_rows(built: Any) -> None:
    layer, x, flags = built
    whole, _ = layer.run(x, **flags)
    nothing = np.s_[:, :0]
    state = map_leaves(lambda array: ~array if array.dtype == bool else array + 1, layer.initial_state(B))
    out, after = layer.run(take(x, nothing), state, **take(flags, nothing))
    same(after, state)
    for a, b, timed in zip(flatten(out), flatten(whole), time_axes(layer, x), strict=True):
        assert a.shape == ((B, 0, *b.shape[2:]) if timed else b.shape)
    out, _ = layer.run(take(x, np.s_[:0]), **take(flags, np.s_[:0]))
    assert [v.shape for v in flatten(out)] == [(0, *v.shape[1:]) for v in flatten(whole)]


def test_compute_mask_is_the_same_at_a_step(built: Any) -> None:
    layer, x, _ = built
    mask = np.random.default_rng(0).random((B, T)) < 0.5
    several = isinstance(layer, (Concatenate, *MERGES))
    whole = layer.compute_mask(x, [mask, None] if several else mask)
    for t in range(T):
        at = layer.compute_mask(take(x, np.s_[:, t]), [mask[:, t], None] if several else mask[:, t])
        for a, b in zip(flatten(at), flatten(whole), strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                np.testing.assert_array_equal(a, b[:, t])
    if isinstance(layer, (Masking, Embedding)):
        assert not whole.all()
        assert whole.any()


def test_layers_that_cannot_step_say_why() -> None:
    x = np.zeros((B, T, I), np.float32)
    backwards, along_time = LSTM(H, go_backwards=True, name="back"), Concatenate(axis=1, name="join")
    backwards(x)
    along_time([x, x])
    with pytest.raises(UnsupportedError, match="layer 'back' cannot go one step at a time: go_backwards=True begins"):
        backwards.step(x[:, 0])
    with pytest.raises(UnsupportedError, match="layer 'join' cannot go one step at a time: it joins sequences along"):
        along_time.step([x[:, 0], x[:, 0]])


def test_what_is_no_array_is_named(built: Any) -> None:
    layer, _, _ = built
    for verb in (layer.run, layer.step):
        with pytest.raises(DtypeError, match=f"layer '{layer.name}' takes NumPy arrays; got NoneType"):
            verb(None)


def test_a_layer_comes_back_from_its_config(case: Case) -> None:
    rng = np.random.default_rng(30)
    layer, inputs = case.make("float64"), case.inputs(rng, "float64")
    layer(inputs)
    layer.set_weights(random_weights(layer, rng))
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert type(twin) is type(layer)
    assert twin.get_config() == config == layer.get_config()
    twin(inputs)
    twin.set_weights(layer.get_weights())
    for a, b in zip(flatten(twin(inputs)), flatten(layer(inputs)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_config_of_what_is_unknown_is_refused() -> None:
    config = TimeDistributed(Dense(2, name="inner"), name="outer").get_config()
    config["layer"]["class_name"] = "Sparse"
    with pytest.raises(UnsupportedError, match="layer 'outer/inner' is a Sparse"):
        TimeDistributed.from_config(config)
    with pytest.raises(OptionError, match="has no argument 'units_'"):
        LSTM.from_config({**LSTM(2).get_config(), "units_": 3})
    Mine = type("Mine", (LSTM,), {})
    assert type(Mine.from_config(Mine(2).get_config())) is Mine
