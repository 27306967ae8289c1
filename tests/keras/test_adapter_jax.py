"""The engine inside JAX: jit, vmap, gradients of both, abstract evaluation, and the same bits as from NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keras_twins import B, H, I, T
from tolerances import assert_close64
from wide_floats import float64

from everystep import engine
from everystep.errors import DifferentiationError, DtypeError, ShapeError
from everystep.keras.adapters.jax import run

N = 3  # the mapped axis
SHAPES = dict(
    x=(B, T, I),
    h0=(B, H),
    c0=(B, H),
    kernel=(I, 4 * H),
    recurrent_kernel=(H, 4 * H),
    bias=(4 * H,),
    mask=(B, T),
    resets=(B, T),
    reset_h=(B, H),
    reset_c=(B, H),
    dropout=(4, B, I),
    recurrent_dropout=(4, B, H),
)
ALL = dict(cells=True, gates=True, backwards=True, activation="softsign", recurrent_activation="silu")


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64():
        yield


def arrays(seed: int, mapped: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every input of a run, those of `mapped` with a leading axis of N."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in SHAPES.items():
        shape = (N, *shape) if name in mapped else shape
        found[name] = rng.random(shape) < 0.6 if name in ("mask", "resets") else rng.normal(0, 0.6, shape)
    return found


def outputs(a: dict[str, Any], **options: Any) -> list[Any]:
    found = run(
        "lstm",
        a["x"],
        (a["h0"], a["c0"]),
        a["kernel"],
        a["recurrent_kernel"],
        a["bias"],
        mask=a["mask"],
        resets=a["resets"],
        reset_states=(a["reset_h"], a["reset_c"]),
        dropout=a["dropout"],
        recurrent_dropout=a["recurrent_dropout"],
        **(ALL | options),
    )
    return jax.tree.leaves(found)


def loss(a: dict[str, Any]) -> Any:
    """A sum of every output with weights of its own."""
    rng = np.random.default_rng(5)
    return sum((rng.normal(size=v.shape) * v).sum() for v in outputs(a))


def gradient(function: Any, a: dict[str, Any]) -> dict[str, Any]:
    floats = {name: v for name, v in a.items() if v.dtype != bool}
    return jax.grad(lambda floats: function(a | floats))(floats)


MAPPED = [("x",), ("x", "h0", "c0"), ("mask",), ("resets", "dropout"), tuple(SHAPES), ("bias",), ("kernel", "x")]


@pytest.mark.parametrize("mapped", MAPPED, ids="+".join)
def test_vmap_is_a_loop(mapped: tuple[str, ...]) -> None:
    a = arrays(1, mapped)
    axes = ({name: 0 if name in mapped else None for name in a},)
    rows = [{name: v[n] if name in mapped else v for name, v in a.items()} for n in range(N)]

    found = jax.jit(jax.vmap(outputs, axes))(a)
    for n, row in enumerate(rows):
        for v, wanted in zip(found, outputs(row), strict=True):
            np.testing.assert_array_equal(v[n], wanted)  # the bits, however many rows are in a call

    by_row = jax.vmap(lambda a: gradient(loss, a), axes)(a)
    for n, row in enumerate(rows):
        wanted = gradient(loss, row)
        assert_close64([np.asarray(v[n]) for v in by_row.values()], [np.asarray(v) for v in wanted.values()])

    summed = gradient(lambda a: jax.vmap(loss, axes)(a).sum(), a)
    for name, v in summed.items():
        wanted = by_row[name] if name in mapped else by_row[name].sum(axis=0)
        assert_close64([np.asarray(v)], [np.asarray(wanted)])


def test_vmap_of_vmap_and_of_no_rows() -> None:
    a = arrays(2)
    x = np.random.default_rng(3).normal(size=(2, N, B, T, I))
    found = jax.vmap(jax.vmap(lambda x: outputs(a | {"x": x})))(x)
    for k in range(2):
        for n in range(N):
            for v, wanted in zip(found, outputs(a | {"x": x[k, n]}), strict=True):
                np.testing.assert_array_equal(v[k, n], wanted)
    none = {
        name: v[:, :0] if "dropout" in name else v if "kernel" in name or name == "bias" else v[:0]
        for name, v in a.items()
    }
    found = jax.vmap(lambda x: outputs(none | {"x": x}))(x[0, :, :0])
    assert [v.shape[:2] for v in found] == [(N, 0)] * len(found)
    found = jax.vmap(lambda x: outputs(a | {"x": x}))(x[0, :0])
    assert [v.shape[:2] for v in found] == [(0, B)] * len(found)


def test_gradients_match_finite_differences() -> None:
    """Central differences with step e are off by O(e^2) + O(eps / e): 1e-9 at e = 1e-5, in float64."""
    a = arrays(4)
    a |= dict(mask=np.arange(B * T).reshape(B, T) % 3 > 0)
    rng = np.random.default_rng(6)
    for name, g in gradient(loss, a).items():
        direction = rng.normal(size=g.shape)
        step = 1e-5 * direction
        slope = (loss(a | {name: a[name] + step}) - loss(a | {name: a[name] - step})) / 2e-5
        np.testing.assert_allclose((g * direction).sum(), slope, rtol=1e-6, atol=1e-7, err_msg=name)
        assert float(jnp.abs(g).max()) > 0, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-30], ids=["ordinary", "subnormal"])
def test_the_bits_are_numpys(dtype: Any, scale: float) -> None:
    tiny = float(np.finfo(dtype).tiny)
    a = {n: v if v.dtype == bool else v.astype(dtype) for n, v in arrays(7).items()}
    if scale < 1:  # states and inputs around the smallest normal number: half of them, and their products, below it
        for name in ("x", "h0", "c0", "reset_h", "reset_c"):
            a[name] = (a[name].astype(np.float64) * 2 * tiny).astype(dtype)
        a["bias"] = np.zeros_like(a["bias"])
        assert (np.abs(a["x"])[a["x"] != 0] < tiny).any()
    packed = engine.pack("lstm", a["kernel"], a["recurrent_kernel"], a["bias"])
    options = dict(
        mask=a["mask"],
        resets=a["resets"],
        reset_states=(a["reset_h"], a["reset_c"]),
        dropout=a["dropout"],
        recurrent_dropout=a["recurrent_dropout"],
    )
    usual = dict(activation="tanh", recurrent_activation="sigmoid")
    wanted = engine.run(packed, a["x"], (a["h0"], a["c0"]), record=True, **options, **(ALL | usual))
    for function in (outputs, jax.jit(outputs, static_argnames=list(usual))):
        found = function(a, **usual)
        for v, w in zip(found, [wanted.h, *wanted.states, wanted.cells, wanted.gates], strict=True):
            np.testing.assert_array_equal(np.asarray(v).view(f"u{w.itemsize}"), w.view(f"u{w.itemsize}"))

    d_h = np.random.default_rng(8).normal(size=wanted.h.shape).astype(dtype)
    assert wanted.record is not None
    of_numpy = engine.run_backward(wanted.record, a["kernel"], a["recurrent_kernel"], a["bias"], d_h=d_h)
    of_jax = jax.jit(jax.grad(lambda x: (d_h * outputs(a | {"x": x}, **usual)[0]).sum()))(a["x"])
    np.testing.assert_array_equal(np.asarray(of_jax), of_numpy.x)


def test_shapes_without_running() -> None:
    a = arrays(9)
    shapes = [v.shape for v in jax.eval_shape(outputs, a)]
    assert shapes == [(B, T, H), (B, H), (B, H), (B, T, H), (B, T, 4, H)]
    assert [v.shape for v in jax.eval_shape(lambda a: outputs(a, sequences=False, cells=False, gates=False), a)] == [
        (B, H)
    ] * 3


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_array_is_checked_when_a_call_is_traced(name: str) -> None:
    """The foreign call reads what it is told to: an array that is too small would be read beyond its end."""
    a = arrays(12)
    short = a | {name: a[name][..., :-1]}
    with pytest.raises(ShapeError, match=r"must be of shape .*; got \("):
        jax.jit(outputs)(short)
    other = a | {name: a[name].astype(np.float32)}
    with pytest.raises(DtypeError, match=r"must be (bool|float64|float32), .*; got float"):
        jax.eval_shape(outputs, other)


def test_a_second_derivative_says_what_to_do() -> None:
    a = arrays(10)
    with pytest.raises(DifferentiationError, match=r"first derivatives .*everystep\.keras\.without_engine"):
        jax.hessian(lambda h0: loss(a | {"h0": h0}))(a["h0"])
    with pytest.raises(DifferentiationError, match="without_engine"):
        jax.grad(lambda x: jax.grad(lambda x: loss(a | {"x": x}))(x).sum())(a["x"])


def test_only_what_is_asked_for_is_computed() -> None:
    """Without a gradient the foreign call writes no tape, and no c or gates that nobody asked for."""
    a = arrays(11)

    def plain(a: dict[str, Any]) -> Any:
        return outputs(a, cells=False, gates=False)[0].sum()

    tape = f"f64[{B},{T},4,{H}]"
    assert tape not in str(jax.make_jaxpr(plain)(a))
    assert tape in str(jax.make_jaxpr(lambda a: gradient(plain, a))(a))
