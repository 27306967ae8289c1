"""An LSTM layer of Keras's on JAX, under jit: the same code for Keras's own layer and for everystep.keras's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import Problem


def prepare(LSTM: Any, p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], dict[str, Any]]]:
    layer = LSTM(p.shape.H, return_sequences=True)
    layer.build(p.x.shape)
    layer.set_weights([p.kernel, p.recurrent_kernel, p.bias])
    d_h = jnp.asarray(p.d_h)

    def forward(x: Any, h0: Any, c0: Any, weights: Any) -> Any:
        others = [variable.value for variable in layer.non_trainable_variables]
        return layer.stateless_call(weights, others, x, initial_state=[h0, c0])[0]

    def loss(*inputs: Any) -> tuple[Any, Any]:
        h = forward(*inputs)
        return jnp.vdot(h, d_h), h

    inputs = (*map(jnp.asarray, (p.x, p.h0, p.c0)), [variable.value for variable in layer.trainable_variables])
    function = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True) if gradients else forward)

    def call() -> Any:
        return jax.block_until_ready(function(*inputs))

    def arrays(results: Any) -> dict[str, Any]:
        if not gradients:
            return {"h": np.asarray(results)}
        (_, h), (d_x, d_h0, d_c0, (d_kernel, d_recurrent_kernel, d_bias)) = results
        found = dict(h=h, d_x=d_x, d_h0=d_h0, d_c0=d_c0, d_kernel=d_kernel, d_recurrent_kernel=d_recurrent_kernel,
                     d_bias=d_bias)  # fmt: skip
        return {name: np.asarray(value) for name, value in found.items()}

    return call, arrays
