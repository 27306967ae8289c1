"""The engine from NumPy. Packing the weights is timed where they would have changed: with gradients."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from problem import Problem

from everystep import engine

PLAIN: Sequence[Mapping[str, Any]] = ({},)


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(
    p: Problem, gradients: bool, runs: Sequence[Mapping[str, Any]] = PLAIN, arriving: Mapping[str, Any] = PLAIN[0]
) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    """`runs`: the options of one run, or of each of several side by side; `arriving`: gradients beside that of h.

    Of several runs, the arrays are those of the first.
    """
    name, weights = p.layer.cell.name, p.weights
    packed = engine.pack(name, *weights)
    calls = [dict(packed=packed, x=p.x, states=p.states, **run) for run in runs]
    forward = partial(engine.run, **calls[0]) if len(runs) == 1 else partial(engine.run_together, calls)

    def both() -> Any:
        fresh = [call | dict(packed=engine.pack(name, *weights), record=True) for call in calls]
        outs = [engine.run(**fresh[0])] if len(runs) == 1 else engine.run_together(fresh)
        return [(out, engine.run_backward(out.record, *weights, d_h=p.d_h, **arriving)) for out in outs]

    def arrays(results: Any) -> list[Any]:
        if not gradients:
            return [results.h if len(runs) == 1 else results[0].h]
        out, d = results[0]
        return [out.h, d.x, *d.states, d.kernel, d.recurrent_kernel, d.bias]

    return both if gradients else forward, arrays
