"""Runs bound to whole sequences give what the layer's own run returns, to the bit, whatever is in the arrays then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from everystep.layers import GRU, LSTM, RNN, Bidirectional, GRUCell, LSTMCell, SimpleRNN
from everystep.layers.bound import bound_step
from everystep.layers.structure import flatten

B, T, I, H = 3, 5, 4, 6
SEQUENCES = {"return_sequences": True, "return_state": True}
LAYERS = {
    "lstm": lambda: LSTM(H, return_state=True),
    "lstm, all of it": lambda: LSTM(H, return_gates=True, return_cell_sequences=True, **SEQUENCES),
    "gru, backwards": lambda: GRU(H, go_backwards=True, **SEQUENCES),
    "rnn, 0 where masked": lambda: SimpleRNN(H, zero_output_for_mask=True, **SEQUENCES),
    "last, 0 where masked": lambda: GRU(H, zero_output_for_mask=True, return_state=True),
    "backwards, 0 where masked": lambda: LSTM(H, go_backwards=True, zero_output_for_mask=True, **SEQUENCES),
    "stacked": lambda: RNN([LSTMCell(H), GRUCell(H)], **SEQUENCES),
    "both ways": lambda: Bidirectional(LSTM(H, **SEQUENCES)),
    "both ways, last": lambda: Bidirectional(GRU(H)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("others", [(), ("mask",), ("mask", "resets", "initial_state")], ids=len)
def test_a_bound_run_is_the_layers_own(name: str, others: tuple[str, ...]) -> None:
    rng, layer = np.random.default_rng(1), LAYERS[name]()
    layer.ensure_built(np.zeros((B, T, I), np.float32))
    layer.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    call: dict[str, Any] = {"sequences": np.zeros((B, T, I), np.float32)}
    call |= {flags: np.ones((B, T), bool) for flags in ("mask", "resets") if flags in others}
    if "initial_state" in others:
        call["initial_state"] = [np.zeros((B, H), np.float32) for _ in flatten(layer.initial_state(B))]
    bound = bound_step(layer, call, ())
    assert bound is not None
    for _ in range(2):
        for array in flatten(list(call.values())):
            array[...] = rng.random(array.shape) < 0.6 if array.dtype == bool else rng.normal(size=array.shape)
        for one in bound.calls:
            one()
        options = {name: given for name, given in call.items() if name != "sequences"}
        for mine, its in zip(flatten(bound.outputs), flatten(layer.run(call["sequences"], **options)[0]), strict=True):
            np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    "layer",
    [
        Bidirectional(LSTM(H), merge_mode="sum"),
        RNN([LSTMCell(H), GRUCell(H)], go_backwards=True),
    ],
    ids=["a sum", "backwards and stacked"],
)
def test_what_must_copy_first_is_not_bound(layer: Any) -> None:
    x = np.zeros((B, T, I), np.float32)
    layer.ensure_built(x)
    assert bound_step(layer, {"sequences": x, "mask": np.ones((B, T), bool)}, ()) is None
    assert bound_step(layer, {"sequences": x[:, ::-1], "mask": None}, ()) is None
