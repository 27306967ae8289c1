"""What from_torch and to_torch refuse, and how they say it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_equations import random_state_dict

import everystep
from everystep import from_torch, layers, to_torch
from everystep.errors import DependencyError, DtypeError, GraphError, OptionError, ShapeError, UnsupportedError

B, T, I, H = 3, 5, 2, 4


def built(layer: Any) -> Any:
    layer(np.zeros((1, 1, I)))
    return layer


def lstm_state(**changes: Any) -> dict[str, Any]:
    state = random_state_dict(np.random.default_rng(6), "LSTM", I, H, 2, bidirectional=True, dtype=np.float32)
    return {name: w for name, w in (state | changes).items() if w is not None}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(weight_hr_l0=np.zeros((2, H), np.float32)), UnsupportedError, "projections .*proj_size"),
        ({"head.weight": np.zeros(3, np.float32)}, OptionError, r"nothing else: .*; got head.weight$"),
        ({"rnn.weight_hh_l0": np.zeros(3, np.float32)}, OptionError, r"lie under 'rnn.': pass one of them as prefix"),
        (
            dict(weight_hh_l1_reverse=None),
            OptionError,
            "dict lacks weight_hh_l1_reverse: it has weight_ih_l0",
        ),
        (dict(bias_hh_l0=None), OptionError, "lacks bias_hh_l0"),
        (
            dict(weight_ih_l3=np.zeros((16, 8), np.float32)),
            OptionError,
            "lacks layer 2, weight_ih_l2 and the others: its names go up to layer 3",
        ),
        (
            dict(weight_ih_l99999999=np.zeros((16, 8), np.float32)),
            OptionError,
            "lacks layer 2.* up to layer 99999999,",
        ),
        ({"weight_ih_l" + "9" * 5000: np.zeros(3, np.float32)}, OptionError, "nothing else: .*; got weight_ih_l9"),
        (dict(weight_ih_l01=np.zeros((16, 8), np.float32)), OptionError, "nothing else: .*; got weight_ih_l01$"),
        (dict(weight_ih_l2=np.zeros((16, 8), np.float32)), OptionError, "lacks weight_hh_l2, .* and "),
        (
            dict(weight_hh_l0=np.zeros((10, 4), np.float32)),
            ShapeError,
            r"weight_hh_l0 must be \(4H,H\) .*got \(10, 4\)",
        ),
        (dict(weight_hh_l0=np.zeros(4, np.float32)), ShapeError, r"weight_hh_l0 must be \(4H,H\) .*got \(4,\)"),
        (dict(weight_ih_l1=np.zeros((16, 4), np.float32)), ShapeError, r"weight_ih_l1 must be of shape \(16, 8\)"),
        (
            dict(weight_ih_l0=np.zeros(16, np.float32)),
            ShapeError,
            r"weight_ih_l0 must be of shape \(16, I\); got \(16,",
        ),
        (dict(weight_ih_l0=np.zeros((), np.float32)), ShapeError, r"weight_ih_l0 must be of shape \(16, I\); got \(\)"),
        (dict(weight_ih_l0=np.zeros((8, 2), np.float32)), ShapeError, r"weight_ih_l0 must be of shape \(16, 2\); got"),
        (dict(bias_ih_l1=np.zeros(15, np.float32)), ShapeError, r"bias_ih_l1 must be of shape \(16,\); got \(15,\)"),
        (
            dict(bias_ih_l1=np.zeros(16)),
            DtypeError,
            "bias_ih_l1 must be float32, as weight_hh_l0 is; got float64",
        ),
        (dict(bias_ih_l1=np.zeros(16, np.float16)), DtypeError, "bias_ih_l1 must be float32 or float64; got float16"),
        (dict(bias_ih_l1=[0.0] * 16), DtypeError, "bias_ih_l1 must be float32 or float64; got list"),
    ],
)
def test_weights_that_do_not_fit(changes: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        from_torch(lstm_state(**changes))


def test_sources_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"takes an nn.LSTM, nn.GRU or nn.RNN, .* path .*got ndarray"):
        from_torch(np.zeros(3))
    with pytest.raises(OptionError, match=r"must hold the weights of nn.LSTM.*; got none"):
        from_torch({})
    with pytest.raises(OptionError, match="the state dict must have names for its keys, as weight_ih_l0; got 1"):
        from_torch({1: 2})
    with pytest.raises(OptionError, match=r"has no weights under 'encoder.'; it has weight_ih_l0"):
        from_torch(lstm_state(), prefix="encoder")
    with pytest.raises(OptionError, match=r"'model.pt' is no .safetensors file. A .pt or .pth file is a pickle"):
        from_torch("model.pt")
    with pytest.raises(OptionError, match=r"nonlinearity is of nn.RNN alone; the state dict holds .* nn.LSTM"):
        from_torch(lstm_state(), nonlinearity="relu")
    with pytest.raises(OptionError, match="nonlinearity must be tanh or relu, as of the state dict; got 'gelu'"):
        from_torch(random_state_dict(np.random.default_rng(7), "RNN_TANH", I, H), nonlinearity="gelu")
    header = json.dumps({"weight_ih_l0": {"dtype": "BF16", "shape": [4, 2], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "half.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(DtypeError, match=r"half.safetensors': weight_ih_l0 must be float32 or float64; got BF16"):
        from_torch(tmp_path / "half.safetensors")
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / "none.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(DependencyError, match=r"needs the package safetensors: pip install 'everystep\[safetensors\]'"):
        from_torch(tmp_path / "half.safetensors")


def stacked(*kinds: Any) -> Any:
    """A model of these layers, one on top of the other."""
    return everystep.Sequential([layers.Input((T, I)), *kinds])


def shared() -> Any:
    x = layers.Input((T, H))
    layer = layers.LSTM(H, return_sequences=True, name="one")
    return everystep.Model(x, layer(layer(x)))


def with_state() -> Any:
    x = layers.Input((T, H))
    y, *states = layers.LSTM(H, return_sequences=True, return_state=True)(x)
    return everystep.Model(x, layers.LSTM(H, name="one")(y, initial_state=states))


def beside() -> Any:
    x = layers.Input((T, H))
    return everystep.Model(x, [layers.LSTM(H, name="the_one")(x), layers.LSTM(H, name="one")(x)])


def two_ways(forward: Any, backward: Any) -> Any:
    return layers.Bidirectional(forward, backward_layer=backward)


both = dict(return_sequences=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: built(layers.LSTM(H, name="one", activation="relu")), "activations 'relu' and 'sigmoid'; there they"),
        (lambda: built(layers.GRU(H, name="one", recurrent_activation="tanh")), "activations 'tanh' and 'tanh'"),
        (
            lambda: built(layers.SimpleRNN(H, name="one", activation="elu")),
            "activation 'elu'; nn.RNN has tanh and",
        ),
        (lambda: built(layers.GRU(H, name="one", reset_after=False)), "reset_after=False; nn.GRU resets after"),
        (lambda: built(layers.LSTM(H, name="one", go_backwards=True)), "go_backwards=True; Bidirectional has one"),
        (lambda: built(layers.LSTM(H, name="one", trainable_initial_state=True)), "a trainable initial state"),
        (lambda: built(layers.Bidirectional(layers.LSTM(H), "sum", name="one")), "merge_mode='sum'; two directions"),
        (lambda: built(two_ways(layers.LSTM(H), layers.LSTM(3, name="one", go_backwards=True))), "units=3 beside 4"),
        (lambda: built(two_ways(layers.LSTM(H), layers.GRU(H, name="one", go_backwards=True))), "a GRU beside an LSTM"),
        (lambda: built(two_ways(layers.GRU(H, name="one", go_backwards=True), layers.GRU(H))), "go_backwards=True; "),
        (
            lambda: stacked(layers.LSTM(H, **both), layers.GRU(H, name="one")),
            "a GRU beside an LSTM",
        ),
        (
            lambda: stacked(layers.LSTM(H, **both, name="a"), layers.LSTM(3, name="one")),
            "units=3 beside 4 of",
        ),
        (lambda: stacked(layers.LSTM(H, **both), layers.LSTM(H, use_bias=False, name="one")), "use_bias=False beside"),
        (
            lambda: stacked(layers.LSTM(H, **both), layers.Bidirectional(layers.LSTM(H), name="one")),
            "two directions beside one",
        ),
        (
            lambda: stacked(layers.SimpleRNN(H, **both), layers.SimpleRNN(H, "relu", name="one")),
            "activation='relu' beside 'tanh'",
        ),
        (lambda: stacked(layers.LSTM(H), layers.Dense(2, name="one")), "is a Dense; to_torch takes LSTM, GRU"),
        (lambda: stacked(layers.Masking(name="one"), layers.LSTM(H)), "is a Masking; to_torch takes"),
        (shared, "is not simply called on the output of the layer before it"),
        (with_state, "is not simply called on the output of the layer before it"),
        (beside, "is not simply called on the output of the layer before it"),
    ],
)
def test_what_pytorch_cannot_express_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"layer '\w*one' .*{message}"):
        to_torch(make())


def test_what_is_no_recurrent_layer_or_has_no_weights() -> None:
    with pytest.raises(UnsupportedError, match=r"to_torch takes an LSTM, GRU or SimpleRNN.*; layer 'head' is a Dense"):
        to_torch(built(layers.Dense(2, name="head")))
    with pytest.raises(UnsupportedError, match="layer 'own' is an Own"):
        to_torch(built(type("Own", (layers.LSTM,), {})(H, name="own")))
    with pytest.raises(OptionError, match=r"takes a model or layer of everystep; got ndarray. Of a Keras model, pass"):
        to_torch(np.zeros(3))
    with pytest.raises(UnsupportedError, match="has no recurrent layer"):
        to_torch(stacked(layers.Dropout(0.1)))
    with pytest.raises(GraphError, match="layer 'one' has no weights yet"):
        to_torch(layers.LSTM(H, name="one"))
    x, y = layers.Input((T, I)), layers.Input((T, I))
    with pytest.raises(UnsupportedError, match="has 2 inputs; PyTorch's modules have one"):
        to_torch(everystep.Model([x, y], layers.LSTM(H)(x)))
