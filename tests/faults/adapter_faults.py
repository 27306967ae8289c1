"""Faults in the way between JAX and the engine: in which gradients are asked for, and what arrives."""

from __future__ import annotations

from fault import BACKWARD, Fault

ADAPTER, TESTS = "src/everystep/keras/adapters/jax.py", ("tests/keras/test_adapter_jax_gradients.py",)

ADAPTER_FAULTS = [
    Fault(
        "adapter: every gradient is computed, wanted or not",
        ADAPTER,
        "for name, v in arrays.items() if v.perturbed)",
        "for name, v in arrays.items())",
        TESTS,
    ),
    Fault(
        "adapter: zeros are made for what nobody uses",
        ADAPTER,
        "lambda v: None if isinstance(v, SymbolicZero) else v, d)",
        "lambda v: jnp.zeros(v.shape, v.dtype) if isinstance(v, SymbolicZero) else v, d)",
        TESTS,
    ),
    Fault(
        "adapter: without sequences, what arrives at h hides what arrives at the last h",
        ADAPTER,
        "return b if a is None else a if b is None else a + b",
        "return a if b is None else b",
        TESTS,
    ),
    Fault(
        "gradient of a dropout: only where that of x is wanted too",
        BACKWARD,
        "return args_.d_x || (run_.dropout && args_.d_dropout);",
        "return args_.d_x;",
        TESTS,
    ),
    Fault(
        "gradient of the recurrent kernel: only where that of the kernel is wanted too",
        BACKWARD,
        "    if (args_.d_recurrent_kernel)\n",
        "    if (args_.d_recurrent_kernel && args_.d_kernel)\n",
        TESTS,
    ),
]
