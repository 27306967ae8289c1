"""The engine from NumPy. Packing the weights is timed where they would have changed: with gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from problem import Problem

from everystep import engine


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], dict[str, Any]]]:
    weights = (p.kernel, p.recurrent_kernel, p.bias)
    packed = engine.pack("lstm", *weights)

    def forward() -> Any:
        return engine.run(packed, p.x, (p.h0, p.c0))

    def both() -> Any:
        out = engine.run(engine.pack("lstm", *weights), p.x, (p.h0, p.c0), record=True)
        return out, engine.run_backward(out.record, *weights, d_h=p.d_h)

    def arrays(results: Any) -> dict[str, Any]:
        if not gradients:
            return {"h": results.h}
        out, d = results
        return dict(h=out.h, d_x=d.x, d_h0=d.states[0], d_c0=d.states[1], d_kernel=d.kernel,
                    d_recurrent_kernel=d.recurrent_kernel, d_bias=d.bias)  # fmt: skip

    return both if gradients else forward, arrays
