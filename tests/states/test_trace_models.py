"""Traces of whole models: whose states they are, beside stock Keras's outputs; attention; the time line; laziness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from topologies import TOPOLOGIES, H, I, Names, T, data, fed, random_weights
from wide_floats import float64, keras_in_float64

import everystep
from everystep import Input, Model
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers import GRU, LSTM, Bidirectional, Concatenate, Dense, Embedding, RepeatVector, naming
from everystep.models import recording
from everystep.states.trace import Segment, Trace


@pytest.fixture(autouse=True)
def same_start() -> Iterator[None]:
    """Both libraries number layers from the start; Keras hands float64 on."""
    keras.utils.clear_session()
    naming._taken.clear()
    with keras_in_float64():
        yield


def returned(layer: Any, trace: Trace, path: str, number: str) -> list[np.ndarray]:
    """What a call of a recurrent layer returns, by the trace: Keras's own outputs."""
    runs = [layer.forward_layer, layer.backward_layer] if hasattr(layer, "forward_layer") else [layer]
    outputs, states = [], []
    for each in runs:
        name = f"{path}{number}" + (f"/{each.name}" if len(runs) > 1 else "")
        cells = [f"{name}/{cell.name}" for cell in each.cells] if each.stacked else [name]
        for cell in cells:
            last = {letter: ends(trace[cell], letter) for letter in trace[cell].state_names}
            states += last.values() if each.return_state else []
        h, mask = trace[cells[-1]].h, trace[cells[-1]].mask
        h = np.where(mask[..., None], h, 0) if each.zero_output_for_mask else h
        if each.return_sequences:
            outputs.append(h[:, ::-1] if each.go_backwards and len(runs) == 1 else h)
        else:
            outputs.append(h[:, 0] if each.go_backwards else h[:, -1])
    if len(runs) > 1 and layer.merge_mode is not None:
        one, other = outputs
        merged = {"concat": lambda: np.concatenate(outputs, axis=-1), "sum": lambda: one + other,
                  "mul": lambda: one * other, "ave": lambda: (one + other) / 2}  # fmt: skip
        outputs = [merged[layer.merge_mode]()]
    return [*outputs, *states]


def ends(layer: Any, letter: str) -> np.ndarray:
    state = layer.state(letter)
    return state[:, 0] if layer.backwards else state[:, -1]


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_is_what_stock_keras_computes(topology: Any) -> None:
    """Every recurrent layer's outputs in Keras follow from the trace: whole sequences, last states, merged ones."""
    rng = np.random.default_rng(1)
    theirs, ours = topology(Names(keras)), topology(Names(everystep))
    ours.set_weights(random_weights(theirs, rng))
    x = data(ours, rng)
    trace = ours.trace(fed(ours, x))
    calls: dict[str, list[Any]] = {}
    for node in ours.graph.nodes:
        layer = node.operation
        if hasattr(layer, "cells") or hasattr(layer, "forward_layer"):
            calls.setdefault(layer.name, []).append(layer)
    seen = set()
    for name, layers in calls.items():
        graph = getattr(theirs, "_functional", theirs)
        by_depth = graph._nodes_by_depth
        ordered = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        nodes = [node for node in ordered if node.operation is theirs.get_layer(name)]
        assert len(nodes) == len(layers)
        for k, node in enumerate(nodes):
            number = f":{k + 1}" if len(nodes) > 1 else ""
            model = keras.Model(theirs.inputs if len(x) > 1 else theirs.inputs[0], list(node.output_tensors))
            with float64():
                wanted = [np.asarray(one) for one in keras.tree.flatten(model(x if len(x) > 1 else x[0]))]
            assert_close64(returned(layers[k], trace, name, number), wanted)
            seen |= {each for each in trace if each == f"{name}{number}" or each.startswith(f"{name}{number}/")}
    assert {each for each in trace if "/" not in each} <= seen
    assert len(trace) > 0


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_one_run_or_one_by_one_or_by_rows(topology: Any) -> None:
    rng = np.random.default_rng(2)
    model = topology(Names(everystep))
    random_weights(model, rng)
    x = fed(model, data(model, rng, 5))
    whole, single, by_rows = model.trace(x).compute(), model.trace(x), model.trace(x, batch_size=2)
    for name in reversed(list(whole)):
        for trace in (single, by_rows):
            found = trace.arrays(name, gates=False) | trace.arrays(name)
            assert found.keys() == whole.arrays(name).keys()
            for what, array in whole.arrays(name).items():
                np.testing.assert_array_equal(found[what], array)
                assert not found[what].flags.writeable


def test_names_of_models_in_models_and_of_calls() -> None:
    from topologies import by_step, nested, shared_layer, stacks

    def names(topology: Any) -> list[str]:
        naming._taken.clear()
        return list(topology(Names(everystep)).trace(data(topology(Names(everystep)), np.random.default_rng(1))))

    assert set(names(shared_layer)) == {"lstm:1", "lstm:2"}
    assert set(names(nested)) == {
        "inner/lstm:1", "inner/lstm:2", "stack/lstm_1:1", "stack/lstm_1:2", "lstm_2", "lstm_3", "lstm_4"
    }  # fmt: skip
    assert "rnn/lstm_cell" in names(stacks)
    assert {name.split("/")[0] for name in names(by_step) if "/" in name} == {"time_distributed", "time_distributed_3"}


def test_a_model_in_a_model_is_the_model() -> None:
    from topologies import nested

    rng = np.random.default_rng(3)
    model = nested(Names(everystep))
    random_weights(model, rng)
    (x,) = data(model, rng)
    trace = model.trace(x)
    inner = model.get_layer("inner")
    seen = ~(x == 0).all(-1)
    alone = Input((None, H), dtype="float64"), Input((None,), dtype="bool")
    lstm = inner.get_layer("lstm")
    single = Model(list(alone), lstm(alone[0], mask=alone[1])).trace([x, seen])[lstm.name]
    np.testing.assert_array_equal(trace["inner/lstm:1"].gates, single.gates)
    np.testing.assert_array_equal(trace["inner/lstm:1"].mask, seen)
    # The second call reads, as p, the second output of the first, which is Dense of the unmasked x.
    dense = next(layer for layer in inner.layers if layer.kind == "Dense")
    single = Model(alone[0], lstm(alone[0])).trace(dense(x))[lstm.name]
    np.testing.assert_array_equal(trace["inner/lstm:2"].gates, single.gates)


def test_steps_inside_time_distributed_are_rows() -> None:
    from topologies import by_step

    rng = np.random.default_rng(4)
    model = by_step(Names(everystep))
    random_weights(model, rng)
    ids, x = data(model, rng)
    trace = model.trace([ids, x])
    name = next(name for name in trace if name.endswith("gru") or "/gru" in name)
    inner = model.get_layer(name.split("/")[0]).layer
    rows = x.reshape(-1, *x.shape[2:])
    alone = inner.trace(rows)
    (its,) = alone
    assert trace[name].within
    assert not alone[its].within
    for what in ("h", "gates"):
        np.testing.assert_array_equal(getattr(trace[name], what), getattr(alone[its], what))
    assert all(name not in segment.layers for segment in trace.timeline())
    labels = trace.to_xarray()[name]
    np.testing.assert_array_equal(labels.of_row, np.repeat(np.arange(3), x.shape[1]))
    np.testing.assert_array_equal(labels.of_step, np.tile(np.arange(x.shape[1]), 3))


# ---- Attention, and the time line ----


def decoder(kind: str = "Attention", handed: str = "states") -> Any:
    """An encoder of two layers, a decoder of two that go on from it, attention over the encoder, a layer on top."""
    x, y = Input((None, I), dtype="float64", name="x"), Input((None, I), dtype="float64", name="y")
    options = dict(return_sequences=True, dtype="float64")
    a, *first = LSTM(H, return_state=True, name="encoder", **options)(x)
    b, *second = LSTM(H, return_state=True, name="encoder_2", **options)(a)
    d = LSTM(H, name="decoder", **options)(y, initial_state=first)
    e = LSTM(H, name="decoder_2", **options)(d, initial_state=second)
    if kind == "MultiHeadAttention":
        layer = everystep.layers.MultiHeadAttention(3, 2, name="attention", dtype="float64")
        f = layer(e, b)
    else:
        f = getattr(everystep.layers, kind)(name="attention", dtype="float64", use_scale=True)([e, b])
    top = Bidirectional(GRU(3, dtype="float64", return_sequences=True), name="top")
    model = Model([x, y], Dense(2, dtype="float64")(top(Concatenate(dtype="float64")([e, f]))))
    random_weights(model, np.random.default_rng(5))
    return model


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention", "MultiHeadAttention"])
def test_attention_weights(kind: str) -> None:
    model = decoder(kind)
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(3, 7, I)), rng.normal(size=(3, 4, I))
    found = model.trace([x, y])["attention"]
    trace = model.trace([x, y])
    e, b = trace["decoder_2"].h, trace["encoder_2"].h
    layer = model.get_layer("attention")
    stock = keras.layers.deserialize(layer.serialized())
    inputs = [e, b] if kind == "MultiHeadAttention" else [[e, b]]
    stock(*inputs)
    stock.set_weights(layer.get_weights())
    wanted = np.asarray(stock(*inputs, return_attention_scores=True)[1])
    wanted = np.moveaxis(wanted, 1, -1) if kind == "MultiHeadAttention" else wanted[..., None]
    assert found.heads == (3 if kind == "MultiHeadAttention" else 1)
    assert_close64([found.weights], [wanted])
    np.testing.assert_allclose(found.weights.sum(2), 1, rtol=1e-12)


def test_a_decoder_comes_after_its_encoder() -> None:
    model = decoder()
    rng = np.random.default_rng(6)
    trace = model.trace([rng.normal(size=(2, 7, I)), rng.normal(size=(2, 4, I))])
    assert trace.timeline() == [
        Segment(0, 7, ("encoder", "encoder_2")),
        Segment(7, 11, ("decoder", "decoder_2", "top/forward_gru", "top/backward_gru")),
    ]
    labels = trace.to_xarray()
    assert labels["decoder_2"].time.values.tolist() == [7, 8, 9, 10]
    assert labels["attention"].time.values.tolist() == [7, 8, 9, 10]
    assert labels["attention"].key_time.values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(trace["decoder"].initial("c"), trace["encoder"].c[:, -1])


def test_states_handed_on_through_other_layers_count() -> None:
    x = Input((6, I))
    y = LSTM(H, return_sequences=True, name="b")(RepeatVector(3)(Dense(2)(LSTM(H, name="a")(x))))
    model = Model(x, [GRU(2, name="d")(y), GRU(2, name="c")(x)])
    assert model.trace(np.ones((1, 6, I))).timeline() == [Segment(0, 6, ("a", "c")), Segment(6, 9, ("b", "d"))]


def test_models_handed_states_of_models() -> None:
    x = Input((None, I))
    encoder = Model(x, LSTM(H, return_state=True, name="lstm")(x)[1:], name="encoder")
    y, h, c = Input((None, I)), Input((H,)), Input((H,))
    decoder = Model([y, h, c], LSTM(H, return_sequences=True, name="lstm")(y, initial_state=[h, c]), name="decoder")
    one, two = Input((None, I)), Input((None, I))
    trace = Model([one, two], decoder([two, *encoder(one)])).trace([np.ones((1, 5, I)), np.ones((1, 2, I))])
    assert trace.timeline() == [Segment(0, 5, ("encoder/lstm",)), Segment(5, 7, ("decoder/lstm",))]


# ---- When what is computed ----


def test_nothing_is_computed_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Input((T, I))
    model = Model(x, LSTM(H, name="b")(LSTM(H, return_sequences=True, name="a")(x)))
    runs, layers = [], []
    graph_run, layer_run = type(model.graph).run, recording.run_whole
    monkeypatch.setattr(type(model.graph), "run", lambda *args: runs.append(1) or graph_run(*args))
    monkeypatch.setattr(recording, "run_whole", lambda *args: layers.append(args) or layer_run(*args))
    trace = model.trace(np.ones((2, T, I)))
    assert list(trace) == ["a", "b"]
    assert (len(runs), len(layers)) == (0, 0)
    _ = trace["b"].h, trace["b"].c, trace["b"].mask
    assert (len(runs), len(layers)) == (1, 0)
    _ = trace["a"].gates, trace["a"].h
    assert (len(runs), len(layers)) == (1, 1)
    _ = trace["b"].gates, trace["b"].h
    assert (len(runs), len(layers)) == (1, 2)
    _ = model.trace(np.ones((2, T, I))).compute().to_xarray()
    assert (len(runs), len(layers)) == (2, 2)


def test_x_may_change_after_it_was_handed_over() -> None:
    x = Input((T, I))
    model = Model(x, LSTM(H, name="a")(x))
    array = np.random.default_rng(7).normal(size=(2, T, I)).astype(np.float32)
    wanted = model.trace(array.copy())["a"].h
    trace = model.trace(array)
    array[:] = 0
    np.testing.assert_array_equal(trace["a"].h, wanted)
    assert array.flags.writeable


def test_other_weights_are_noticed() -> None:
    x = Input((T, I))
    model = Model(x, LSTM(H, name="a")(x))
    trace = model.trace(np.ones((2, T, I)))
    h = trace["a"].h
    model.set_weights([weight + 1 for weight in model.get_weights()])
    np.testing.assert_array_equal(trace["a"].h, h)
    with pytest.raises(UnsupportedError, match="layer 'a' has other weights than when it was made"):
        _ = trace["a"].gates


# ---- What goes in ----


def test_sequences_of_different_lengths() -> None:
    ids = Input((None,), dtype="int32")
    y = LSTM(H, return_sequences=True, name="a")(Embedding(9, I, mask_zero=True)(ids))
    model = Model(ids, GRU(2, name="b", go_backwards=True)(y))
    rows = [np.array([3, 1, 4, 1]), np.array([5]), np.array([2, 6])]
    trace = model.trace(rows)
    lengths = [4, 1, 2]
    np.testing.assert_array_equal(trace["b"].mask, np.arange(4) < np.array(lengths)[:, None])
    for k, row in enumerate(rows):
        alone = model.trace(row[None])
        for name in trace:
            for what in ("h", "gates"):
                own = getattr(trace[name], what)[k, : len(row)]
                np.testing.assert_array_equal(own, getattr(alone[name], what)[0])
    after = trace["a"].h[1, 1:]
    np.testing.assert_array_equal(after, np.broadcast_to(trace["a"].h[1, 0], after.shape))
    assert not trace["a"].gates[1, 1:].any()


def test_a_live_keras_model() -> None:
    x = keras.Input((T, I))
    model = keras.Model(x, keras.layers.LSTM(H, name="a", return_sequences=True)(x))
    array = np.random.default_rng(9).normal(size=(2, T, I))
    assert_close64([everystep.trace(model, array)["a"].h], [np.asarray(model(array))])
    ours = everystep.from_keras(model)
    np.testing.assert_array_equal(
        everystep.trace(ours, array, batch_size=1)["a"].h, everystep.trace(model, array)["a"].h
    )


def test_no_rows_and_no_steps() -> None:
    x = Input((None, I))
    model = Model(x, LSTM(H, name="a")(x))
    assert model.trace(np.ones((0, 3, I)))["a"].gates.shape == (0, 3, 4, H)
    empty = model.trace(np.ones((2, 0, I)))["a"]
    assert empty.h.shape == empty.before("c").shape == (2, 0, H)
    np.testing.assert_array_equal(empty.initial("h"), np.zeros((2, H)))


# ---- Errors ----


def test_errors() -> None:
    x = Input((T, I), name="x")
    y = Bidirectional(GRU(H, return_sequences=True), name="both")(x)
    shared = LSTM(I, return_sequences=True, name="twice")
    model = Model(x, Dense(2, name="dense")(Concatenate()([y, shared(shared(x))])), name="model")
    trace = model.trace(np.ones((2, T, I)))
    having = "'twice:1', 'twice:2', 'both/forward_gru', 'both/backward_gru'"
    for name, match in (
        ("dense", "layer 'dense' has no states over time; those that have some are .*both/forward_gru"),
        ("lstm", "there is no layer 'lstm' with states; those that have some are"),
        ("both", "'both' is several, 'both/forward_gru', 'both/backward_gru'. Ask for one of them"),
        ("twice", "'twice' is several, 'twice:1', 'twice:2'"),
        (3, "there is no layer 3"),
    ):
        with pytest.raises(OptionError, match=match):
            _ = trace[name]
    assert all(name.strip("'") in trace for name in having.split(", "))
    with pytest.raises(OptionError, match=r"'both/forward_gru', of kind GRU, has no state 'c'; it has 'h' \(hidden"):
        _ = trace["both/forward_gru"].c
    with pytest.raises(OptionError, match=r"has no gate 'f'; it has 'z' \(update gate\)"):
        trace["both/forward_gru"].gate("f")
    with pytest.raises(ShapeError, match="input 'x'"):
        model.trace(np.ones((2, T, I + 1)))
    for name, value in (("batch_size", 0), ("chunk", True), ("chunk", 1.5)):
        with pytest.raises(OptionError, match=f"{name} must be a whole number from 1 on"):
            model.trace(np.ones((2, T, I)), **{name: value})
    with pytest.raises(OptionError, match="static is a list of inputs' names, and goes with chunk"):
        model.trace(np.ones((2, T, I)), static=["x"])
    plain = Model(x, Dense(2, name="only")(x), name="plain")
    with pytest.raises(UnsupportedError, match=r"model 'plain' has nothing to trace.*'only'"):
        plain.trace(np.ones((2, T, I)))
    with pytest.raises(OptionError, match="trace takes a model, of everystep or Keras; got ndarray"):
        everystep.trace(np.ones(3), np.ones(3))
