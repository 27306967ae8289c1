"""from_torch and to_torch beside PyTorch's live modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tolerances import assert_close64
from torch_stack import KINDS

from everystep import from_torch, layers, to_torch
from everystep.errors import DtypeError, OptionError, UnsupportedError

B, T, I, H = 3, 6, 2, 5


def made(kind: str, **options: Any) -> torch.nn.RNNBase:
    torch.manual_seed(0)
    cls, more = KINDS[kind]
    return cls(I, H, **({"batch_first": True, "dtype": torch.float64} | more | options)).eval()


def output_and_states(module: torch.nn.RNNBase, x: np.ndarray) -> list[np.ndarray]:
    """output, h_n and, of an LSTM, c_n, with the batch first in the output."""
    given = torch.from_numpy(x)
    with torch.no_grad():
        output, last = module(given if module.batch_first else given.transpose(0, 1))
    output = output if module.batch_first else output.transpose(0, 1)
    return [v.numpy() for v in (output, *(last if isinstance(last, tuple) else (last,)))]


def predicted(model: Any, x: np.ndarray, count: int) -> list[np.ndarray]:
    """The same, of a model: its states are as many as PyTorch stacks in h_n, then as in c_n."""
    output, *states = model.predict(x)
    return [output, *np.split(np.stack(states), count - 1)]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_live_modules_and_back(kind: str, num_layers: int, bidirectional: bool, bias: bool) -> None:
    module = made(kind, num_layers=num_layers, bidirectional=bidirectional, bias=bias, dropout=0.5 * (num_layers > 1))
    x = np.random.default_rng(1).normal(size=(B, T, I))
    model = from_torch(module)
    wanted = output_and_states(module, x)
    assert_close64(predicted(model, x, len(wanted)), wanted)
    dropouts = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert dropouts == [0.5] * (num_layers - 1)
    back = made(kind, num_layers=num_layers, bidirectional=bidirectional, bias=bias)
    assert list(to_torch(model)) == list(back.state_dict())
    back.load_state_dict({name: torch.from_numpy(w) for name, w in to_torch(model).items()})
    assert_close64(output_and_states(back, x), wanted)


def test_time_first_and_float32() -> None:
    module = made("gru", batch_first=False, dtype=torch.float32, bidirectional=True)
    x = np.random.default_rng(2).normal(size=(B, T, I)).astype(np.float32)
    model = from_torch(module)
    found = predicted(model, x, 2)
    assert {v.dtype for v in found} == {np.dtype(np.float32)}
    x = x.astype(np.float64)
    assert_close64(predicted(from_torch(module.double()), x, 2), output_and_states(module, x))


class Whole(torch.nn.Module):
    """A model with a recurrent module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.ModuleDict({"rnn": made("relu", num_layers=2, dropout=0.25)})
        self.head = torch.nn.Linear(H, 1)


def test_inside_of_a_bigger_model(tmp_path: Path) -> None:
    whole, x = Whole(), np.random.default_rng(3).normal(size=(B, T, I))
    wanted = output_and_states(whole.encoder["rnn"], x)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    live = from_torch(whole, prefix="encoder.rnn.")
    assert [layer.name for layer in live.layers[1:]] == ["rnn_l0", "dropout_l0", "rnn_l1"]
    relu = dict(prefix="encoder.rnn.", nonlinearity="relu")
    for model in (live, from_torch(whole.state_dict(), **relu), from_torch(tmp_path / "whole.safetensors", **relu)):
        assert_close64(predicted(model, x, 2), wanted)
    with pytest.raises(OptionError, match=r"lie under 'encoder.rnn.': pass one of them as prefix"):
        from_torch(whole)


def test_what_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"the LSTM has projections .*proj_size"):
        from_torch(torch.nn.LSTM(I, H, proj_size=2))
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        with pytest.raises(DtypeError, match=f"weight_ih_l0 must be float32 or float64; got {name}"):
            from_torch(made("lstm", dtype=dtype))
    with pytest.raises(OptionError, match=r"the LSTMCell must hold the weights of nn.LSTM.*got weight_ih, weight_hh"):
        from_torch(torch.nn.LSTMCell(I, H))
    with pytest.raises(OptionError, match="nonlinearity must be relu, as of the RNN; got 'tanh'"):
        from_torch(made("relu"), nonlinearity="tanh")
