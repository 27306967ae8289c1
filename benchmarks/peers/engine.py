"""The engine from NumPy. Packing the weights is timed where they would have changed: with gradients."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from problem import Problem

from everystep import engine


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    def both() -> Any:
        out = engine.run(**arguments(p, record=True))
        return out, backward(p, out)

    def arrays(results: Any) -> list[Any]:
        if not gradients:
            return [results.h]
        out, d = results
        return [out.h, d.x, *d.states, d.kernel, d.recurrent_kernel, d.bias]

    return both if gradients else partial(engine.run, **arguments(p)), arrays


def prepare_together(problems: Sequence[Problem], gradients: bool) -> Callable[[], Any]:
    """Runs side by side; their gradients come one after the other."""

    def both() -> Any:
        outs = engine.run_together([arguments(p, record=True) for p in problems])
        return [backward(p, out) for p, out in zip(problems, outs, strict=True)]

    return both if gradients else partial(engine.run_together, [arguments(p) for p in problems])


def arguments(p: Problem, **more: Any) -> dict[str, Any]:
    packed = engine.pack(p.layer.cell.name, *p.weights)
    return dict(packed=packed, x=p.x, states=p.states, **p.options, **more)


def backward(p: Problem, out: engine.Outputs) -> engine.Gradients:
    assert out.record is not None
    return engine.run_backward(out.record, *p.weights, d_h=p.d_h, **p.arriving)
