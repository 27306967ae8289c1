"""What cannot be streamed, refused by name when a stream is opened."""

from __future__ import annotations

from typing import Any, NoReturn

from everystep.errors import UnsupportedError
from everystep.layers.activation import Activation
from everystep.layers.activations import ALONG_LAST_AXIS
from everystep.layers.base import Layer
from everystep.layers.dropout import Dropout
from everystep.layers.embedding import Embedding
from everystep.layers.structure import flatten
from everystep.layers.tensor import Tensor
from everystep.models.stream_call import Call, Value, filled, values_in

BY_NUMBER = (Activation, Dropout, Embedding)  # what takes each number by itself


def check_streamable(call: Call) -> None:
    """Raises UnsupportedError unless a call that reads a value with a time axis can go one step at a time."""
    operation = call.operation
    obstacle = operation.step_obstacle()
    if obstacle:
        _refuse(call, obstacle)
    initial = values_in(call.options.get("initial_state"))
    if not all(value.constant for value in initial):
        _refuse(call, "its initial_state changes with every step, and with it all that it returned before")
    static = [] if isinstance(operation, Layer) else [value for value in call.values if value.constant]
    if not all(value.timed for value in call.values if value not in (*initial, *static)):
        _refuse(call, "it takes a streamed sequence together with one that is not streamed")
    alone = any(value.array.ndim == 1 for value in values_in(call.inputs))
    along_last = isinstance(operation, Activation) and operation.activation in ALONG_LAST_AXIS
    if alone and isinstance(operation, Layer) and (along_last or not isinstance(operation, BY_NUMBER)):
        _refuse(call, "its input has no axis but time, and it goes along that. If it is no sequence, name it in static")


def time_axes(call: Call, B: int) -> list[bool]:
    """For each output, whether it has a time axis: where its shape is another for another T."""
    found = []
    for T in (2, 3):

        def stand_in(value: Value, T: int = T) -> Any:
            if value.constant and not isinstance(call.operation, Layer):
                return value.array
            return Tensor((B, T, *value.array.shape[1:]), value.array.dtype.name, call.name)

        inputs = filled(stand_in, call.inputs)
        outputs = call.operation.symbolic_outputs(*([inputs] if isinstance(call.operation, Layer) else inputs))
        found.append([tensor.shape for tensor in flatten(outputs)])
    in_time = []
    for a, b in zip(*found, strict=True):
        if a != b and (*a[:1], *a[2:]) != (*b[:1], *b[2:]):
            _refuse(call, "it moves the time axis")
        if a == b and not flatten(call.state) and not call.operation.takes_newest:
            _refuse(call, "it looks at the whole sequence at once")
        in_time.append(a != b)
    return in_time


def _refuse(call: Call, reason: str) -> NoReturn:
    raise UnsupportedError(f"layer {call.name!r} cannot go one step at a time: {reason}")
