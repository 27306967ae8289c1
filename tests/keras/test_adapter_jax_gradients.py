"""The engine inside JAX computes the gradients that are asked for, with the bits of all of them, and no others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_calls import WRITTEN, Gradient, gradients_in
from test_adapter_jax import arrays, call_of, every_cell, shapes_of
from wide_floats import float64

from everystep.cells import CELLS
from everystep.keras.adapters.jax import run, run_together

Arrays = dict[str, Any]


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64():
        yield


def floats(a: Arrays) -> Arrays:
    return {name: v for name, v in a.items() if v.dtype != bool}


def outputs(cell: str, a: Arrays, **options: Any) -> Arrays:
    """By name."""
    found = run(**call_of(cell, a) | options)
    last = {f"last_{state}": v for state, v in zip(CELLS[cell].states, found.states, strict=True)}
    every = {"h": found.h, "c": found.cells, "gates": found.gates, **last}
    return {name: v for name, v in every.items() if v is not None}


def loss(cell: str, a: Arrays, of: tuple[str, ...] = (), **options: Any) -> Any:
    """A sum with weights of its own over all outputs, or some of them; the others do not enter."""
    rng = np.random.default_rng(5)
    terms = {name: (rng.normal(size=v.shape) * v).sum() for name, v in outputs(cell, a, **options).items()}
    return sum(terms[name] for name in of or terms)


def some(a: Arrays, names: Any) -> Arrays:
    return {name: a[name] for name in names}


def assert_same_bits(found: Arrays, wanted: Arrays) -> None:
    for name, v in found.items():
        np.testing.assert_array_equal(v, wanted[name], err_msg=name)


TRAINED = ("kernel", "recurrent_kernel", "bias")
ASKED = [*((name,) for name in WRITTEN), TRAINED, ("x", "recurrent_kernel"), ("x", "h0", "reset_h"), ("h0", *TRAINED)]


@pytest.mark.parametrize(
    ("cell", "asked"),
    [(cell, asked) for cell in CELLS for asked in ASKED if set(asked) <= set(shapes_of(cell))],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_only_those_asked_for_are_computed(cell: str, asked: tuple[str, ...]) -> None:
    a = arrays(cell, 31)
    gradient = jax.grad(lambda some: loss(cell, a | some))
    everything = gradient(floats(a))
    (all_of_them,) = gradients_in(gradient, floats(a))
    assert all_of_them.written == set(floats(a))

    (call,) = gradients_in(gradient, some(a, asked))
    assert call.written == set(asked)
    assert_same_bits(gradient(some(a, asked)), everything)
    assert_same_bits(jax.jit(gradient)(some(a, asked)), everything)


@pytest.mark.parametrize("dropped", [(), ("dropout",), ("recurrent_dropout",)], ids=["none", "x", "h"])
@pytest.mark.parametrize("masked", [False, True])
@every_cell
def test_with_and_without_dropout_and_masks(cell: str, masked: bool, dropped: tuple[str, ...]) -> None:
    """The engine's other ways: dx in one product, h as it is."""
    a = arrays(cell, 32)
    less = {"dropout": None, "recurrent_dropout": None, "resets": None, "reset_states": None}
    options = {n: v for n, v in less.items() if n not in dropped} | ({} if masked else {"mask": None})
    there = [name for name in floats(a) if not name.startswith("reset_") and ("dropout" not in name or name in dropped)]
    gradient = jax.grad(lambda some: loss(cell, a | some, **options))
    everything = gradient(some(a, there))
    assert all(float(jnp.abs(v).max()) > 0 for v in everything.values())
    for asked in [*((name,) for name in there), TRAINED, tuple(n for n in there if n != "x")]:
        (call,) = gradients_in(gradient, some(a, asked))
        assert call.written == set(asked)
        assert_same_bits(gradient(some(a, asked)), everything)


@pytest.mark.parametrize("sequences", [True, False])
@every_cell
def test_what_nobody_uses_is_not_given(cell: str, sequences: bool) -> None:
    """An output that does not enter the loss has no array of zeros made for it."""
    a = arrays(cell, 33)
    names = list(outputs(cell, a))

    def gradient(used: tuple[str, ...]) -> Callable[[Arrays], Arrays]:
        return jax.grad(lambda some: loss(cell, a | some, used, sequences=sequences))

    alone = {name: gradient((name,))(floats(a)) for name in names}
    for used in [*((name,) for name in names), *itertools.combinations(names, 2), tuple(names)]:
        (call,) = gradients_in(gradient(used), floats(a))
        # Without sequences, h is the last h.
        assert call.arriving == {name if sequences or name != "h" else "last_h" for name in used}
        for name, v in gradient(used)(floats(a)).items():  # of a sum
            wanted = sum(alone[each][name] for each in used)
            np.testing.assert_allclose(v, wanted, rtol=1e-11, atol=1e-13, err_msg=name)


def wrapped(kind: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function in one of JAX's own wrappings."""
    if kind == "jit":
        return lambda v: jax.jit(lambda v: jax.jit(function)(v))(v)
    if kind == "remat":
        return jax.checkpoint(function)
    if kind == "scan":
        return lambda v: jax.lax.scan(lambda carried, _: (carried + function(v), None), 0.0, None, length=1)[0]
    if kind == "cond":
        return lambda v: jax.lax.cond(True, function, lambda v: 0.0, v)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["jit", "remat", "scan", "cond"])
@every_cell
def test_inside_jaxs_wrappings(cell: str, kind: str) -> None:
    a = arrays(cell, 34)
    of = jax.grad(wrapped(kind, lambda some: loss(cell, a | some)))
    outside = jax.grad(lambda some: loss(cell, a | some))
    for asked in (TRAINED, ("x",), tuple(floats(a))):
        assert [call.written for call in gradients_in(of, some(a, asked))] == [set(asked)]
        assert_same_bits(of(some(a, asked)), outside(some(a, asked)))


@pytest.mark.parametrize("asked", [TRAINED, ("x",), ("x", "h0")], ids="+".join)
@every_cell
def test_under_vmap(cell: str, asked: tuple[str, ...]) -> None:
    """Of a gradient, and the gradient of one; the mapped axis is x's, with and without a gradient by x."""
    a = arrays(cell, 35, ("x",))
    a["x"] = jnp.asarray(a["x"])
    mapped = [{name: 0 if name == "x" else None for name in asked}, 0]

    def gradient(of: Arrays, x: Any) -> Arrays:
        return jax.grad(lambda of: loss(cell, a | {"x": x} | of))(of)

    def summed(of: Arrays) -> Any:
        return jax.vmap(lambda of, x: loss(cell, a | {"x": x} | of), mapped)(of, a["x"]).sum()

    by_row, of_all, given = jax.vmap(gradient, mapped), jax.grad(summed), some(a, asked)
    rows = [gradient(given | ({"x": x} if "x" in asked else {}), x) for x in a["x"]]
    for n, row in enumerate(rows):
        assert_same_bits({name: v[n] for name, v in by_row(given, a["x"]).items()}, row)
    for name, v in of_all(given).items():
        each = [row[name] for row in rows]
        np.testing.assert_allclose(v, np.stack(each) if name == "x" else sum(each), rtol=1e-12, atol=1e-13)
    for call in (*gradients_in(by_row, given, a["x"]), *gradients_in(of_all, given)):
        assert call.written == set(asked)


def test_runs_together_each_with_its_own() -> None:
    calls = [call_of(cell, arrays(cell, 40 + k)) for k, cell in enumerate(CELLS)]
    by_each = [("kernel",), ("x", "bias"), (), ("recurrent_kernel",)]
    given = [some(call, names) for call, names in zip(calls, by_each, strict=True)]

    def of(given: Any) -> Any:
        found = run_together([call | arrays for call, arrays in zip(calls, given, strict=True)])
        return sum((v.h * v.h).sum() for v in found)

    assert [call.written for call in gradients_in(jax.grad(of), given)] == [set(names) for names in by_each]
    assert all(call.arriving == {"h"} for call in gradients_in(jax.grad(of), given))
    for k, d in enumerate(jax.grad(of)(given)):
        alone = jax.grad(lambda own, k=k: (run(**calls[k] | own).h ** 2).sum())(given[k]) if given[k] else {}
        assert_same_bits(d, alone)


def test_the_reader_of_calls_sees_all_of_a_call() -> None:
    a = arrays("lstm", 50)
    every = frozenset(outputs("lstm", a))
    assert gradients_in(jax.grad(lambda some: loss("lstm", a | some)), floats(a)) == [
        Gradient(every, frozenset(WRITTEN))
    ]
    assert gradients_in(lambda some: loss("lstm", a | some), floats(a)) == []
