"""The engine inside JAX, every cell: jit, vmap, gradients, abstract evaluation, and the same bits as from NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keras_twins import B, H, I, T
from tolerances import assert_close64
from wide_floats import float64

from everystep import engine
from everystep.cells import CELLS
from everystep.errors import DifferentiationError, DtypeError, OptionError, ShapeError
from everystep.keras.adapters.jax import run, run_together

N = 3  # the mapped axis
ALL = dict(gates=True, backwards=True, activation="softsign", recurrent_activation="silu")

every_cell = pytest.mark.parametrize("cell", list(CELLS))


def shapes_of(cell: str) -> dict[str, tuple[int, ...]]:
    """Of every input of a run of this cell."""
    G, states = len(CELLS[cell].gates), CELLS[cell].states
    return dict(
        x=(B, T, I),
        **{f"{state}0": (B, H) for state in states},
        **CELLS[cell].weight_shapes(I, H),
        mask=(B, T),
        resets=(B, T),
        **{f"reset_{state}": (B, H) for state in states},
        dropout=(G, B, I),
        recurrent_dropout=(G, B, H),
    )


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64():
        yield


def arrays(cell: str, seed: int, mapped: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every input of a run, those of `mapped` with a leading axis of N."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes_of(cell).items():
        shape = (N, *shape) if name in mapped else shape
        found[name] = rng.random(shape) < 0.6 if name in ("mask", "resets") else rng.normal(0, 0.6, shape)
    return found


def call_of(cell: str, a: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The arguments of `run`."""
    states = CELLS[cell].states
    names = ("x", "kernel", "recurrent_kernel", "bias", "mask", "resets", "dropout", "recurrent_dropout")
    return dict(
        cell=cell,
        states=tuple(a[f"{state}0"] for state in states),
        reset_states=tuple(a[f"reset_{state}"] for state in states),
        **{name: a[name] for name in names},
        **({"cells": len(states) > 1} | ALL | options),
    )


def outputs(cell: str, a: dict[str, Any], **options: Any) -> list[Any]:
    return jax.tree.leaves(run(**call_of(cell, a, **options)))


def loss(cell: str, a: dict[str, Any]) -> Any:
    """A sum of every output with weights of its own."""
    rng = np.random.default_rng(5)
    return sum((rng.normal(size=v.shape) * v).sum() for v in outputs(cell, a))


def gradient(function: Any, a: dict[str, Any]) -> dict[str, Any]:
    floats = {name: v for name, v in a.items() if v.dtype != bool}
    return jax.grad(lambda floats: function(a | floats))(floats)


MAPPED = [("x",), ("x", "h0", "c0"), ("mask",), ("resets", "dropout"), tuple(shapes_of("lstm")), ("bias",)]
MAPPED += [("kernel", "x")]


@pytest.mark.parametrize("mapped", MAPPED, ids="+".join)
@every_cell
def test_vmap_is_a_loop(cell: str, mapped: tuple[str, ...]) -> None:
    a = arrays(cell, 1, mapped)
    axes = ({name: 0 if name in mapped else None for name in a},)
    rows = [{name: v[n] if name in mapped else v for name, v in a.items()} for n in range(N)]
    of_cell, loss_of_cell = partial(outputs, cell), partial(loss, cell)

    found = jax.jit(jax.vmap(of_cell, axes))(a)
    for n, row in enumerate(rows):
        for v, wanted in zip(found, of_cell(row), strict=True):
            np.testing.assert_array_equal(v[n], wanted)  # the bits, however many rows are in a call

    by_row = jax.vmap(lambda a: gradient(loss_of_cell, a), axes)(a)
    for n, row in enumerate(rows):
        wanted = gradient(loss_of_cell, row)
        assert_close64([np.asarray(v[n]) for v in by_row.values()], [np.asarray(v) for v in wanted.values()])

    summed = gradient(lambda a: jax.vmap(loss_of_cell, axes)(a).sum(), a)
    for name, v in summed.items():
        wanted = by_row[name] if name in mapped else by_row[name].sum(axis=0)
        assert_close64([np.asarray(v)], [np.asarray(wanted)])


@every_cell
def test_vmap_of_vmap_and_of_no_rows(cell: str) -> None:
    a = arrays(cell, 2)
    x = np.random.default_rng(3).normal(size=(2, N, B, T, I))
    found = jax.vmap(jax.vmap(lambda x: outputs(cell, a | {"x": x})))(x)
    for k in range(2):
        for n in range(N):
            for v, wanted in zip(found, outputs(cell, a | {"x": x[k, n]}), strict=True):
                np.testing.assert_array_equal(v[k, n], wanted)
    none = {
        name: v[:, :0] if "dropout" in name else v if "kernel" in name or name == "bias" else v[:0]
        for name, v in a.items()
    }
    found = jax.vmap(lambda x: outputs(cell, none | {"x": x}))(x[0, :, :0])
    assert [v.shape[:2] for v in found] == [(N, 0)] * len(found)
    found = jax.vmap(lambda x: outputs(cell, a | {"x": x}))(x[0, :0])
    assert [v.shape[:2] for v in found] == [(0, B)] * len(found)


@every_cell
def test_gradients_match_finite_differences(cell: str) -> None:
    """Central differences with step e are off by O(e^2) + O(eps / e): 1e-9 at e = 1e-5, in float64."""
    a = arrays(cell, 4)
    a |= dict(mask=np.arange(B * T).reshape(B, T) % 3 > 0)
    rng = np.random.default_rng(6)
    for name, g in gradient(partial(loss, cell), a).items():
        direction = rng.normal(size=g.shape)
        step = 1e-5 * direction
        slope = (loss(cell, a | {name: a[name] + step}) - loss(cell, a | {name: a[name] - step})) / 2e-5
        np.testing.assert_allclose((g * direction).sum(), slope, rtol=1e-6, atol=1e-7, err_msg=name)
        assert float(jnp.abs(g).max()) > 0, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-30], ids=["ordinary", "subnormal"])
@every_cell
def test_the_bits_are_numpys(cell: str, dtype: Any, scale: float) -> None:
    tiny = float(np.finfo(dtype).tiny)
    a = {n: v if v.dtype == bool else v.astype(dtype) for n, v in arrays(cell, 7).items()}
    if scale < 1:  # states and inputs around the smallest normal number: half of them, and their products, below it
        for name in a.keys() & {"x", "h0", "c0", "reset_h", "reset_c"}:
            a[name] = (a[name].astype(np.float64) * 2 * tiny).astype(dtype)
        a["bias"] = np.zeros_like(a["bias"])
        assert (np.abs(a["x"])[a["x"] != 0] < tiny).any()
    usual = dict(activation="tanh", recurrent_activation="sigmoid")
    weights = {name: a[name] for name in ("kernel", "recurrent_kernel", "bias")}
    call = {name: v for name, v in call_of(cell, a, **usual).items() if name not in weights and name != "cell"}
    wanted = engine.run(engine.pack(cell, **weights), record=True, **call)
    for function in (outputs, jax.jit(outputs, static_argnames=["cell", *usual])):
        found = function(cell, a, **usual)
        for v, w in zip(found, jax.tree.leaves(wanted[:4]), strict=True):
            np.testing.assert_array_equal(np.asarray(v).view(f"u{w.itemsize}"), w.view(f"u{w.itemsize}"))

    d_h = np.random.default_rng(8).normal(size=wanted.h.shape).astype(dtype)
    assert wanted.record is not None
    of_numpy = engine.run_backward(wanted.record, **weights, d_h=d_h)
    of_jax = jax.jit(jax.grad(lambda x: (d_h * outputs(cell, a | {"x": x}, **usual)[0]).sum()))(a["x"])
    np.testing.assert_array_equal(np.asarray(of_jax), of_numpy.x)


@every_cell
def test_shapes_without_running(cell: str) -> None:
    a, states, G = arrays(cell, 9), CELLS[cell].states, len(CELLS[cell].gates)
    shapes = [v.shape for v in jax.eval_shape(partial(outputs, cell), a)]
    assert shapes == [(B, T, H), *[(B, H)] * len(states), *[(B, T, H)] * (len(states) - 1), (B, T, G, H)]
    plain = dict(sequences=False, cells=False, gates=False)
    shapes = [v.shape for v in jax.eval_shape(lambda a: outputs(cell, a, **plain), a)]
    assert shapes == [(B, H)] * (1 + len(states))


@pytest.mark.parametrize(("cell", "name"), [(cell, name) for cell in CELLS for name in shapes_of(cell)])
def test_every_array_is_checked_when_a_call_is_traced(cell: str, name: str) -> None:
    """The foreign call reads what it is told to: an array that is too small would be read beyond its end."""
    a = arrays(cell, 12)
    short = a | {name: a[name][..., :-1]}
    with pytest.raises(ShapeError, match=r"must be of shape .*; got \("):
        jax.jit(partial(outputs, cell))(short)
    other = a | {name: a[name].astype(np.float32)}
    with pytest.raises(DtypeError, match=r"must be (bool|float64|float32), .*; got float"):
        jax.eval_shape(partial(outputs, cell), other)


def test_states_that_a_cell_does_not_have_are_refused() -> None:
    call = call_of("gru", arrays("gru", 13))
    two = (call["states"][0],) * 2
    for name in ("states", "reset_states"):
        with pytest.raises(ShapeError, match=rf"^{name} must be 1 arrays \(h\); got 2"):
            run(**call | {name: two})
    with pytest.raises(OptionError, match="a gru has no cell state"):
        run(**call | {"cells": True})


def test_runs_together_are_the_runs() -> None:
    """Values to the bit, and the gradient of each by its own inputs."""
    calls = [call_of(cell, arrays(cell, 20 + k), backwards=k % 2 == 0) for k, cell in enumerate(CELLS)]
    together = jax.jit(lambda states: run_together([c | {"states": s} for c, s in zip(calls, states, strict=True)]))
    states = [call["states"] for call in calls]
    for found, call in zip(together(states), calls, strict=True):
        for v, w in zip(jax.tree.leaves(found), jax.tree.leaves(run(**call)), strict=True):
            np.testing.assert_array_equal(v, w)

    def of_one(k: int, states: Any) -> Any:
        return sum((v * v).sum() for v in jax.tree.leaves(run(**calls[k] | {"states": states})))

    found = jax.grad(lambda states: sum((v * v).sum() for v in jax.tree.leaves(together(states))))(states)
    for k, d in enumerate(found):
        for v, w in zip(d, jax.grad(partial(of_one, k))(states[k]), strict=True):
            np.testing.assert_array_equal(v, w)


@every_cell
def test_a_second_derivative_says_what_to_do(cell: str) -> None:
    a = arrays(cell, 10)
    with pytest.raises(DifferentiationError, match=r"first derivatives .*everystep\.keras\.without_engine"):
        jax.hessian(lambda h0: loss(cell, a | {"h0": h0}))(a["h0"])
    with pytest.raises(DifferentiationError, match="without_engine"):
        jax.grad(lambda x: jax.grad(lambda x: loss(cell, a | {"x": x}))(x).sum())(a["x"])


@every_cell
def test_only_what_is_asked_for_is_computed(cell: str) -> None:
    """Without a gradient the foreign call writes no tape, and no c or gates that nobody asked for."""
    a = arrays(cell, 11)

    def plain(a: dict[str, Any]) -> Any:
        return outputs(cell, a, cells=False, gates=False)[0].sum()

    tape = f"f64[{B},{T},{CELLS[cell].taped},{H}]"
    assert tape not in str(jax.make_jaxpr(plain)(a))
    assert tape in str(jax.make_jaxpr(lambda a: gradient(plain, a))(a))
