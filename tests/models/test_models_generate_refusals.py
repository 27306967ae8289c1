"""What cannot be generated is refused, with what was expected, what came, and what to do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from generators import V, embedded, language, luong, one_hot, stacked, static_of
from topologies import Names

import everystep
from everystep import Input, Model
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import (
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Dense,
    Embedding,
    MaxPooling1D,
    Multiply,
    ReLU,
    Reshape,
    Softmax,
)

SOURCE = np.ones((3, 4), int)


def made(topology: Any) -> Any:
    return topology(Names(everystep))


# ---- Arguments ----


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(method="best"), OptionError, "method must be one of 'greedy', 'beam', 'sample'; got 'best'"),
        (dict(max_length=0), OptionError, "max_length must be a whole number from 1 on; got 0"),
        (dict(max_length=2.0), OptionError, "max_length must be a whole number from 1 on; got 2.0"),
        (dict(end=V), OptionError, f"end must be a token that the output has, from 0 to {V - 1}; got {V}"),
        (dict(end=-1), OptionError, "end must be a token that the output has"),
        (dict(end="stop"), DtypeError, "end must be a token id, or None; got 'stop'"),
        (dict(end=True), DtypeError, "end must be a token id, or None; got True"),
        (dict(method="beam", beam_width=0), OptionError, "beam_width must be a whole number from 1 on; got 0"),
        (dict(method="beam", length_penalty=None), OptionError, "length_penalty must be a number; got None"),
        (dict(method="beam", length_penalty=float("inf")), OptionError, "length_penalty must be a number; got inf"),
        (dict(method="beam", length_penalty=float("nan")), OptionError, "length_penalty must be a number; got nan"),
        (dict(method="sample", temperature=0), OptionError, "temperature must be a number above 0; got 0"),
        (dict(method="sample", top_k=0), OptionError, "top_k must be a whole number from 1 on; got 0"),
        (dict(method="sample", top_p=0), OptionError, "top_p must be a number above 0, up to 1; got 0"),
        (dict(method="sample", top_p=1.5), OptionError, "top_p must be a number above 0, up to 1; got 1.5"),
        (dict(temperature=0.5), OptionError, "temperature: of method='sample', and method is 'greedy'; leave it out"),
        (dict(seed=0), OptionError, "seed: of method='sample', and method is 'greedy'"),
        (dict(seed=np.array([1, 2, 3])), OptionError, "seed: of method='sample', and method is 'greedy'"),
        (dict(method="beam", length_penalty=900.0), OptionError, r"length_penalty: 3\*\*900, of max_length, is beyond"),
        (
            dict(method="beam", length_penalty=-900.0),
            OptionError,
            r"length_penalty: 3\*\*-900, of max_length, is beyond",
        ),
        (
            dict(method="beam", top_k=2, top_p=0.5),
            OptionError,
            "top_k, top_p: of method='sample', and method is 'beam'",
        ),
        (dict(method="sample", beam_width=8), OptionError, "beam_width: of method='beam', and method is 'sample'"),
        (
            dict(start=None),
            OptionError,
            "start is missing: what the input reads first, a token id or a prompt for each",
        ),
        (
            dict(start=True),
            DtypeError,
            "start must be a token id, prompts in an array .* or a list of sequences .* bool",
        ),
        (dict(start="go"), DtypeError, "start must be a token id, prompts .* got str"),
        (dict(start=1.0), DtypeError, "start must be a token id, prompts .* got float"),
        (dict(start=[1, 2, 3]), ShapeError, r"start of one axis, 3 ids, may be .* pass \[\[id\], \[id\], \.\.\.\] for"),
        (dict(start=np.array([1, 2, 3])), ShapeError, "start of one axis, 3 ids"),
        (
            dict(start=[[1], [2]]),
            ShapeError,
            "start must hold a prompt for each of the 3 rows of the static inputs; got 2",
        ),
        (dict(start=np.ones((3, 0), int)), ShapeError, r"start\[0\] must be a sequence of token ids, one or more; got"),
        (dict(start=np.ones((3, 2, 2), int)), ShapeError, r"start\[0\] must be a sequence of token ids.* \(2, 2\)"),
        (dict(start=[[1], [2, 0.5], [1]]), DtypeError, r"start\[1\] must hold token ids, .* got float64"),
        (
            dict(start=[[1], [2], [0, V]]),
            OptionError,
            rf"start\[2\]: input 'target' takes ids from 0 to {V - 1}; got {V}",
        ),
        (dict(start=-1), OptionError, r"start: input 'target' takes ids from 0 to 4; got -1"),
        (dict(static=SOURCE[:0], start=V), OptionError, rf"start: input 'target' takes ids from 0 to 4; got {V}"),
        (dict(start=[[[1], [1, 2]], [1], [1]]), ShapeError, r"start\[0\] must be a .* got \[\[1\], \[1, 2\]\]"),
        (
            dict(static=None),
            OptionError,
            "has the inputs 'source', 'target': one of them is fed with tokens, and static",
        ),
        (dict(static={}), OptionError, "static must hold all but the one that is fed with tokens. Got none"),
        (dict(static={"sauce": SOURCE}), OptionError, "static must hold all but the one .* Got 'sauce'"),
        (dict(static={"source": SOURCE, "target": SOURCE}), OptionError, "Got 'source', 'target'"),
        (
            dict(static=[SOURCE, SOURCE]),
            OptionError,
            "static must be an array, .* for 'source', .*; got a list of ndarray, ndarray",
        ),
        (dict(static=SOURCE.tolist()), OptionError, "static must be an array, .*; got a list of list, list, list"),
        (dict(static=[]), OptionError, "static must be an array, .* got a list of nothing"),
        (dict(static=7), OptionError, "static must be .* 'source', or a dictionary by name; got int"),
        (dict(static=np.ones((3, 4, 2))), ShapeError, "input 'source' takes an array of shape"),
        (dict(static=SOURCE + V), OptionError, r"layer 'words' has ids from 0 to 4"),
        (dict(feed="target"), OptionError, r"feed must be \{input's name: output's name\}, one pair; got 'target'"),
        (dict(feed={"a": "b", "c": "d"}), OptionError, "feed must be .* one pair"),
        (dict(feed={"goal": "dense"}), OptionError, "feed: there is no input 'goal'; there are 'source', 'target'"),
        (dict(feed={"target": "scores"}), OptionError, "feed: there is no output 'scores'; there are 'dense'"),
        (
            dict(feed={"source": "dense"}, static={"source": SOURCE}),
            OptionError,
            "feed: input 'source' is given in static too; it is either fed or given",
        ),
    ],
)
def test_arguments(given: dict[str, Any], error: Any, message: str) -> None:
    model = made(embedded)
    with pytest.raises(error, match=message):
        model.generate(**{"static": SOURCE, "start": 1, "max_length": 3, **given})
    assert model.generate(SOURCE, 1, max_length=3).shape == (3, 3)  # as ever


def test_static_inputs_of_different_rows() -> None:
    k = Names(everystep)
    a, b, ids = k.Input((2,), name="a"), k.Input((2,), name="b"), k.Input((None,), dtype="int32", name="ids")
    y = k.GRU(2, return_sequences=True)(k.Embedding(V, 2)(ids), initial_state=k.Add()([a, b]))
    model = k.Model([a, b, ids], k.Dense(V)(y))
    with pytest.raises(ShapeError, match="must have the same number of rows; got 2 of 'a', 3 of 'b'"):
        model.generate([np.ones((2, 2)), np.ones((3, 2))], 1, max_length=1)


def test_static_inputs_where_there_are_none() -> None:
    with pytest.raises(OptionError, match="has one input, 'ids', which is fed with tokens; leave static out"):
        made(language).generate(SOURCE, 1, max_length=1)


def test_padding_that_a_layer_would_read() -> None:
    model = made(one_hot)
    rows = [np.eye(V)[:n] for n in (2, 3)]
    with pytest.raises(UnsupportedError, match=r"layer 'encoder' would read the padding of input 'source'"):
        model.generate(rows, 1, max_length=1)
    k = Names(everystep)
    source, ids = k.Input((None,), dtype="int32", name="source"), k.Input((None,), dtype="int32", name="ids")
    _, h = k.GRU(2, return_state=True)(k.Embedding(V, 2)(source))
    y = k.GRU(2, return_sequences=True)(k.Embedding(V, 2)(ids), initial_state=h)
    model = k.Model([source, ids], k.Dense(V, name="dense")(y))
    with pytest.raises(UnsupportedError, match=r"hands on no mask .*mask_zero=False.* would read the padding of input"):
        model.generate({"source": [np.array([1]), np.array([1, 2])]}, 1, max_length=1, feed={"ids": "dense"})


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("topology", [embedded, one_hot, stacked], ids=lambda topology: topology.__name__)
def test_what_is_not_a_number(topology: Any, method: str) -> None:
    model = made(topology)
    static = static_of(model, 3)
    weights = model.get_weights()
    weights[-1][1] = np.nan
    model.set_weights(weights)
    with pytest.raises(OptionError, match=r"output '\w+' is not a number \(NaN\), so that no token can be chosen"):
        model.generate(static, 1, max_length=3, method=method)


# ---- Graphs ----


def tokens_in(**options: Any) -> tuple[Any, Any]:
    ids = Input((None,), dtype="int32", name="ids")
    return ids, LSTM(4, return_sequences=True, **options)(Embedding(V, 3)(ids))


def over(layer: Any) -> Model:
    ids, y = tokens_in()
    return Model(ids, layer(y))


def pooled() -> Model:
    ids, y = tokens_in()
    return Model(ids, Dense(V)(MaxPooling1D(2)(y)))


def narrow() -> Model:
    ids = Input((None,), dtype="int32", name="ids")
    return Model(ids, Dense(V)(LSTM(4, return_sequences=True)(Embedding(V - 1, 3)(ids))))


def small_ids() -> Model:
    """As many ids as the dtype of the input holds, and a token more."""
    ids = Input((None,), dtype="uint8", name="ids")
    return Model(ids, Dense(257)(LSTM(4, return_sequences=True)(Embedding(257, 3)(ids))))


def of_numbers() -> Model:
    x = Input((None, 3), name="x")
    return Model(x, Dense(V)(LSTM(4, return_sequences=True)(x)))


def no_embedding() -> Model:
    ids = Input((None,), dtype="float32", name="ids")
    return Model(ids, Dense(V)(LSTM(4, return_sequences=True)(Reshape((-1, 1))(ids))))


def whole_output() -> Model:
    ids, y = tokens_in()
    return Model(ids, Dense(V)(Reshape((2, 2))(LSTM(4)(y))))


def beside() -> Model:
    ids, y = tokens_in()
    return Model(ids, [y, Dense(V, activation="relu", name="one")(y), ReLU(name="two")(y)])


GRAPHS: dict[str, tuple[Any, str]] = {
    "states": (
        lambda: Model(*tokens_in()),
        r"fed by output 'lstm\w*': it comes from 'lstm\w*' \(LSTM\), which does not",
    ),
    "relu": (lambda: over(Dense(V, activation="relu")), "its activation is 'relu', which makes no probabilities. End"),
    "sigmoid": (
        lambda: over(lambda y: Activation("sigmoid")(Dense(V)(y))),
        "its activation is 'sigmoid', which makes no probabilities. End the model in Dense or Activation with",
    ),
    "several": (lambda: over(lambda y: Multiply()([Dense(V)(y), Dense(V)(y)])), r"\(Multiply\), which does not say"),
    "mixture": (
        lambda: over(lambda y: Add()([Dense(V, "softmax")(y), Dense(V, "softmax")(y)])),
        r"comes from 'add\w*' \(Add\), which does not say what it is",
    ),
    "softmax along time": (
        lambda: over(lambda y: Softmax(axis=1)(Dense(V)(y))),
        "goes along axis 1, and not along the",
    ),
    "narrow": (narrow, rf"the input's Embedding has ids from 0 to {V - 2}, and the output tokens to {V - 1}"),
    "small ids": (small_ids, "the input's uint8 holds ids from 0 to 255, and the output tokens to 256"),
    "numbers": (of_numbers, rf"the input is of shape \(None, None, 3\), which is not one-hot of V = {V}"),
    "no embedding": (no_embedding, r"the input, float32 of shape \(None, None\), takes no tokens: neither ids"),
    "four axes": (
        lambda: over(lambda y: Reshape((-1, 1, V))(Dense(V)(y))),
        r"the output is of shape \(None, None, 1, 5\), and not \(B,T,V\) or \(B,V\)",
    ),
    "bidirectional": (
        lambda: over(lambda y: Dense(V)(Bidirectional(LSTM(3, return_sequences=True))(y))),
        "layer 'bidirectional.*' cannot go one step at a time",
    ),
    "pooled": (pooled, "not every step of the input completes one of it"),
    "not a step": (whole_output, r"at a step it is of shape \(1, 2, 5\), and not \(B,5\)"),
    "several outputs": (beside, r"'lstm\w*'.*\n.*'one': its activation is 'relu'.*\n.*'two': it comes from 'two'"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_cannot_feed_themselves(name: str) -> None:
    build, reason = GRAPHS[name]
    with pytest.raises(
        UnsupportedError, match=r"cannot feed itself with tokens:\n- input '\w+' fed by output"
    ) as caught:
        build().generate(start=1, max_length=2)
    assert re.search(reason, str(caught.value)), str(caught.value)


def test_an_output_of_the_static_inputs_alone() -> None:
    k = Names(everystep)
    source, ids = k.Input((2,), name="source"), k.Input((None,), dtype="int32", name="ids")
    y = k.GRU(2)(k.Embedding(V, 2)(ids))
    model = k.Model([source, ids], [k.Dense(V, name="alone")(source), k.Dense(3)(y)])
    with pytest.raises(UnsupportedError, match="fed by output 'alone': it does not follow from input 'ids'"):
        model.generate(np.ones((1, 2)), 1, max_length=1, feed={"ids": "alone"})


def test_the_pair_that_streams_is_chosen() -> None:
    """Both inputs take tokens, but the encoder cannot be fed: the decoder's start would change with every step."""
    model = made(luong)
    tokens = model.generate(SOURCE, 1, max_length=3)
    np.testing.assert_array_equal(tokens, model.generate(SOURCE, 1, max_length=3, feed={"target": "dense"}))
    with pytest.raises(UnsupportedError, match=r"input 'source' fed by output 'dense': layer 'attention' cannot go"):
        model.generate(SOURCE, 1, max_length=3, feed={"source": "dense"})


def test_several_pairs_must_be_named() -> None:
    ids, y = tokens_in()
    model = Model(ids, [Dense(V, name="one")(y), Dense(V, name="two")(y)])
    message = r"in several ways; say which: feed=\{'ids': 'one'\} or feed=\{'ids': 'two'\}"
    for _ in range(2):
        with pytest.raises(OptionError, match=message):
            model.generate(start=1, max_length=2)
    one, two = (
        model.generate(start=1, max_length=9, feed={"ids": name}, return_scores=True) for name in ("one", "two")
    )
    assert one[1] != two[1]
