"""encoder_decoder beside its equations, Keras and a stream, with every option."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equations
import keras
import numpy as np
import pytest
from tolerances import assert_close64, model_tolerances
from wide_floats import float64

import everystep
import everystep.keras as trained
from everystep.errors import OptionError
from everystep.seq2seq import encoder_decoder

SIZES = dict(source_size=7, target_size=6, embedding=3, units=4)
SOURCE = np.array([[3, 1, 6, 2, 4, 5], [5, 4, 1, 0, 0, 0], [2, 6, 3, 3, 0, 0]], "int32")  # every id
TARGET = np.array([[1, 4, 5, 3, 2], [1, 2, 3, 4, 5], [1, 5, 0, 0, 0]], "int32")
CELLS = {"lstm": equations.lstm, "gru": equations.gru, "simple_rnn": equations.simple}
OPTIONS = [
    dict(zip(("cell", "layers", "bidirectional", "attention"), found, strict=True))
    for found in itertools.product(CELLS, (1, 2), (False, True), (None, "luong", "bahdanau"))
]
DEEP = [options for options in OPTIONS if options["layers"] == 2]


def words(options: dict[str, Any]) -> str:
    return "-".join(str(value) for value in options.values())


every = pytest.mark.parametrize("options", OPTIONS, ids=words)
deep = pytest.mark.parametrize("options", DEEP, ids=words)


@pytest.fixture
def in64() -> Iterator[None]:
    """Models of float64."""
    keras.config.set_dtype_policy("float64")
    with float64():
        yield
    keras.config.set_dtype_policy("float32")


def made(dropout: float = 0.3, seed: int = 0, **options: Any) -> Any:
    """With random weights."""
    model = encoder_decoder(**SIZES, **options, dropout=dropout)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


# ---- The equations ----


def textbook(model: Any, cell: str, layers: int, bidirectional: bool, attention: str | None) -> np.ndarray:
    """The logits of SOURCE and TARGET by the textbook's loops, row by row, each without its padding."""
    weights = {w.path: np.asarray(w) for w in model.weights}
    logits = np.zeros((*TARGET.shape, SIZES["target_size"]))
    for row, (source, target) in enumerate(zip(SOURCE, TARGET, strict=True)):
        S, T = (source > 0).sum(), (target > 0).sum()
        encoded, states = weights["source_embedding/embeddings"][None, source[:S]], []
        for k in range(1, layers + 1):
            if bidirectional:
                ways = [
                    run(weights, cell, f"encoder_{k}/{way}_{cell}", encoded, None, backwards=way == "backward")
                    for way in ("forward", "backward")
                ]
                encoded = np.concatenate([ways[0].h, ways[1].h[:, ::-1]], axis=2)
                states.append([np.concatenate(pair, axis=1) for pair in zip(*(w.states for w in ways), strict=True)])
            else:
                found = run(weights, cell, f"encoder_{k}", encoded, None)
                encoded = found.h
                states.append(list(found.states))
        y = weights["target_embedding/embeddings"][None, target[:T]]
        for k in range(1, layers + 1):
            y = run(weights, cell, f"decoder_{k}", y, states[k - 1]).h
        if attention:
            query, keys = y[0] @ weights["attention_query/kernel"], encoded[0]
            if attention == "luong":
                scores = query @ keys.T
            else:
                summed = query[:, None] + (keys @ weights["attention_key/kernel"])[None]
                scores = np.tanh(summed) @ weights["attention/scale"]
            likely = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            joined = np.concatenate([likely @ encoded[0], y[0]], axis=1)
            y = np.tanh(joined @ weights["attended/kernel"])[None]
        logits[row, :T] = y[0] @ weights["logits/kernel"] + weights["logits/bias"]
    return logits


def run(weights: dict[str, Any], cell: str, path: str, x: Any, states: Any, **options: Any) -> Any:
    inside = [name for name in weights if name.startswith(f"{path}/")]
    own = {name.rsplit("/", 1)[1]: weights[name] for name in inside}
    zeros = np.zeros((1, own["recurrent_kernel"].shape[0]))
    return CELLS[cell](x, states or [zeros] * (2 if cell == "lstm" else 1), own, **options)


@every
def test_it_is_its_equations(options: dict[str, Any], in64: None) -> None:
    """Keras, a copy that runs here, and a stream of it, on what is no padding."""
    model = made(**options)
    assert {route.name for route in trained.routes(model).values()} == {"engine"}
    expected = textbook(model, **options)
    real = TARGET > 0
    ours = everystep.from_keras(model)
    predicted = ours.predict({"source": SOURCE, "target": TARGET})
    stream = ours.stream(len(SOURCE), static={"source": SOURCE})
    steps = np.stack([stream.step(TARGET[:, t]) for t in range(TARGET.shape[1])], axis=1)
    found = [np.asarray(model([SOURCE, TARGET])), predicted, steps]
    assert_close64([one[real] for one in found], [expected[real]] * 3)
    assert_close64([predicted, steps], [found[0]] * 2)  # on padding too
    for t in range(1, TARGET.shape[1]):
        prefix = ours.predict([SOURCE, TARGET[:, :t]])
        assert_close64([prefix[:, -1]], [steps[:, t - 1]])


@deep
def test_longer_padding_changes_nothing(options: dict[str, Any]) -> None:
    ours = everystep.from_keras(made(**options))
    wider = np.pad(SOURCE, ((0, 0), (0, 5)))
    longer = np.pad(TARGET, ((0, 0), (0, 4)))
    plain, padded = (ours.predict(x) for x in ([SOURCE, TARGET], [wider, longer]))
    padded = padded[:, : TARGET.shape[1]]
    if options["attention"] is None:
        np.testing.assert_array_equal(padded, plain)
    else:  # its sums over the source have more terms, of 0
        (atol,) = model_tolerances(ours, [wider, longer])
        np.testing.assert_allclose(padded, plain, rtol=0, atol=atol)


@deep
def test_every_weight_learns(options: dict[str, Any], in64: None) -> None:
    import jax

    model = made(**options, dropout=0)
    weights, others = ([v.value for v in kind] for kind in (model.trainable_variables, model.non_trainable_variables))
    real = (TARGET > 0)[..., None]
    d = np.random.default_rng(1).normal(size=(*TARGET.shape, SIZES["target_size"])) * real

    def loss(weights: Any) -> Any:
        return (model.stateless_call(weights, others, [SOURCE, TARGET])[0] * d).sum()

    for variable, gradient in zip(model.trainable_variables, jax.grad(loss)(weights), strict=True):
        gradient = np.asarray(gradient)
        if variable.path.endswith("embeddings"):
            assert not gradient[0].any(), variable.path  # of padding
            gradient = gradient[1:]
        assert gradient.all(), variable.path


# ---- Keras's own ways ----


@pytest.mark.parametrize("options", [DEEP[5], DEEP[7], DEEP[12]], ids=words)
def test_saved_by_keras_opened_everywhere(options: dict[str, Any], tmp_path: Path) -> None:
    model = made(**options)
    expected = model.predict([SOURCE, TARGET], verbose=0)
    model.save(tmp_path / "ours.keras")
    trained.without_engine(model).save(tmp_path / "stock.keras")
    stock = keras.models.load_model(tmp_path / "stock.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in stock._flatten_layers())
    (atol,) = model_tolerances(everystep.from_keras(model), [SOURCE, TARGET])
    for opened in (
        trained.models.load_model(tmp_path / "ours.keras"),
        trained.models.load_model(tmp_path / "stock.keras"),
        keras.models.load_model(tmp_path / "ours.keras"),
        stock,
    ):
        found = opened.predict([SOURCE, TARGET], verbose=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    for name in ("ours", "stock"):
        found = everystep.load_model(tmp_path / f"{name}.keras").predict([SOURCE, TARGET])
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_its_names_and_sizes() -> None:
    model = encoder_decoder(7, 6, bidirectional=True, layers=2, attention="luong", name="speller")
    assert [tensor.name for tensor in model.inputs] == ["source", "target"]
    assert model.output_names == ["logits"]
    assert model.name == "speller"
    assert model.output_shape == (None, None, 6)
    shapes = {w.path: tuple(w.shape) for w in model.weights}
    assert shapes["source_embedding/embeddings"] == (7, 128)
    assert shapes["encoder_2/backward_lstm/lstm_cell/recurrent_kernel"] == (128, 512)
    assert shapes["decoder_2/lstm_cell/recurrent_kernel"] == (256, 1024)


def test_dropout_stands_before_each_recurrent_layer_and_the_logits() -> None:
    model = made(dropout=0.5, layers=2, attention="luong", cell="gru", bidirectional=True)
    for name in ("encoder_1", "encoder_2", "decoder_1", "decoder_2", "logits"):
        before = model.get_layer(name)._inbound_nodes[0].input_tensors[0]._keras_history.operation
        assert isinstance(before, keras.layers.Dropout), name
        assert before.rate == 0.5
    kinds = [type(layer) for layer in made(dropout=0).layers]
    assert keras.layers.Dropout not in kinds
    training = [np.asarray(model([SOURCE, TARGET], training=True)) for _ in range(2)]
    assert np.abs(training[0] - training[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(source_size=0), "source_size must be a whole number from 1 on; got 0"),
        (dict(target_size=2.5), r"target_size must be a whole number from 1 on; got 2\.5"),
        (dict(layers=True), "layers must be a whole number from 1 on; got True"),
        (dict(units=5, bidirectional=True), "units/2 each way, so units must be even; got 5"),
        (dict(cell="LSTM"), "cell must be one of 'lstm', 'gru', 'simple_rnn'; got 'LSTM'"),
        (dict(attention="dot"), "attention must be one of None, 'luong', 'bahdanau'; got 'dot'"),
        (dict(dropout=1.0), r"dropout must be from 0 to below 1; got 1\.0"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        encoder_decoder(**{**SIZES, **options})
