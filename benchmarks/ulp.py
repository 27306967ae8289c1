"""tanh or sigmoid of a library, in ulp of float32, for benchmarks/accuracy.py: `python ulp.py LIBRARY FUNCTION STRIDE`.

Takes every STRIDE-th bit pattern of a float32, of both signs: all of them with 1. What they should give is computed in
float64, whose own error is 1e-8 ulp of float32. Prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], Any]  # float32 to float32

BINADE = 2**23  # float32s of one exponent and sign
NOT_FINITE = 255  # the exponent of infinities and NaNs
CHUNK = 2**15  # numbers at a time: they stay in cache
TINY = float(np.finfo(np.float32).tiny)  # the smallest normal number
POWER_OF_TWO = 0x7FF0_0000_0000_0000  # a float64 without its sign and mantissa


def everystep(name: str) -> tuple[Function, str]:
    from everystep import engine

    return lambda x: engine.activate(name, x), engine.engine_info()["instruction_set"]


def numpy(name: str) -> tuple[Function, str]:
    """It has no sigmoid; the definition, in float32, is what people write."""

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return np.float32(1) / (np.float32(1) + np.exp(-x))

    return {"tanh": np.tanh, "sigmoid": sigmoid}[name], np.__version__


def pytorch(name: str) -> tuple[Function, str]:
    import torch

    torch.set_num_threads(1)
    function = getattr(torch, name)
    return lambda x: function(torch.from_numpy(x)).numpy(), torch.__version__


def jax(name: str) -> tuple[Function, str]:
    import jax

    return jax.jit(getattr(jax.nn, name)), version("jax")


LIBRARIES = {"everystep": everystep, "numpy": numpy, "pytorch": pytorch, "jax": jax}


def exact_tanh(x: np.ndarray, out: np.ndarray) -> None:
    np.tanh(x, out=out)


def exact_sigmoid(x: np.ndarray, out: np.ndarray) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)  # of float32s: at most e^(3e38), which is infinite, and then the sigmoid is 0, as it should
    out += 1
    np.divide(1, out, out=out)


EXACT = {"tanh": exact_tanh, "sigmoid": exact_sigmoid}


def chunks(exponent: int, stride: int) -> Iterator[np.ndarray]:
    """Every stride-th float32 of this exponent, of both signs."""
    for sign in (0, 1 << 31):
        first = sign + exponent * BINADE
        first += -first % stride
        end = sign + (exponent + 1) * BINADE
        for start in range(first, end, CHUNK * stride):
            bits = np.arange(start, min(end, start + CHUNK * stride), stride, dtype=np.uint64)
            yield bits.astype(np.uint32).view(np.float32)


def limits_kept(function: Function, exact: Function, stride: int) -> bool:
    """Whether NaN gives NaN and the infinities give the limits."""
    infinities = np.array([-np.inf, np.inf], np.float32)
    kept = bool(np.array_equal(np.asarray(function(infinities)), exact(infinities)))
    for x in chunks(NOT_FINITE, stride):
        nan = np.isnan(x)
        kept = kept and bool(np.isnan(np.asarray(function(x))[nan]).all())
    return kept


def measure(function: Function, name: str, stride: int) -> dict[str, Any]:
    """For each exponent of x, from 0 (subnormal) to 254, the largest error in ulp; and of all finite x:

    worst, at: the largest error and its x. mean: of the errors. right: the share of results that are the nearest
    float32. flushed: how many are 0 where a subnormal number would be nearest; these count as right.
    """
    worst, at, total, right, flushed, count = 0.0, 0.0, 0.0, 0, 0, 0
    by_exponent = []
    exact, scale, wide = (np.empty(CHUNK, np.float64) for _ in range(3))
    for exponent in range(NOT_FINITE):
        worst_here = 0.0
        for x in chunks(exponent, stride):
            n = len(x)
            y, ulp, error = exact[:n], scale[:n], wide[:n]
            error[:] = x
            EXACT[name](error, y)
            np.bitwise_and(y.view(np.int64), POWER_OF_TWO, out=ulp.view(np.int64))
            np.maximum(ulp, TINY, out=ulp)
            found = np.asarray(function(x))
            np.subtract(found, y, out=error, dtype=np.float64)
            np.abs(error, out=error)
            error *= 2.0**23
            error /= ulp
            if y[0] < TINY or y[-1] < TINY:
                below = (np.abs(y) < TINY) & (found == 0)
                flushed += int(np.count_nonzero(below & (error > 0.5)))
                error[below] = 0
            k = int(error.argmax())
            worst_here = max(worst_here, float(error[k]))
            if not error[k] <= worst:  # a NaN is worst of all
                worst, at = float(error[k]), float(x[k])
            total += float(error.sum())
            right += int(np.count_nonzero(error <= 0.5))
            count += n
        by_exponent.append(worst_here)
    return dict(worst=worst, at=at, mean=total / count, right=right / count, flushed=flushed * stride, count=count,
                by_exponent=by_exponent)  # fmt: skip


def main() -> None:
    library, name, stride = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with np.errstate(all="ignore"):
        function, which = LIBRARIES[library](name)

        def exact(x: np.ndarray) -> np.ndarray:
            y = np.empty(x.shape)
            EXACT[name](x.astype(np.float64), y)
            return y

        found = measure(function, name, stride)
        found |= dict(library=library, function=name, which=which, stride=stride,
                      limits=limits_kept(function, exact, stride))  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
