"""PyTorch's recurrent modules from their weights alone: numbers, files, the way back, and what is refused.

PyTorch is not needed here; beside the live modules the same is tested in tests/pytorch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_equations
from safetensors.numpy import save_file
from tolerances import assert_close64
from torch_equations import random_state_dict

import everystep
from everystep import from_torch, layers, to_torch
from everystep.errors import DependencyError, DtypeError, GraphError, OptionError, ShapeError, UnsupportedError

B, T, I, H = 3, 5, 2, 4
MODES = ("LSTM", "GRU", "RNN_TANH", "RNN_RELU")


def nonlinearity_of(mode: str) -> str | None:
    return "relu" if mode == "RNN_RELU" else None


class Module:
    """A live module, as far as from_torch looks at one."""

    def __init__(self, state: dict[str, Any], mode: str | None = None, dropout: float = 0.0, **inner: Any) -> None:
        self.state, self.mode, self.dropout, self.inner = state, mode, dropout, inner

    def state_dict(self) -> dict[str, Any]:
        below = {f"{n}.{k}": v for n, module in self.inner.items() for k, v in module.state_dict().items()}
        return self.state | below

    def get_submodule(self, name: str) -> Any:
        first, _, rest = name.partition(".")
        return self.inner[first].get_submodule(rest) if name else self


def same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].shape == b[name].shape
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_numbers_and_the_way_back(mode: str, num_layers: int, bidirectional: bool, bias: bool) -> None:
    rng = np.random.default_rng(0)
    state = random_state_dict(rng, mode, I, H, num_layers, bidirectional, bias)
    model = from_torch(state, nonlinearity=nonlinearity_of(mode))
    x = rng.normal(size=(B, T, I))
    output, *states = model.predict(x)
    wanted = torch_equations.run(state, mode, x)
    found = [output, *(np.stack(part) for part in np.array_split(states, len(wanted) - 1))]
    assert_close64(found, wanted)
    back = to_torch(model)
    assert list(back) == list(state)
    for name, weight in back.items():
        if mode == "GRU" or name.startswith("weight"):
            np.testing.assert_array_equal(weight, state[name])
        elif name.startswith("bias_ih"):
            np.testing.assert_array_equal(weight, state[name] + state[name.replace("ih", "hh")])
        else:
            assert not weight.any()
    again = from_torch(back, nonlinearity=nonlinearity_of(mode))
    same_bits(to_torch(again), back)
    for a, b in zip(again.predict(x), model.predict(x), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN_TANH"])
def test_a_file_is_its_state_dict(tmp_path: Path, mode: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    state = random_state_dict(rng, mode, I, H, 2, bidirectional=True, dtype=dtype)
    head = {"head.weight": rng.normal(size=(2, H)), "encoder.steps": np.arange(3)}
    path = tmp_path / "model.safetensors"
    save_file({f"encoder.rnn.{name}": w for name, w in state.items()} | head, path)
    x = rng.normal(size=(B, T, I)).astype(dtype)
    plain = from_torch(state)
    assert {w.dtype for w in plain.get_weights()} == {np.dtype(dtype)}
    assert {y.dtype for y in plain.predict(x)} == {np.dtype(dtype)}
    for prefix, source in (("encoder.rnn.", path), ("encoder.rnn", str(path))):
        model = from_torch(source, prefix=prefix)
        same_bits(to_torch(model), to_torch(plain))
        for a, b in zip(model.predict(x), plain.predict(x), strict=True):
            np.testing.assert_array_equal(a, b)
    save_file(to_torch(plain), path)
    same_bits(to_torch(from_torch(path)), to_torch(plain))
    assert "torch" not in sys.modules


def test_a_live_module_says_more_than_its_weights() -> None:
    rng = np.random.default_rng(2)
    state = random_state_dict(rng, "RNN_RELU", I, H, 3)
    inner = Module(state, "RNN_RELU", 0.25)
    whole = Module({"scale": np.zeros(3)}, encoder=Module({}, rnn=inner))
    x = rng.normal(size=(B, T, I))
    for model in (from_torch(inner), from_torch(whole, prefix="encoder.rnn."), from_torch(inner, nonlinearity="relu")):
        assert_close64([model.predict(x)[0]], [torch_equations.run(state, "RNN_RELU", x)[0]])
        names = ["rnn_l0", "dropout_l0", "rnn_l1", "dropout_l1", "rnn_l2"]
        assert [layer.name for layer in model.layers[1:]] == names
        assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.25, 0.25]
        same_bits(to_torch(model), to_torch(from_torch(state)))
    with pytest.raises(OptionError, match="nonlinearity must be relu, as of the Module; got 'tanh'"):
        from_torch(inner, nonlinearity="tanh")


def test_to_keras_trains_the_same_layers() -> None:
    rng = np.random.default_rng(3)
    for mode in MODES:
        state = random_state_dict(rng, mode, I, H, 2, bidirectional=mode != "LSTM", dtype=np.float32)
        model = from_torch(Module(state, mode, 0.5))
        keras_model = model.to_keras()
        for a, b in zip(keras_model.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert [layer.rate for layer in keras_model.layers if type(layer).__name__ == "Dropout"] == [0.5]
        x = rng.normal(size=(B, T, I)).astype(np.float32)
        for a, b in zip(keras_model.predict(x, verbose=0), model.predict(x), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_layer_alone_goes_out() -> None:
    rng = np.random.default_rng(4)
    for mode, layer in (("LSTM", layers.LSTM(H)), ("GRU", layers.GRU(H)), ("RNN_TANH", layers.SimpleRNN(H))):
        layer(np.zeros((1, 1, I)))
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
        x = rng.normal(size=(B, T, I)).astype(np.float32)
        single = to_torch(layer)
        assert list(single) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
        np.testing.assert_array_equal(from_torch(single, nonlinearity=None).predict(x)[1], layer(x))
        doubled = {name: w.astype(np.float64) for name, w in single.items()}
        output = torch_equations.run(doubled, mode, x.astype(np.float64))[0]
        np.testing.assert_allclose(layer(x), output[:, -1], atol=1e-5)


def test_a_sequential_goes_out() -> None:
    both = layers.Bidirectional(layers.GRU(H, return_sequences=True))
    model = everystep.Sequential([layers.Input((T, I)), both, layers.Dropout(0.1), layers.Bidirectional(layers.GRU(H))])
    state = to_torch(model)
    assert [name for name in state if name.startswith("weight_ih")] == [
        "weight_ih_l0", "weight_ih_l0_reverse", "weight_ih_l1", "weight_ih_l1_reverse",
    ]  # fmt: skip
    x = np.random.default_rng(5).normal(size=(B, T, I)).astype(np.float32)
    _, *h = from_torch(state).predict(x)
    np.testing.assert_array_equal(np.concatenate(h[2:], axis=-1), model.predict(x))


# ---- What is refused ----


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
        (dict(weight_ih_l3=np.zeros((16, 8), np.float32)), OptionError, "lacks weight_ih_l2, .* and "),
        (
            dict(weight_hh_l0=np.zeros((10, 4), np.float32)),
            ShapeError,
            r"weight_hh_l0 must be \(4H,H\) .*got \(10, 4\)",
        ),
        (dict(weight_hh_l0=np.zeros(4, np.float32)), ShapeError, r"weight_hh_l0 must be \(4H,H\) .*got \(4,\)"),
        (dict(weight_ih_l1=np.zeros((16, 4), np.float32)), ShapeError, r"weight_ih_l1 must be of shape \(16, 8\)"),
        (dict(weight_ih_l0=np.zeros(16, np.float32)), ShapeError, r"weight_ih_l0 must be of shape"),
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
    return everystep.Model(x, [layers.LSTM(H)(x), layers.LSTM(H, name="one")(x)])


def built(layer: Any) -> Any:
    layer(np.zeros((1, 1, I)))
    return layer


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
    with pytest.raises(UnsupportedError, match=r"to_torch takes an LSTM, GRU or SimpleRNN.*; got Dense 'head'"):
        to_torch(built(layers.Dense(2, name="head")))
    with pytest.raises(UnsupportedError, match="has no recurrent layer"):
        to_torch(stacked(layers.Dropout(0.1)))
    with pytest.raises(GraphError, match="layer 'one' has no weights yet"):
        to_torch(layers.LSTM(H, name="one"))
    x, y = layers.Input((T, I)), layers.Input((T, I))
    with pytest.raises(UnsupportedError, match="has 2 inputs; PyTorch's modules have one"):
        to_torch(everystep.Model([x, y], layers.LSTM(H)(x)))
