"""PyTorch's recurrent modules from their weights alone: numbers, files, and the way back.

PyTorch is not needed here; beside the live modules the same is tested in tests/pytorch.
"""

from __future__ import annotations

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
from everystep.errors import OptionError

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


def built(layer: Any) -> Any:
    layer(np.zeros((1, 1, I)))
    return layer


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
    for mode, cls in (("LSTM", layers.LSTM), ("GRU", layers.GRU), ("RNN_TANH", layers.SimpleRNN)):
        layer = built(cls(H, dtype="float64"))
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
        x = rng.normal(size=(B, T, I))
        single = to_torch(layer)
        assert list(single) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
        np.testing.assert_array_equal(from_torch(single).predict(x)[1], layer(x))
        assert_close64([layer(x)], [torch_equations.run(single, mode, x)[0][:, -1]])


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
