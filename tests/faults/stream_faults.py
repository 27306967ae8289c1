"""Faults of streams."""

from __future__ import annotations

from fault import Fault

NATIVE = ("tests/models/test_models_stream_native.py",)
CLOCKS = ("tests/models/test_models_stream_clocks.py",)

STREAM_FAULTS = [
    Fault(
        "streams: what follows a layer with its own clock goes on in every row",
        "src/everystep/models/stream_clock.py",
        "np.logical_not(clock.fresh, stale)",
        "stale.fill(False)",
        CLOCKS,
    ),
    Fault(
        "streams: a second clock ticks with the stream, not with the first",
        "src/everystep/models/stream_clock.py",
        "np.logical_and(own.fresh, clock.fresh, own.fresh)",
        "pass",
        CLOCKS,
    ),
    Fault(
        "streams: a row that has no step yet shows numbers",
        "src/everystep/models/stream_clock.py",
        "where=by_row(clock.arrived, array))",
        "where=by_row(np.ones_like(clock.arrived), array))",
        CLOCKS,
    ),
    Fault(
        "streams: clocks of different first steps join",
        "src/everystep/models/stream_clock.py",
        "return first + window.first * stride, stride * window.stride",
        "return 0, stride * window.stride",
        CLOCKS,
    ),
    Fault(
        "streams: the newest step is read again in a chunk that completes none",
        "src/everystep/models/stream_call.py",
        'if self.held and verb == "run" and not inputs[0].shape[1]:',
        "if False:",
        CLOCKS,
    ),
    Fault(
        "streams: the first call of a function tells what the others are",
        "src/everystep/models/stream_plan.py",
        "operation = node.operation.in_call(node)",
        "operation = node.operation",
        ("tests/layers/test_layers_operations.py",),
    ),
    Fault(
        "streams: the mask of static values is not looked at",
        "src/everystep/models/stream_plan.py",
        "call = own | {",
        "call = {",
        ("tests/models/test_models_stream_attention.py",),
    ),
    Fault(
        "streams: a bound product forgets its bias",
        "src/everystep/engine/bound.py",
        "_engine.bind_product(a.reshape(M, K), matrix.data, bias,",
        "_engine.bind_product(a.reshape(M, K), matrix.data, None,",
        ("tests/models/test_models_stream.py",),
    ),
    Fault(
        "streams: the native way does not ask whether weights have changed",
        "src/everystep/models/stream.py",
        "[(layer.version, version) for layer, version in self._versions],",
        "[],",
        NATIVE,
    ),
    Fault(
        "streams: what is of another C type is handed on as it is",
        "src/everystep/models/stream.py",
        "np.array(array, value.array.dtype)\n",
        "array\n",
        NATIVE,
    ),
    Fault(
        "streams: `out` is not written where x is converted",
        "src/everystep/models/stream.py",
        "result[...] = array",
        "pass",
        NATIVE,
    ),
    Fault(
        "streams: an array goes the long way though it fits",
        "src/everystep/models/stream.py",
        "found = self._native_step(x_t, out)",
        "found = None",
        NATIVE,
    ),
]
