"""Values fed back: a model that has learned the next step of a series goes on from its own forecasts.

    y[:, 0] = f(x[:, 0], ..., x[:, T-1])
    y[:, k] = f(x[:, 0], ..., x[:, T+k-1]),   x[:, T+k-1] = feedback(y[:, k-1]) beside future[:, k-1]

f is the model; of an output with a time axis, its newest step. It is streamed: each step is computed once. B series,
T steps of history, F columns of the input, K of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers.checks import converted, whole_number
from everystep.layers.tensor import Array, Tensor
from everystep.models.inputs import fitted
from everystep.models.model import Model
from everystep.models.ragged import is_ragged, padded
from everystep.models.stream import Stream

Feedback = Sequence[int | None] | Callable[[Array, int], Any] | None


def forecast(model: Model, x: Any, steps: int, feedback: Feedback, future: Any, static: dict[str, Any] | None) -> Array:
    """(B,steps,K), as `Model.forecast` says."""
    steps = whole_number(model.name, "steps", steps)
    tensor = _streamed(model, static)
    x, lengths = _histories(x, tensor)
    B = len(x)
    stream = model.stream(B, static)
    output = stream._plan.outputs[0]
    if output.array.ndim != 2:
        raise UnsupportedError(
            f"model {model.name!r}: forecast takes a model whose output is (B,K), or (B,T,K) with the input's steps; "
            f"got {model.outputs[0].shape}, a step of which is ({','.join(['B', *map(str, output.array.shape[1:])])})"
        )
    feed = _feed(tensor, output.array.shape[1], B, steps, feedback, future)
    y = _read(stream, x, lengths)
    if output.clock is not None and not output.clock.arrived.all():
        short = int(lengths[~output.clock.arrived].max())
        raise ShapeError(
            f"model {model.name!r} returns no step for a history of {short}: its windows, as of pooling or of a "
            "convolution without padding, take more. Pass longer histories"
        )
    found = np.empty((B, steps, y.shape[1]), y.dtype)
    found[:, 0] = y
    for k in range(1, steps):
        y = stream.step(feed(y, k - 1))
        found[:, k] = y
    return found


# ---- The history ----


def _streamed(model: Model, static: Any) -> Tensor:
    """The input that is fed, as it is in a stream: of any length."""
    if len(model.outputs) != 1:
        raise UnsupportedError(
            f"model {model.name!r} has {len(model.outputs)} outputs, of {', '.join(map(repr, model.output_names))}; "
            "forecast feeds one back. Make a model of that one: Model(model.inputs, model.outputs[0])"
        )
    known = static if isinstance(static, dict) else {}
    left = [tensor for tensor in model.inputs if tensor.history.operation.name not in known]
    if len(left) > 1:
        raise UnsupportedError(
            f"model {model.name!r} has {len(left)} inputs that are streamed, {', '.join(repr(t.name) for t in left)}; "
            "forecast feeds one. Pass those that are no sequences in static, and make the others columns of one input"
        )
    tensor = (left or model.inputs)[0]
    if tensor.ndim != 3 or np.dtype(tensor.dtype).kind != "f":
        raise UnsupportedError(
            f"model {model.name!r}: forecast feeds values, into an input (B,T,F) of floats; {tensor.name!r} takes "
            f"{tensor.dtype} of shape {tensor.shape}. Models of tokens go on by generate"
        )
    return Tensor((None, None, tensor.shape[2]), tensor.dtype, tensor.name)


def _histories(x: Any, tensor: Tensor) -> tuple[Array, Array]:
    """The histories as (B,T,F), filled up on the right, and their lengths (B)."""
    if isinstance(x, (list, tuple)) and not is_ragged(x, tensor):
        raise ShapeError(
            f"input {tensor.name!r}: histories are an array (B,T,F), or a list of arrays (T_b,F), here (T_b,"
            f"{tensor.shape[2]}); got a list of {', '.join(map(_in_words, x[:3])) or 'nothing'}{', ...' * (len(x) > 3)}"
        )
    if isinstance(x, (list, tuple)):
        x, lengths = padded(list(x), tensor, 0)
    else:
        x = fitted(x, tensor)
        lengths = np.full(len(x), x.shape[1])
    if not len(x) or not lengths.min():
        came = f"an array of shape {x.shape}" if not len(x) else f"none in history {int(lengths.argmin())}"
        raise ShapeError(f"input {tensor.name!r}: there must be a history, of one step at least; got {came}")
    return x, lengths


def _read(stream: Stream, x: Array, lengths: Array) -> Array:
    """Takes the stream to the end of each row's history, and returns the output there, (B,K).

    Rows of one length go together, in a stream of their own where there are several lengths.
    """
    if (lengths == lengths[0]).all():
        return _newest(stream, x)
    y = np.empty_like(stream._plan.outputs[0].array)
    for T in np.unique(lengths):
        rows = np.flatnonzero(lengths == T)
        some = stream.fork(rows)
        y[rows] = _newest(some, x[rows, :T])
        stream._take(rows, some)
    return y


def _newest(stream: Stream, x: Array) -> Array:
    if x.shape[1] > 1:
        stream.run(x[:, :-1])
    y: Array = stream.step(x[:, -1])
    return y


# ---- What is fed back ----


def _feed(tensor: Tensor, K: int, B: int, steps: int, feedback: Feedback, future: Any) -> Callable[[Array, int], Array]:
    """What makes the next step of the input, (B,F), of the newest output, (B,K), and the number of its step."""
    F = tensor.shape[2]
    assert F is not None  # or the stream would have been refused
    if callable(feedback):
        if future is not None:
            raise OptionError(
                "a function for feedback returns all columns of the input; got future beside it. Let the function put "
                "the known columns in: it is called with the number of the step"
            )
        return _by_function(feedback, tensor, (B, F))
    of, into = _columns(tensor.name, feedback, K, F)
    left = [column for column in range(F) if column not in into]
    known = _known(future, tensor, left, (B, steps, len(left)))
    x_t = np.empty((B, F), tensor.dtype)
    where = f"input {tensor.name!r}, which output is fed back to,"

    def feed(y: Array, k: int) -> Array:
        x_t[:, into] = converted(where, y, tensor.dtype)[:, of]
        if left:
            x_t[:, left] = known[:, k]
        return x_t

    return feed


def _by_function(
    function: Callable[[Array, int], Any], tensor: Tensor, shape: tuple[int, int]
) -> Callable[[Array, int], Array]:
    def feed(y: Array, k: int) -> Array:
        x_t = _numbers(f"feedback must return real numbers, {shape}", function(y, k), f" for step {k}")
        if x_t.shape != shape:
            raise ShapeError(
                f"feedback must return the next step of input {tensor.name!r}, all columns of it, of shape {shape}; "
                f"got {x_t.shape} for step {k}"
            )
        return converted(f"input {tensor.name!r}, as feedback returns it for step {k},", x_t, tensor.dtype)

    return feed


def _columns(name: str, feedback: Any, K: int, F: int) -> tuple[list[int], list[int]]:
    """Which columns of the output go to which of the input."""
    if feedback is None:
        if K != F:
            raise OptionError(
                f"the output has {K} columns, and input {name!r} has {F}: pass feedback, for each column of the output "
                "the number of the input's column that it goes to, or None; the others are given in future"
            )
        return list(range(K)), list(range(F))
    whole = isinstance(feedback, (list, tuple, range, np.ndarray)) and all(
        entry is None or (isinstance(entry, (int, np.integer)) and not isinstance(entry, bool)) for entry in feedback
    )
    if not whole or len(feedback) != K:
        raise OptionError(
            f"feedback must be a list of {K}, for each column of the output an input's column or None, or "
            f"a function; got {feedback!r}"
        )
    pairs = [(of, int(into)) for of, into in enumerate(feedback) if into is not None]
    of, into = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if any(not 0 <= column < F for column in into) or len(set(into)) < len(into):
        raise OptionError(
            f"feedback names columns of input {name!r}, each once, from 0 to {F - 1}; got {list(feedback)}"
        )
    return of, into


def _known(future: Any, tensor: Tensor, left: list[int], shape: tuple[int, int, int]) -> Array:
    """The columns that are known: (B,steps,...) in the input's dtype."""
    columns = f"column{'s' * (len(left) > 1)} {', '.join(map(str, left))} of input {tensor.name!r}"
    if not left:
        if future is not None:
            raise OptionError(f"all columns of input {tensor.name!r} are fed back; got future beside them")
        return np.empty(shape, tensor.dtype)
    if future is None:
        raise OptionError(f"feedback does not name {columns}: pass in future what is known of it, of shape {shape}")
    array = _numbers("future must hold real numbers", future)
    if array.shape != shape:
        raise ShapeError(
            f"future must hold {columns}, which feedback does not name, for each series and each step that is "
            f"forecast: shape {shape}; got {array.shape}"
        )
    return converted("future", array, tensor.dtype)


def _numbers(wanted: str, value: Any, where: str = "") -> Array:
    try:
        array = np.asarray(value)
    except ValueError:  # of lists of different lengths
        raise ShapeError(f"{wanted}, in an array; got lists of different lengths{where}") from None
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{wanted}; got {array.dtype}{where}")
    return array


def _in_words(value: Any) -> str:
    return f"{type(value).__name__} of shape {np.shape(value)}" if hasattr(value, "shape") else type(value).__name__
