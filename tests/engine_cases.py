"""Random calls of the engine, and the same calls of the oracle."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
from hypothesis import strategies as st

from everystep import engine
from everystep.cells import ACTIVATIONS, CELLS

Array = np.ndarray[Any, np.dtype[Any]]
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
# How thoroughly hypothesis looks: a share of each test's examples, for runs under other instruction sets.
SHARE = float(os.environ.get("EVERYSTEP_TEST_SHARE", "1"))


def examples(n: int) -> int:
    return max(1, round(n * SHARE))


@dataclasses.dataclass
class Case:
    """One call: arrays by the names of their gradients, and what else `run` takes.

    `arrays` has x (B,T,I), for each state a start (B,H), h0 and c0, kernel, recurrent_kernel, and perhaps bias, reset
    states reset_h and reset_c, dropout and recurrent_dropout; `options` has mask, resets (B,T) or None, backwards,
    activation, recurrent_activation.
    """

    arrays: dict[str, Array]
    options: dict[str, Any]
    cell: str = "lstm"

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays["x"].dtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """B, T, I, H."""
        return (*self.arrays["x"].shape, self.arrays["h0"].shape[1])

    @property
    def letters(self) -> tuple[str, ...]:
        """Of the states."""
        return CELLS[self.cell].states

    @property
    def starts(self) -> tuple[str, ...]:
        """The names of the states before the first step: h0, c0."""
        return tuple(f"{letter}0" for letter in self.letters)

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of the gradients that are sums over the batch: those of the weights."""
        return tuple(self.weights())

    def weights(self) -> dict[str, Array]:
        return {name: self.arrays[name] for name in ("kernel", "recurrent_kernel", "bias") if name in self.arrays}

    def packed(self) -> engine.Packed:
        return engine.pack(self.cell, **self.weights())

    def call(self) -> dict[str, Any]:
        """What `run` takes after x and the states, but for what to return."""
        v = self.arrays
        reset_states = tuple(v[f"reset_{s}"] for s in self.letters) if "reset_h" in v else None
        factors = {name: v.get(name) for name in ("dropout", "recurrent_dropout")}
        return dict(self.options, reset_states=reset_states, **factors)

    def states(self) -> tuple[Array, ...]:
        return tuple(self.arrays[name] for name in self.starts)

    def run(self, packed: engine.Packed | None = None, **asked: Any) -> engine.Outputs:
        packed = self.packed() if packed is None else packed
        return engine.run(packed, self.arrays["x"], self.states(), **self.call(), **asked)

    def run_all(self, packed: engine.Packed | None = None) -> engine.Outputs:
        """Everything that a run of this cell returns."""
        return self.run(packed, cells="c" in self.letters, gates=True, record=True)

    def gradients(self, arriving: dict[str, Any], record: engine.Record | None = None) -> dict[str, Array]:
        """By the names of `arrays`; those of the reset states too where there are resets."""
        record = self.run_all().record if record is None else record
        assert record is not None
        found = engine.run_backward(record, **self.weights(), **arriving)
        named = found._asdict() | dict(zip(self.starts, found.states, strict=True))
        del named["states"], named["reset_states"]
        if found.reset_states is not None:
            named |= {f"reset_{s}": d for s, d in zip(self.letters, found.reset_states, strict=True)}
        return {name: value for name, value in named.items() if value is not None}

    def rows(self, which: Any) -> Case:
        """The same call for some rows of the batch."""
        arrays = {name: v if name in self.sums else rows_of(name, v, which) for name, v in self.arrays.items()}
        flags = {name: _take(self.options.get(name), which) for name in ("mask", "resets")}
        return Case(arrays, dict(self.options, **flags), self.cell)

    def steps(self, which: slice) -> Case:
        """The same call for some steps of x."""
        at = (slice(None), which)
        flags = {name: _take(self.options.get(name), at) for name in ("mask", "resets")}
        return self.with_(flags, x=np.ascontiguousarray(self.arrays["x"][at]))

    def with_(self, options: dict[str, Any] | None = None, **arrays: Array) -> Case:
        return Case(self.arrays | arrays, self.options | (options or {}), self.cell)

    def doubled(self) -> Case:
        """The same numbers in float64."""
        return Case({name: v.astype(np.float64) for name, v in self.arrays.items()}, self.options, self.cell)

    def oracle(self, **more: Any) -> equations.Run:
        return equations.run(self.cell, self.arrays["x"], self.states(), self.weights(), **self.call(), **more)

    def oracle_gradients(self, found: equations.Run, arriving: dict[str, Any]) -> dict[str, Array]:
        """Those that the engine returns."""
        d = {"d_c" if name == "d_cells" else name: value for name, value in arriving.items()}
        resets = self.options.get("resets") is not None
        wanted = equations.gradient(found, **d)
        return {name: v for name, v in wanted.items() if resets or not name.startswith("reset_")}

    def arriving(self, rng: np.random.Generator, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Random gradients of everything that `run` returns, but for `without`, where None arrives."""
        B, T, _, H = self.shape
        shapes: dict[str, tuple[int, ...]] = dict(d_h=(B, T, H), d_gates=(B, T, len(CELLS[self.cell].gates), H))
        shapes |= dict(d_cells=(B, T, H)) if "c" in self.letters else {}
        shapes |= {f"last_{s}": (B, H) for s in self.letters}
        d = {name: None if name in without else rng.normal(size=s).astype(self.dtype) for name, s in shapes.items()}
        return {"d_states": tuple(d.pop(f"last_{s}") for s in self.letters), **d}


def numbers(found: engine.Outputs) -> dict[str, Any]:
    """What a run returned, by name: h, c, gates, last_h, last_c."""
    named = dict(h=found.h, gates=found.gates) | {f"last_{s}": v for s, v in zip("hc", found.states, strict=False)}
    return named if found.cells is None else dict(named, c=found.cells)


def oracle_numbers(found: equations.Run) -> dict[str, Any]:
    """The same of the oracle."""
    return numbers(engine.Outputs(found.h, found.states, found.c, found.gates))


def rows_of(name: str, v: Array, which: Any) -> Array:
    """Some rows of an array; the dropouts', (G,B,...), are their second axis."""
    return np.ascontiguousarray(v[:, which] if "dropout" in name else v[which])


def _take(flags: Array | None, which: Any) -> Array | None:
    return None if flags is None else np.ascontiguousarray(flags[which])


def case(
    rng: np.random.Generator,
    B: int,
    T: int,
    I: int,
    H: int,
    dtype: Any = np.float64,
    *,
    cell: str = "lstm",
    has: tuple[str, ...] = (),
    scale: float = 0.5,
    recurrent_scale: float | None = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Case:
    """Random asymmetric numbers. `has`: any of FEATURES."""
    G, letters = len(CELLS[cell].gates), CELLS[cell].states
    shapes = CELLS[cell].weight_shapes(I, H)
    bias = shapes.pop("bias")
    shapes |= dict(x=(B, T, I)) | {f"{s}0": (B, H) for s in letters}
    optional = dict(
        bias=dict(bias=bias),
        reset_states={f"reset_{s}": (B, H) for s in letters},
        dropout=dict(dropout=(G, B, I)),
        recurrent_dropout=dict(recurrent_dropout=(G, B, H)),
    )
    for name in has:
        shapes |= optional.get(name, {})
    arrays = {name: rng.normal(0, scale, shape) for name, shape in shapes.items()}
    recurrent_scale = scale / max(1, H) ** 0.5 if recurrent_scale is None else recurrent_scale
    arrays["recurrent_kernel"] = rng.normal(0, recurrent_scale, shapes["recurrent_kernel"])
    for name in ("dropout", "recurrent_dropout"):
        if name in arrays:  # as dropout's, but with factors of every size
            arrays[name] = np.where(rng.random(arrays[name].shape) < 0.4, 0, 1 + arrays[name])
    options = dict(
        mask=rng.random((B, T)) < 0.6 if "mask" in has else None,
        resets=rng.random((B, T)) < 0.3 if "resets" in has else None,
        backwards=backwards,
        activation=activation,
        recurrent_activation=recurrent_activation,
    )
    return Case({name: v.astype(dtype) for name, v in arrays.items()}, options, cell)


Calls = Callable[[str], Case]  # the same options and sizes, of the cell named
FEATURES = ("bias", "mask", "resets", "reset_states", "dropout", "recurrent_dropout")


# H has multiples of every instruction set's lanes, and their neighbours.
SIZES = dict(B=st.integers(0, 9), T=st.integers(0, 7), I=st.integers(0, 9))
SIZES |= dict(H=st.sampled_from([1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 70]))
usual_activations = st.just(("tanh", "sigmoid"))


@st.composite
def cases(draw: Any, dtype: Any, *, activations: Any = usual_activations, scale: float = 0.5, **sizes: Any) -> Calls:
    """Calls with every option, each of any cell, by the cell's name; `sizes`: strategies for B, T, I and H in the
    place of those in SIZES."""
    seed = draw(st.integers(0, 2**32 - 1))
    has = tuple(name for name in FEATURES if draw(st.booleans()))
    activation, recurrent_activation = draw(activations)
    drawn = {name: draw(strategy) for name, strategy in (SIZES | sizes).items()}
    options = dict(backwards=draw(st.booleans()), activation=activation, recurrent_activation=recurrent_activation)
    return lambda cell: case(
        np.random.default_rng(seed), **drawn, dtype=dtype, cell=cell, has=has, scale=scale, **options
    )


any_activations = st.tuples(st.sampled_from(ACTIVATIONS), st.sampled_from(ACTIVATIONS))


def is_tame(call: Case) -> bool:
    """Whether no number explodes, as an exponential of an exponential does: then one rounding may be worth anything."""
    met: list[Any] = []

    def watched(f: equations.Activation) -> equations.Activation:
        def value(z: Array) -> Array:
            met.extend([z, y := f(z)])
            return y

        return f._replace(value=value)

    found = call.doubled().oracle(activations={name: watched(f) for name, f in equations.ACTIVATIONS.items()})
    return all((np.abs(v) < 100).all() for v in (*met, found.h))


def instruction_sets() -> tuple[str, ...]:
    """Those that this machine's CPU says it has, best first: asked of Linux, not of the engine."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("baseline",)
    flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    needs = {"avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}, "avx2": {"avx2", "fma"}, "baseline": set()}
    return tuple(name for name, wanted in needs.items() if wanted <= flags)


def assert_same_bits(a: Any, b: Any, name: str = "") -> None:
    """The same shape, dtype and bits: -0 is not 0, and one NaN is another only if its bits are."""
    assert (a is None) == (b is None), name
    if a is None:
        return
    assert a.shape == b.shape, name
    assert a.dtype == b.dtype, name
    if a.tobytes() != b.tobytes():
        integers = f"u{a.dtype.itemsize}"
        differ = np.ascontiguousarray(a).view(integers) != np.ascontiguousarray(b).view(integers)
        raise AssertionError(f"{name}: {differ.sum()} of {a.size} differ; first {a[differ][:3]} and {b[differ][:3]}")


def assert_close64(ours: Array, oracle: Array, name: str) -> None:
    """To 1e-10 of the largest entry, or of 1."""
    assert ours.shape == oracle.shape, name
    assert ours.dtype == np.float64, name
    largest = max(1.0, float(np.abs(oracle).max(initial=0)))
    np.testing.assert_allclose(ours, oracle, rtol=0, atol=1e-10 * largest, err_msg=name)
