"""Everything that `explain` says is equal is computed and compared; everything that it says fails must fail."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import keras
import numpy as np
import pytest

import everystep.keras.layers
import everystep.layers
from everystep.states.explain import explain

B, T, I, H = 5, 6, 2, 3
KINDS = {
    "everystep": everystep.layers.LSTM,
    "everystep.keras": everystep.keras.layers.LSTM,
    "keras": keras.layers.LSTM,
}
OURS = ("everystep", "everystep.keras")
NO, YES = False, True
RNG = np.random.default_rng(7)
X = RNG.normal(size=(B, T, I)).astype(np.float32)
STATE = [RNG.normal(size=(B, H)).astype(np.float32) for _ in range(2)]
MASKS = {
    "none": None,
    # padded behind, padded before, a hole, nothing masked, everything masked
    "mask": np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1], [1] * 6, [0] * 6], bool),
}


def made(kind: str, **options: Any) -> Any:
    """A layer with the same random weights as every other one."""
    layer = KINDS[kind](H, **options)
    if kind == "everystep":
        layer(X)
    else:
        layer.build(X.shape)
    rng = np.random.default_rng(11)
    layer.set_weights([rng.normal(0, 0.7, w.shape).astype(np.float32) for w in layer.get_weights()])
    return layer


def called(layer: Any, x: np.ndarray = X, **call: Any) -> list[np.ndarray]:
    call = {name: value for name, value in call.items() if value is not None}
    with jax.disable_jit():  # so that Keras's own loops are run and not compiled, which takes longer
        returned = layer(x, **call)
    return [np.asarray(array) for array in (returned if isinstance(returned, (tuple, list)) else [returned])]


@functools.cache
def computed(kind: str, mask: str, given: bool, **options: Any) -> tuple[Any, list[np.ndarray]]:
    """A layer and what it returns, with this mask, from zeros or from a given state."""
    layer = made(kind, **options)
    return layer, called(layer, initial_state=STATE if given else None, mask=MASKS[mask])


def assert_equal(a: np.ndarray, b: np.ndarray, ours: bool) -> None:
    """To the bit in our layers. XLA may compute one thing twice for stock Keras's, and round it differently."""
    np.testing.assert_allclose(a, b, rtol=0, atol=0 if ours else 1e-6)


def combinations() -> Any:
    """Every kind with every combination of what it can return and in what manner."""
    for kind in KINDS:
        additions = itertools.product((NO, YES), repeat=2) if kind in OURS else [(NO, NO)]
        for (cells, gates), *rest in itertools.product(additions, *[(NO, YES)] * 4):
            names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
            options = dict(zip(names, rest, strict=True))
            options |= {"return_cell_sequences": cells, "return_gates": gates} if kind in OURS else {}
            yield kind, options


ALL = list(combinations())


@pytest.mark.parametrize(("mask", "given"), [("none", NO), ("mask", NO), ("mask", YES)])
def test_every_row_is_of_the_tensor_that_the_layer_returns(mask: str, given: bool) -> None:
    for kind, options in ALL:
        layer, arrays = computed(kind, mask, given, **options)
        rows = explain(layer).rows
        assert [row.name for row in rows] == [f"{layer.name}: output {k}" for k in range(len(arrays))]
        for row, array in zip(rows, arrays, strict=True):
            sizes = {"rows": B, "steps": T, "gates": 4, "units": H}
            assert array.shape == tuple(sizes[word] for word in row.axes), (kind, options, row.name)
            assert all(size in (None, n) for size, n in zip(row.shape, array.shape, strict=True))


@pytest.mark.parametrize(("mask", "given"), [("none", NO), ("mask", NO), ("mask", YES)])
def test_claims_hold_and_fail_exactly_where_the_table_says(mask: str, given: bool) -> None:
    checked = 0
    for kind, options in ALL:
        layer, arrays = computed(kind, mask, given, **options)
        taken_last = 0 if options["go_backwards"] else -1
        seen = np.ones(B, bool) if MASKS[mask] is None else MASKS[mask][:, taken_last]
        for row in explain(layer).rows:
            for left, right in row.claims:
                a, b = left.of(arrays), right.of(arrays)
                holds = seen if row.unless else np.ones(B, bool)
                assert_equal(a[holds], b[holds], ours=kind in OURS)
                if not holds.all():
                    assert (a[~holds] != b[~holds]).any(axis=-1).sum() >= (2 if given else 1), "it did not fail"
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("mask", MASKS)
def test_with_and_without_return_sequences(mask: str) -> None:
    for kind, options in ALL:
        if options["return_sequences"]:
            (_, whole), (_, last) = (computed(kind, mask, NO, **{**options, "return_sequences": s}) for s in (YES, NO))
            assert_equal(whole[0][:, -1], last[0], ours=kind in OURS)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("mask", MASKS)
def test_the_last_step_of_c_is_the_last_c(kind: str, mask: str) -> None:
    for backwards, zeroed in itertools.product((NO, YES), repeat=2):
        options = dict(go_backwards=backwards, zero_output_for_mask=zeroed)
        alone = made(kind, return_cell_sequences=True, **options)
        row = explain(alone).rows[1]
        assert row.equals == "its last step is the c that return_state=True returns"
        assert not row.unless
        c = called(alone, mask=MASKS[mask])[1]
        last_c = called(made(kind, return_state=True, **options), mask=MASKS[mask])[2]
        np.testing.assert_array_equal(c[:, -1], last_c)


@pytest.mark.parametrize("kind", KINDS)
def test_without_c_at_every_step_no_output_equals_the_last_c(kind: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True)
    assert explain(layer).rows[2].equals == "no other output: h = o * tanh(c)"
    h, last_h, last_c = called(layer)
    assert (np.abs(last_c - last_h) > 1e-3).all()
    assert (np.abs(last_c[:, None] - h) > 1e-4).any(axis=(0, 2)).all()


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("backwards", [NO, YES])
def test_the_equation_of_the_gates(kind: str, backwards: bool) -> None:
    layer = made(kind, return_sequences=True, return_cell_sequences=True, return_gates=True, go_backwards=backwards)
    row = explain(layer).rows[2]
    assert row.equals == "up to rounding, c = f * c_before + i * g, and h = o * tanh(c)"
    assert row.unless == "at a masked step c and h are carried; at a reset c_before is the initial c"
    resets = np.zeros((B, T), bool)
    resets[3, 2] = True
    h, c, gates = called(layer, mask=MASKS["mask"], resets=resets, initial_state=STATE)
    seen, again = (flags[:, ::-1] if backwards else flags for flags in (MASKS["mask"], resets))
    i, f, g, o = np.moveaxis(gates, 2, 0)
    before = np.concatenate([STATE[1][:, None], c[:, :-1]], axis=1)
    off = np.maximum(np.abs(f * before + i * g - c), np.abs(o * np.tanh(c) - h))
    plain = seen & ~again
    assert off[plain].max() < 4 * np.finfo(np.float32).eps
    assert (off[~seen].max(axis=-1) > 1e-3).all(), "at masked steps the equation should fail"
    assert (off[again & seen].max(axis=-1) > 1e-3).all(), "at resets the equation should fail"
    renewed = np.where(again[..., None], STATE[1][:, None], before)
    assert np.abs(f * renewed + i * g - c)[seen].max() < 4 * np.finfo(np.float32).eps


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("zeroed", [NO, YES])
def test_going_on_from_any_step(kind: str, zeroed: bool) -> None:
    """h and c at step t, as initial_state, go on after t: said only where it is true."""
    layer = made(kind, return_sequences=True, return_cell_sequences=True, zero_output_for_mask=zeroed)
    use = explain(layer).rows[1].use
    assert ("initial_state to go on after t" in use) is not zeroed
    mask = MASKS["mask"]
    h, c = called(layer, mask=mask)
    wrong = []
    for t in range(T - 1):
        rest = called(layer, X[:, t + 1 :], mask=mask[:, t + 1 :], initial_state=[h[:, t].copy(), c[:, t].copy()])
        wrong.append(not np.array_equal(rest[0], h[:, t + 1 :]))
    assert any(wrong) is zeroed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zeroed", [NO, YES])
@pytest.mark.parametrize("backwards", [NO, YES])
def test_what_the_steps_column_says(kind: str, zeroed: bool, backwards: bool) -> None:
    more = dict(return_cell_sequences=True, return_gates=True) if kind in OURS else {}
    layer = made(kind, return_sequences=True, return_state=True, zero_output_for_mask=zeroed,
                 go_backwards=backwards, **more)  # fmt: skip
    rows = explain(layer).rows
    mask = MASKS["mask"]
    arrays = called(layer, mask=mask)
    order = "last to first in time (go_backwards)" if backwards else "first to last"
    assert all(order in row.steps for row in rows if "steps" in row.axes)
    flipped = made(kind, return_sequences=True, return_state=True, zero_output_for_mask=zeroed)
    in_order = called(flipped, np.ascontiguousarray(X[:, ::-1]), mask=np.ascontiguousarray(mask[:, ::-1]))
    if backwards:
        np.testing.assert_array_equal(arrays[0], in_order[0])
        assert rows[1].steps.startswith("the first step in time")
    seen = mask[:, ::-1] if backwards else mask
    assert ("0 at masked steps" in rows[0].steps) is zeroed
    if zeroed:
        assert not arrays[0][~seen].any()
        assert arrays[0][seen].all()
    for k in [*([] if zeroed else [0]), *([3] if kind in OURS else [])]:
        assert "a masked step repeats" in rows[k].steps
        before = np.concatenate([np.zeros((B, 1, H), np.float32), arrays[k][:, :-1]], axis=1)
        np.testing.assert_array_equal(arrays[k][~seen], before[~seen])
    if kind in OURS:
        assert rows[4].steps.endswith("; 0 at masked steps")
        assert not arrays[4][~seen].any()
        assert arrays[4][seen].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [NO, YES])
def test_masked_steps_are_passed_over(kind: str, backwards: bool) -> None:
    """The last states are those of the same rows without their masked steps."""
    layer = made(kind, return_state=True, go_backwards=backwards)
    assert all("masked steps are passed over" in row.steps for row in explain(layer).rows)
    whole = called(layer, mask=MASKS["mask"])
    for row, seen in enumerate(MASKS["mask"]):
        if seen.any():
            short = called(layer, np.ascontiguousarray(X[row : row + 1, seen]))
            for a, b in zip(short, whole, strict=True):
                np.testing.assert_allclose(a[0], b[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["GRU", "SimpleRNN"])
@pytest.mark.parametrize("zeroed", [NO, YES])
@pytest.mark.parametrize("sequences", [NO, YES])
def test_claims_about_keras_own_recurrent_layers(name: str, sequences: bool, zeroed: bool) -> None:
    layer = getattr(keras.layers, name)(H, return_sequences=sequences, return_state=True, zero_output_for_mask=zeroed)
    for mask in MASKS.values():
        arrays = called(layer, mask=mask)
        rows = explain(layer).rows
        assert len(rows) == len(arrays) == 2
        holds = np.ones(B, bool) if mask is None or not zeroed else mask[:, -1]
        for row in rows:
            for left, right in row.claims:
                assert_equal(left.of(arrays)[holds], right.of(arrays)[holds], ours=False)
                if not holds.all():
                    assert row.unless
                    assert (left.of(arrays)[~holds] != right.of(arrays)[~holds]).any()


@pytest.mark.parametrize(("name", "mode"), [("LSTM", "concat"), ("GRU", None)])
@pytest.mark.parametrize("sequences", [NO, YES])
@pytest.mark.parametrize("zeroed", [NO, YES])
@pytest.mark.parametrize("backwards", [NO, YES])
def test_claims_about_bidirectional(
    name: str, mode: str | None, sequences: bool, zeroed: bool, backwards: bool
) -> None:
    options = dict(return_sequences=sequences, return_state=True, zero_output_for_mask=zeroed)
    there, back = (getattr(keras.layers, name)(H, go_backwards=way, **options) for way in (backwards, not backwards))
    layer = keras.layers.Bidirectional(there, merge_mode=mode, backward_layer=back)
    arrays, masked = called(layer), called(layer, mask=MASKS["mask"])
    rows = explain(layer).rows
    assert len(rows) == len(arrays)
    assert sum(len(row.claims) for row in rows) == 2
    for row, array in zip(rows, arrays, strict=True):
        sizes = {"rows": B, "steps": T, "units": row.shape[-1]}
        assert array.shape == tuple(sizes[word] for word in row.axes)
        for left, right in row.claims:
            assert_equal(left.of(arrays), right.of(arrays), ours=False)
            assert np.allclose(left.of(masked), right.of(masked), rtol=0, atol=1e-6) is not bool(row.unless)
    if mode == "concat" and sequences:  # not at the last step, as one might think
        assert (np.abs(arrays[0][:, -1, H:] - rows[0].claims[1][1].of(arrays)) > 1e-3).any()
    # The first direction's last step is where its last state says, and so is the second's.
    steps = [row.steps for row in rows[-2 if name == "GRU" else -4 :]]
    assert [("the first step" in of) for of in (steps[0], steps[-1])] == [backwards, not backwards]
    changed = X.copy()
    changed[:, 0 if backwards else -1] += 1  # reaches all of the second direction, and the last step of the first
    if sequences:
        first_of_all = called(layer, changed)[0][..., :H]
        differs = (np.abs(first_of_all - arrays[0][..., :H]) > 1e-6).any(axis=(0, 2))
        assert differs.tolist() == [False] * (T - 1) + [True]


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_claims_about_bidirectional_merged_by_arithmetic(mode: str) -> None:
    layer = keras.layers.Bidirectional(keras.layers.LSTM(H, return_state=True), merge_mode=mode)
    assert (
        explain(layer).rows[0].equals
        == {"sum": "the sum of", "mul": "the product of", "ave": "the mean of"}[mode] + " outputs 1 and 3"
    )
    y, h, _, h_back, _ = called(layer)
    assert_equal(y, {"sum": h + h_back, "mul": h * h_back, "ave": (h + h_back) / 2}[mode], ours=False)


def test_claims_about_plain_layers() -> None:
    dropout, masking = keras.layers.Dropout(0.5), keras.layers.Masking(0.0)
    x = X.copy()
    x[:, 2] = 0
    assert explain(dropout).rows[0].equals == explain(masking).rows[0].equals == "its input"
    np.testing.assert_array_equal(called(dropout, x)[0], x)
    assert (np.asarray(dropout(x, training=True)) != x).any()
    masking = keras.layers.Masking(float(x[0, 0, 0]))
    x[0, 0] = x[0, 0, 0]
    assert explain(masking).rows[0].unless == "0 at masked steps"
    masked = called(masking, x)[0]
    assert not masked[0, 0].any()
    np.testing.assert_array_equal(masked[0, 1:], x[0, 1:])
