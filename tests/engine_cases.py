"""Random calls of the engine, and the same calls of the oracle."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import equations
import numpy as np
from hypothesis import strategies as st

from everystep import engine
from everystep.cells import ACTIVATIONS

Array = np.ndarray[Any, np.dtype[Any]]
ALL = dict(sequences=True, cells=True, gates=True, record=True)
# How thoroughly hypothesis looks: a share of each test's examples, for runs under other instruction sets.
SHARE = float(os.environ.get("EVERYSTEP_TEST_SHARE", "1"))


def examples(n: int) -> int:
    return max(1, round(n * SHARE))


@dataclasses.dataclass
class Case:
    """One call: arrays by the names of their gradients, and what else `run` takes.

    `arrays` has x (B,T,I), h0, c0 (B,H), kernel, recurrent_kernel, and perhaps bias, reset_h, reset_c, dropout and
    recurrent_dropout; `options` has mask, resets (B,T) or None, backwards, activation, recurrent_activation.
    """

    arrays: dict[str, Array]
    options: dict[str, Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays["x"].dtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """B, T, I, H."""
        return (*self.arrays["x"].shape, self.arrays["h0"].shape[1])

    def weights(self) -> dict[str, Array]:
        return {name: self.arrays[name] for name in ("kernel", "recurrent_kernel", "bias") if name in self.arrays}

    def packed(self) -> engine.Packed:
        return engine.pack("lstm", **self.weights())

    def call(self) -> dict[str, Any]:
        """What `run` takes after x and the states, but for what to return."""
        v = self.arrays
        reset_states = (v["reset_h"], v["reset_c"]) if "reset_h" in v else None
        factors = {name: v.get(name) for name in ("dropout", "recurrent_dropout")}
        return dict(self.options, reset_states=reset_states, **factors)

    def states(self) -> tuple[Array, Array]:
        return self.arrays["h0"], self.arrays["c0"]

    def run(self, **asked: Any) -> engine.Outputs:
        return engine.run(self.packed(), self.arrays["x"], self.states(), **self.call(), **asked)

    def gradients(self, arriving: dict[str, Any], record: engine.Record | None = None) -> dict[str, Array]:
        """By the names of `arrays`; those of the reset states too where there are resets."""
        record = self.run(**ALL).record if record is None else record
        assert record is not None
        found = engine.run_backward(record, **self.weights(), **arriving)
        named = dict(found._asdict(), h0=found.states[0], c0=found.states[1])
        del named["states"], named["reset_states"]
        if found.reset_states is not None:
            named |= dict(reset_h=found.reset_states[0], reset_c=found.reset_states[1])
        return {name: value for name, value in named.items() if value is not None}

    def rows(self, which: Any) -> Case:
        """The same call for some rows of the batch."""
        by_row = ("x", "h0", "c0", "reset_h", "reset_c")
        arrays = dict(self.arrays)
        arrays |= {name: np.ascontiguousarray(v[which]) for name, v in arrays.items() if name in by_row}
        for name in ("dropout", "recurrent_dropout"):
            if name in arrays:
                arrays[name] = np.ascontiguousarray(arrays[name][:, which])
        flags = {name: _take(self.options.get(name), which) for name in ("mask", "resets")}
        return Case(arrays, dict(self.options, **flags))

    def steps(self, which: slice) -> Case:
        """The same call for some steps of x."""
        at = (slice(None), which)
        flags = {name: _take(self.options.get(name), at) for name in ("mask", "resets")}
        return Case(dict(self.arrays, x=np.ascontiguousarray(self.arrays["x"][at])), dict(self.options, **flags))

    def with_(self, options: dict[str, Any] | None = None, **arrays: Array) -> Case:
        return Case(self.arrays | arrays, self.options | (options or {}))

    def doubled(self) -> Case:
        """The same numbers in float64."""
        return Case({name: v.astype(np.float64) for name, v in self.arrays.items()}, self.options)

    def oracle(self) -> equations.Run:
        weights = {"bias": np.zeros(4 * self.shape[3], self.dtype), **self.weights()}
        return equations.lstm(self.arrays["x"], self.states(), weights, **self.call())

    def oracle_gradients(self, found: equations.Run, arriving: dict[str, Any]) -> dict[str, Array]:
        B, T, _, H = self.shape
        d_states = arriving.get("d_states") or (None, None)
        d = dict(d_h=(B, T, H), d_cells=(B, T, H), d_gates=(B, T, 4, H))
        full = {name: _or_zeros(arriving.get(name), shape) for name, shape in d.items()}
        weights = {"bias": np.zeros(4 * H, self.dtype), **self.weights()}
        wanted = equations.lstm_gradient(
            found, self.arrays["x"], weights, d_h=full["d_h"], d_c=full["d_cells"], d_gates=full["d_gates"],
            d_states=tuple(_or_zeros(v, (B, H)) for v in d_states),
            **{name: self.call()[name] for name in ("dropout", "recurrent_dropout")},
            **{name: self.options[name] for name in ("activation", "recurrent_activation")},
        )  # fmt: skip
        resets = self.options.get("resets") is not None
        optional = dict(bias="bias" in self.arrays, reset_h=resets, reset_c=resets)
        optional |= {name: name in self.arrays for name in ("dropout", "recurrent_dropout")}
        return {name: v for name, v in wanted.items() if optional.get(name, True)}

    def arriving(self, rng: np.random.Generator, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Random gradients of everything that `run` returns."""
        B, T, _, H = self.shape
        shapes = dict(d_h=(B, T, H), d_cells=(B, T, H), d_gates=(B, T, 4, H), last_h=(B, H), last_c=(B, H))
        d = {name: None if name in without else rng.normal(size=s).astype(self.dtype) for name, s in shapes.items()}
        return {"d_states": (d.pop("last_h"), d.pop("last_c")), **d}


def _take(flags: Array | None, which: Any) -> Array | None:
    return None if flags is None else np.ascontiguousarray(flags[which])


def _or_zeros(value: Array | None, shape: tuple[int, ...]) -> Array:
    return np.zeros(shape) if value is None else value


def case(
    rng: np.random.Generator,
    B: int,
    T: int,
    I: int,
    H: int,
    dtype: Any = np.float64,
    *,
    has: tuple[str, ...] = (),
    scale: float = 0.5,
    recurrent_scale: float | None = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Case:
    """Random asymmetric numbers. `has`: any of bias, mask, resets, reset_states, dropout, recurrent_dropout."""
    shapes: dict[str, tuple[int, ...]] = dict(x=(B, T, I), h0=(B, H), c0=(B, H))
    shapes |= dict(kernel=(I, 4 * H), recurrent_kernel=(H, 4 * H))
    optional: dict[str, dict[str, tuple[int, ...]]] = dict(
        bias=dict(bias=(4 * H,)),
        reset_states=dict(reset_h=(B, H), reset_c=(B, H)),
        dropout=dict(dropout=(4, B, I)),
        recurrent_dropout=dict(recurrent_dropout=(4, B, H)),
    )
    for name in has:
        shapes |= optional.get(name, {})
    arrays = {name: rng.normal(0, scale, shape) for name, shape in shapes.items()}
    recurrent_scale = scale / max(1, H) ** 0.5 if recurrent_scale is None else recurrent_scale
    arrays["recurrent_kernel"] = rng.normal(0, recurrent_scale, (H, 4 * H))
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
    return Case({name: v.astype(dtype) for name, v in arrays.items()}, options)


FEATURES = ("bias", "mask", "resets", "reset_states", "dropout", "recurrent_dropout")


# H has multiples of every instruction set's lanes, and their neighbours.
SIZES = dict(B=st.integers(0, 9), T=st.integers(0, 7), I=st.integers(0, 9))
SIZES |= dict(H=st.sampled_from([1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 70]))
usual_activations = st.just(("tanh", "sigmoid"))


@st.composite
def cases(draw: Any, dtype: Any, *, activations: Any = usual_activations, scale: float = 0.5, **sizes: Any) -> Case:
    """Calls with every option; `sizes`: strategies for B, T, I and H in the place of those in SIZES."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    has = tuple(name for name in FEATURES if draw(st.booleans()))
    activation, recurrent_activation = draw(activations)
    drawn = {name: draw(strategy) for name, strategy in (SIZES | sizes).items()}
    functions = dict(activation=activation, recurrent_activation=recurrent_activation)
    return case(rng, **drawn, dtype=dtype, has=has, scale=scale, backwards=draw(st.booleans()), **functions)


any_activations = st.tuples(st.sampled_from(ACTIVATIONS), st.sampled_from(ACTIVATIONS))


def is_tame(run: equations.Run) -> bool:
    """Whether no number exploded, as an exponential of an exponential does: then one rounding may be worth anything."""
    return all(np.abs(v).max(initial=0) < 100 for v in (run.h, run.c, run.gates, *(at["z"] for at in run.tape)))


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
