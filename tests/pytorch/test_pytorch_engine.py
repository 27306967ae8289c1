"""Values and gradients of the engine beside PyTorch's three recurrent modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch_stack
from rounding import assert_within
from tolerances import assert_close64
from torch_stack import KINDS

B, T, I, H = 4, 5, 3, 5
LENGTHS = (5, 2, 4, 1)


class Example:
    """A module with random weights, and numbers for all that goes in and all that arrives from behind."""

    def __init__(self, kind: str, dtype: Any = torch.float64, lengths: tuple[int, ...] | None = None, **options: Any):
        rng = np.random.default_rng(0)
        cls, more = KINDS[kind]
        self.module = cls(I, H, batch_first=True, dtype=dtype, **more, **options)
        with torch.no_grad():
            for weight in self.module.parameters():
                weight.copy_(torch.from_numpy(rng.normal(0, 0.25, weight.shape)))
        D = 2 if self.module.bidirectional else 1
        shape, names = (self.module.num_layers * D, B, H), ("h0", "c0")[: 2 if kind == "lstm" else 1]

        def draw(*shape: int) -> Any:
            return torch.from_numpy(rng.normal(size=shape)).to(dtype)

        self.x, self.start = draw(B, T, I), {name: draw(*shape) for name in names}
        self.d_output, self.d_states = draw(B, T, D * H), [draw(*shape) for _ in names]
        self.lengths = lengths
        self.mask = None if lengths is None else np.arange(T) < np.array(lengths)[:, None]

    def theirs(self) -> tuple[list[Any], dict[str, Any]]:
        """output, last states; and the gradients by name."""
        x = self.x.clone().requires_grad_()
        start = {name: s.clone().requires_grad_() for name, s in self.start.items()}
        given = x
        if self.lengths is not None:
            given = torch.nn.utils.rnn.pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False)
        states = tuple(start.values())
        output, last = self.module(given, states if len(states) > 1 else states[0])
        if self.lengths is not None:
            output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=T)
        last = last if isinstance(last, tuple) else (last,)
        loss = (output * self.d_output).sum() + sum((s * d).sum() for s, d in zip(last, self.d_states, strict=True))
        wanted = {"x": x, **start, **dict(self.module.named_parameters())}
        found = torch.autograd.grad(loss, list(wanted.values()))
        values = [v.detach().numpy() for v in (output, *last)]
        return values, {name: g.numpy() for name, g in zip(wanted, found, strict=True)}

    def computed(self, run: Any, number: Any) -> tuple[list[Any], dict[str, Any]]:
        """The same of runs of single layers and directions; see torch_stack.py."""
        start, d_states = [s.numpy() for s in self.start.values()], [number(d.numpy()) for d in self.d_states]
        found = torch_stack.forward(run, self.module, self.x.numpy(), start, self.mask, number)
        back = torch_stack.backward(self.module, found, number(self.d_output.numpy()), d_states)
        return [found.output, *found.states], back


def by_name(computed: tuple[list[Any], dict[str, Any]]) -> dict[str, Any]:
    values, gradients = computed
    return dict(zip(("output", "h_n", "c_n"), values, strict=False)) | gradients


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(
    kind: str, dtype: Any, num_layers: int, bidirectional: bool, bias: bool, lengths: Any
) -> None:
    """float64: to 1e-10. float32: ours and theirs are each within the bound of running error analysis."""
    example = Example(kind, dtype, lengths, num_layers=num_layers, bidirectional=bidirectional, bias=bias)
    ours, theirs = by_name(example.computed(torch_stack.run_engine, np.asarray)), by_name(example.theirs())
    assert ours.keys() == theirs.keys()
    if dtype == torch.float32:
        bounds = by_name(example.computed(torch_stack.run_oracle, torch_stack.rounded))
    for name, wanted in theirs.items():
        assert np.abs(wanted).max() > 1e-3, name
        if dtype == torch.float64:
            assert_close64([ours[name]], [wanted])
        else:
            exact, error = bounds[name].closed()
            assert error.max() < 0.01 * np.abs(exact).max(), f"the bound of {name} says nothing"
            assert_within(ours[name], exact, error, f"our {name}")
            assert_within(wanted, exact, error, f"PyTorch's {name}")
