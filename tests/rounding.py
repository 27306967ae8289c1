"""How far the engine in float32 may lie from the oracle in float64: running error analysis, step by step.

Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.3. The oracle runs, forward and back, on
numbers that carry beside their value a bound e of the error of their float32 twin, to first order in eps:

    sum of n numbers a_k      e = sum of e_k + (n - 1) eps sum |a_k|                      in any order
    a b                       e = |a| e_b + |b| e_a + eps |a b|
    y = f(z)                  e = the larger change of f from z to z - e_z and z + e_z, and f's own error

eps is twice the largest relative error of one operation, which leaves room for what is of second order, and for
products that are fused with sums. The change of f is taken from f itself, so that kinks and saturation are no case of
their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equations
import numpy as np
from engine_cases import Array, Case, oracle_numbers

EPS = float(np.finfo(np.float32).eps)

# The engine's own error of an activation y = f(x): eps (k |y| + m |x| + n), and what underflow takes.
# tanh and sigmoid are within 2 ulp, and 1 ulp is at most eps |y|. The others follow from their definitions, in the
# order in which engine/activations.h computes them: eps/2 for an operation, eps for a call of the C library.
OWN: dict[str, tuple[float, float, float]] = {
    "linear": (0, 0, 0),
    "sigmoid": (2, 0, 0),
    "tanh": (2, 0, 0),
    "relu": (0, 0, 0),
    "leaky_relu": (1, 0, 0),  # the constant, the product
    "relu6": (0, 0, 0),
    "elu": (1, 0, 0),
    "selu": (3, 0, 0),  # two constants, two products, expm1
    "celu": (1, 0, 0),
    "exponential": (1, 0, 0),
    "softplus": (3, 0, 0),  # exp(-|x|), log1p, the sum: all of one sign
    "softsign": (1, 0, 0),
    "squareplus": (1, 1, 2),  # the square root is at most |x| + 2, and is then added to x, perhaps of the other sign
    "soft_shrink": (1, 0, 0),
    "hard_shrink": (0, 0, 0),
    "tanh_shrink": (1, 2, 0),  # |tanh x| <= |x|
    "sparse_plus": (2, 0, 0),  # x + 1 is exact where it cancels
    "sparse_sigmoid": (1, 0, 0),
    "silu": (3, 0, 0),
    "gelu": (5, 0, 1),  # x phi(x) |x| eps: the argument of erfc is rounded
    "mish": (6, 0, 0),
    "log_sigmoid": (3, 0, 0),
    "hard_sigmoid": (1, 0, 1),
    "hard_sigmoid_keras2": (1, 0, 1),
    "hard_silu": (1, 1, 0),
    "hard_tanh": (0, 0, 0),
}


def own_error(name: str, x: Array, y: Array, dtype: Any) -> Array:
    info = np.finfo(dtype)
    k, m, n = OWN[name]
    return float(info.eps) * (k * np.abs(y) + m * np.abs(x) + n) + 2 * float(info.tiny) * (1 + np.abs(x))


def own_slope_error(name: str, x: Array, slope: Array, dtype: Any) -> Array:
    """Slopes are sums and products of numbers of the size of the slope or of 1, each within a few eps.

    mish has x (1 - t^2) besides, where t = tanh(softplus(x)) is 1 from x = 20 on, in both precisions.
    """
    size = np.abs(slope) + 1 + (np.minimum(np.abs(x), 20) if name == "mish" else 0)
    return 4 * float(np.finfo(dtype).eps) * size


# What moves numbers and computes nothing: done to the values and to the errors.
MOVES = (np.where, np.stack, np.concatenate, np.zeros_like)


class Rounded:
    """A float64 array and bounds of the errors of its float32 twin; computes as an array does.

    A sum stays open: its terms' errors add up, and what summing costs, in whatever order it is done, is charged when
    all its terms are known: when the sum is used in anything but a longer sum.
    """

    __array_ufunc__ = None  # NumPy's arrays leave their operators to these
    ndim = property(lambda self: self.value.ndim)
    shape = property(lambda self: self.value.shape)
    T = property(lambda self: self._moved(np.transpose))

    def __init__(self, value: Any, error: Any = None, sizes: Any = None, terms: int = 1) -> None:
        self.value = value
        self.error = np.zeros(np.shape(value)) if error is None else error  # of the terms
        self._sizes = sizes
        self.terms = terms

    @property
    def sizes(self) -> Any:
        """The sum of the terms' absolute values."""
        return np.abs(self.value) if self._sizes is None else self._sizes

    def closed(self) -> tuple[Array, Array]:
        """The value, and its error when the sum is done."""
        return self.value, self.error if self.terms == 1 else self.error + (self.terms - 1) * EPS * self.sizes

    def __add__(self, other: Any) -> Rounded:
        b = _rounded(other)
        return Rounded(self.value + b.value, self.error + b.error, self.sizes + b.sizes, self.terms + b.terms)

    def __mul__(self, other: Any) -> Rounded:
        (a, e_a), (b, e_b) = self.closed(), _rounded(other).closed()
        return Rounded(a * b, np.abs(a) * e_b + np.abs(b) * e_a + EPS * np.abs(a * b))

    def __matmul__(self, other: Any) -> Rounded:
        (a, e_a), (b, e_b) = self.closed(), _rounded(other).closed()
        sizes = np.abs(a) @ np.abs(b)
        return Rounded(a @ b, np.abs(a) @ e_b + e_a @ np.abs(b) + EPS * sizes, sizes, a.shape[-1])

    def sum(self, axis: int) -> Rounded:
        value, error = self.closed()
        return Rounded(value.sum(axis), error.sum(axis), np.abs(value).sum(axis), value.shape[axis])

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.error, self.sizes, self.terms)

    def __sub__(self, other: Any) -> Rounded:
        return self + -_rounded(other)

    def __rsub__(self, other: Any) -> Rounded:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def __getitem__(self, at: Any) -> Rounded:
        return self._moved(lambda v: v[at])

    def __setitem__(self, at: Any, new: Rounded) -> None:
        (self.value[at], self.error[at]) = new.closed()

    def _moved(self, move: Callable[..., Array]) -> Rounded:
        return Rounded(*map(move, self.closed()))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in MOVES:
            return NotImplemented
        return Rounded(*(function(*_parts(args, k), **kwargs) for k in (0, 1)))


def _rounded(v: Any) -> Rounded:
    return v if isinstance(v, Rounded) else Rounded(v)


def _parts(args: Any, k: int) -> Any:
    """The values of all numbers (k = 0), or their errors (k = 1); conditions stay as they are."""
    if isinstance(args, (list, tuple)):
        return [_parts(v, k) for v in args]
    return args if getattr(args, "dtype", None) == np.dtype(bool) else _rounded(args).closed()[k]


def _change(f: Any, z: Array, e: Array) -> Array:
    y = f(z)
    return np.maximum(np.abs(f(z + e) - y), np.abs(f(z - e) - y))


def _function(name: str, f: Any, own: Any) -> Callable[[Rounded], Rounded]:
    def of(z: Rounded) -> Rounded:
        value, error = z.closed()
        y = f(value)
        return Rounded(y, _change(f, value, error) + own(name, value, y, np.float32))

    return of


FUNCTIONS = {
    name: equations.Activation(_function(name, f.value, own_error), _function(name, f.slope, own_slope_error))
    for name, f in equations.ACTIVATIONS.items()
}


def _run(case: Case) -> equations.Run:
    arrays: Any = {name: Rounded(v) for name, v in case.doubled().arrays.items()}
    return Case(arrays, case.options, case.cell).oracle(activations=FUNCTIONS)


def _errors(found: dict[str, Any]) -> dict[str, Array]:
    return {name: v.closed()[1] for name, v in found.items()}


def value_errors(case: Case) -> dict[str, Array]:
    """Bounds for what `case`, a call in float32, may be off from the oracle in float64 of the same numbers, by name."""
    return _errors(oracle_numbers(_run(case)))


def gradient_errors(case: Case, arriving: dict[str, Any]) -> dict[str, Array]:
    """The same for its gradients; `arriving` as `run_backward` takes it, perhaps in float64."""
    d: Any = {name: Rounded(v) for name, v in arriving.items() if name != "d_states"}
    d["d_states"] = tuple(map(Rounded, arriving["d_states"]))
    return _errors(case.oracle_gradients(_run(case), d))


def assert_within(ours: Array, oracle: Array, error: Array, name: str) -> None:
    assert ours.shape == oracle.shape, name
    assert ours.dtype == np.float32, name
    off = np.abs(ours.astype(np.float64) - oracle)
    bad = ~(off <= error + 1e-30)  # also where NaN; the constant is for what underflows
    assert not bad.any(), f"{name}: {bad.sum()} of {bad.size} out of bounds, first {off[bad][0]} > {error[bad][0]}"
