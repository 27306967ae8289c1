"""One layer's trace, over cells, options and dtypes: beside the textbook's loop, and beside stock Keras on prefixes."""

from __future__ import annotations

from typing import Any

import equations
import keras
import numpy as np
import pytest
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

import everystep
from everystep.cells import CELLS

B, T, I, H = 4, 6, 3, 5
# padded behind, padded before, a hole, everything masked
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0] * 6], bool)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "simple": ("SimpleRNN", {}),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "backwards": {"go_backwards": True},
    "sequences": {"return_sequences": True, "zero_output_for_mask": True},
    "states": {"return_state": True, "go_backwards": True, "return_sequences": True},
    "all of it": {"return_gates": True, "return_state": True},
    "stateful": {"stateful": True},
}
FUNCTIONS = {"activation": "softsign"}


def made(library: Any, cell: str, dtype: str, masked: bool, given: bool, options: dict[str, Any]) -> Any:
    """A model of one layer, with a mask and states to start from among its inputs if they are wanted."""
    kind, own = KINDS[cell]
    x = library.Input((T, I), batch_size=B if options.get("stateful") else None, dtype=dtype, name="x")
    mask = library.Input((T,), batch_size=x.shape[0], dtype="bool", name="mask") if masked else None
    states = [library.Input((H,), dtype=dtype, name=f"{letter}0") for letter in CELLS[cell].states] if given else None
    layer = getattr(library.layers, kind)(H, dtype=dtype, name="layer", **own, **options)
    model = library.Model(
        [x, *([mask] if masked else []), *(states or [])],
        layer(x, **({"mask": mask} if masked else {}), **({"initial_state": states} if given else {})),
    )
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    return model


def numbers(cell: str, dtype: str, masked: bool, given: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    x, states = rng.normal(size=(B, T, I)), [rng.normal(size=(B, H)) for _ in CELLS[cell].states]
    floats = [array.astype(dtype) for array in (x, *(states if given else []))]
    return [floats[0], *([MASK] if masked else []), *floats[1:]]


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_the_textbook(cell: str, options: str, masked: bool, given: bool) -> None:
    asked = OPTIONS[options] | FUNCTIONS
    x, *rest = numbers(cell, "float64", masked, given)
    model = made(everystep, cell, "float64", masked, given, asked)
    trace = model.trace([x, *rest])
    assert list(trace) == ["layer"]
    layer = trace["layer"]
    back = bool(asked.get("go_backwards"))
    weights = dict(zip(("kernel", "recurrent_kernel", "bias"), model.get_weights(), strict=True))
    states = rest[masked:] or [np.zeros((B, H)) for _ in CELLS[cell].states]
    mask = MASK if masked else None
    run = equations.run(cell, x, states, weights, mask=mask, backwards=back, activation=FUNCTIONS["activation"])
    way = -1 if back else 1
    found = [layer.h, *([layer.c] if cell == "lstm" else []), layer.gates]
    wanted = [run.h[:, ::way], *([run.c[:, ::way]] if cell == "lstm" else []), run.gates[:, ::way]]
    assert_close64(found, wanted)
    np.testing.assert_array_equal(layer.mask, MASK if masked else np.ones((B, T), bool))
    assert layer.resets is None
    assert layer.backwards == back
    for letter, state in zip(CELLS[cell].states, states, strict=True):
        np.testing.assert_array_equal(layer.initial(letter), state)
        before, after = layer.before(letter), layer.state(letter)
        first, later = (before[:, -1], before[:, :-1]) if back else (before[:, 0], before[:, 1:])
        np.testing.assert_array_equal(first, state)
        np.testing.assert_array_equal(later, after[:, 1:] if back else after[:, :-1])
    for k, letter in enumerate(CELLS[cell].gates):
        np.testing.assert_array_equal(layer.gate(letter), layer.gates[:, :, k])


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_stock_keras_on_prefixes(cell: str, dtype: str, back: bool) -> None:
    """Keras returns c after the last step alone: so it is run on all steps up to each."""
    with float64():
        (x,) = numbers(cell, dtype, False, False)
        ours = made(everystep, cell, dtype, False, False, {"go_backwards": back})
        kind, own = KINDS[cell]
        theirs = getattr(keras.layers, kind)(H, dtype=dtype, return_state=True, go_backwards=back, **own)
        theirs.build(x.shape)
        theirs.set_weights(ours.get_weights())
        layer = ours.trace(x)["layer"]
        states: list[list[np.ndarray]] = []
        for t in range(T):
            _, *last = theirs(x[:, t:] if back else x[:, : t + 1])
            states.append([np.asarray(state) for state in last])
    for k, letter in enumerate(CELLS[cell].states):
        wanted = np.stack([state[k] for state in states], axis=1)
        found = layer.state(letter)
        assert found.dtype == wanted.dtype == dtype
        if dtype == "float64":
            assert_close64([found], [wanted])
        else:
            assert abs(found - wanted).max() <= value_tolerance(ours.layers[1], x, backwards=back)


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_resets_and_what_a_step_reads(cell: str, back: bool) -> None:
    kind, own = KINDS[cell]
    x, resets = everystep.Input((T, I), dtype="float64"), everystep.Input((T,), dtype="bool")
    layer = getattr(everystep.layers, kind)(
        H, name="layer", dtype="float64", trainable_initial_state=True, go_backwards=back, **own
    )
    model = everystep.Model([x, resets], layer(x, resets=resets))
    rng = np.random.default_rng(8)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    array, again = rng.normal(size=(B, T, I)), rng.random((B, T)) < 0.4
    found = model.trace([array, again])["layer"]
    kernels, states = model.get_weights()[:3], model.get_weights()[3:]
    states = [np.broadcast_to(state, (B, H)) for state in states]
    weights = dict(zip(("kernel", "recurrent_kernel", "bias"), kernels, strict=True))
    run = equations.run(cell, array, states, weights, resets=again, backwards=back)
    assert_close64([found.h, found.gates], [v[:, :: -1 if back else 1] for v in (run.h, run.gates)])
    assert found.resets is not None
    np.testing.assert_array_equal(found.resets, again)
    if cell == "lstm":
        i, f, g, o = (found.gate(letter) for letter in "ifgo")
        assert_close64([f * found.before("c") + i * g, o * np.tanh(found.c)], [found.c, found.h])
    elif cell == "simple":
        assert_close64([found.gates[:, :, 0]], [found.h])
    else:
        z, g = found.gate("z"), found.gate("g")
        assert_close64([z * found.before("h") + (1 - z) * g], [found.h])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_has_the_bits_of_the_layer_itself(cell: str, dtype: str) -> None:
    arrays = numbers(cell, dtype, True, True)
    full = {"return_sequences": True, "return_state": True, "return_gates": True}
    full |= {"return_cell_sequences": True} if cell == "lstm" else {}
    h, *others = made(everystep, cell, dtype, True, True, full).predict(arrays)
    layer = made(everystep, cell, dtype, True, True, {}).trace(arrays)["layer"]
    np.testing.assert_array_equal(layer.h, h)
    np.testing.assert_array_equal(layer.gates, others[-1])
    if cell == "lstm":
        np.testing.assert_array_equal(layer.c, others[-2])
