"""What cannot be streamed, refused by name when a stream is opened."""

from __future__ import annotations

from typing import Any, NoReturn

from everystep.errors import ShapeError, UnsupportedError
from everystep.layers.activation import Activation
from everystep.layers.activations import ALONG_LAST_AXIS
from everystep.layers.attention import OneHead
from everystep.layers.base import Layer
from everystep.layers.dot import Dot
from everystep.layers.dropout import Identity
from everystep.layers.embedding import Embedding
from everystep.layers.merging import Merge
from everystep.layers.multi_head_attention import MultiHeadAttention
from everystep.layers.rectifiers import ELU, LeakyReLU, ReLU
from everystep.layers.rescaling import Rescaling
from everystep.layers.structure import flatten
from everystep.layers.tensor import Tensor
from everystep.models.input_cast import InputCast
from everystep.models.stream_call import Call, Value, filled, values_in
from everystep.models.stream_clock import same_time

SOME_LENGTHS = (1 << 30, 1 << 31)  # longer than any window or stride
BESIDE_WHOLE = (OneHead, MultiHeadAttention, Dot, Merge)  # step beside whole arrays, or say why not
BY_NUMBER = (
    Activation,
    Identity,
    ReLU,
    LeakyReLU,
    ELU,
    Rescaling,
    Embedding,
    InputCast,
)  # what takes each number by itself


def check_streamable(call: Call) -> None:
    """Raises UnsupportedError unless a call that reads a value with a time axis can go one step at a time."""
    operation = call.operation
    obstacle = operation.step_obstacle()
    if obstacle:
        _refuse(call, obstacle)
    initial = values_in(call.options.get("initial_state"))
    if not all(value.constant for value in initial):
        _refuse(call, "its initial_state changes with every step, and with it all that it returned before")
    beside_whole = not isinstance(operation, Layer) or isinstance(operation, BESIDE_WHOLE)
    static = [] if not beside_whole else [value for value in call.values if value.constant]
    if not all(value.timed for value in call.values if value not in (*initial, *static)):
        _refuse(call, "it takes a streamed sequence together with one that is not streamed")
    if not same_time(value.clock for value in call.values if value.timed):
        _refuse(call, "it joins sequences whose steps are complete at different times")
    alone = any(value.array.ndim == 1 for value in values_in(call.inputs))
    along_last = isinstance(operation, Activation) and operation.activation in ALONG_LAST_AXIS
    if alone and isinstance(operation, Layer) and (along_last or not isinstance(operation, BY_NUMBER)):
        _refuse(call, "its input has no axis but time, and it goes along that. If it is no sequence, name it in static")


def time_axes(call: Call, B: int) -> list[bool]:
    """For each output, whether it has a time axis: where its shape is another for another T."""
    found, operation = [], call.operation
    for T in SOME_LENGTHS:

        def stand_in(value: Value, T: int = T) -> Any:
            if value.constant and not isinstance(operation, Layer):
                return value.array
            shape = value.array.shape
            return Tensor((B, T, *shape[1:]) if value.timed else shape, value.array.dtype.name, call.name)

        inputs, options = filled(stand_in, call.inputs), filled(stand_in, call.options)
        try:
            if isinstance(operation, Layer):
                outputs = operation.symbolic_call({operation.call_arguments[0]: inputs, **options})
            else:
                outputs = operation.symbolic_outputs(*inputs)
        except ShapeError:
            if not any(value.constant for value in call.values):
                raise
            _refuse(call, "it takes a streamed sequence together with a whole one of a given length")
        found.append([tensor.shape for tensor in flatten(outputs)])
    in_time = []
    for a, b in zip(*found, strict=True):
        if a != b and (*a[:1], *a[2:]) != (*b[:1], *b[2:]):
            _refuse(call, "it moves the time axis")
        if a == b and not flatten(call.state) and not operation.takes_newest:
            _refuse(call, "it looks at the whole sequence at once")
        in_time.append(a != b)
    return in_time


def _refuse(call: Call, reason: str) -> NoReturn:
    raise UnsupportedError(f"layer {call.name!r} cannot go one step at a time: {reason}")
