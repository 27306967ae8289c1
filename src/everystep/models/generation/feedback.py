"""Which input of a model is fed by which of its outputs: as it is named, or as it follows from the graph.

An input takes tokens if it is (B,T), ids that an Embedding reads, or (B,T,V), one-hot. An output gives them if it is
(B,T,V), or (B,V) as if the sequence ended now, of a known scale. A pair of the two fits if the input takes V tokens,
and if with the other inputs given whole it can be streamed.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np

from everystep.errors import EverystepError, OptionError, UnsupportedError
from everystep.layers import Embedding
from everystep.layers.tensor import Tensor
from everystep.models.generation.scales import scale_of
from everystep.models.model import Model
from everystep.models.ragged import readers
from everystep.models.stream import Stream

SOME_STEPS = 8  # of a static input of any length, to try whether the others stream


class Feedback(NamedTuple):
    """A pair.

    Attributes:
        input: its name. output: its number, among the outputs, flat.
        V: how many tokens the output chooses from.
        ids: how many the input takes, from 0 on.
        one_hot: whether it takes them one-hot.
        scale: of the output.
    """

    input: str
    output: int
    V: int
    ids: int
    one_hot: bool
    scale: str


def find_feedback(model: Model, inputs: list[str], feed: Any) -> Feedback:
    """The pair to generate with; what was found once is not looked for again.

    Args:
        inputs: names of those that may be fed: that are not given in static.
        feed: {"input": "output"}, or None.

    Raises:
        OptionError: feed is something else, or several pairs fit. UnsupportedError: none does; why, of each.
    """
    outputs = list(range(len(model.outputs)))
    if feed is not None:
        inputs, outputs = _named(model, inputs, feed)
    known = model.graph.kept.setdefault("feedback", {})
    asked = tuple(inputs), tuple(outputs)
    if asked not in known:
        known[asked] = _found(model, inputs, outputs)
    pair: Feedback = known[asked]
    return pair


def _found(model: Model, inputs: list[str], outputs: list[int]) -> Feedback:
    found: list[Feedback] = []
    reasons: list[str] = []
    for name in inputs:
        for number in outputs:
            try:
                found.append(_pair(model, name, number))
            except UnsupportedError as error:
                reasons.append(f"{_words(model, name, number)}: {error}")
    if len(found) > 1:
        tried, found = found, []
        for pair in tried:
            try:
                _try(model, pair)
            except EverystepError as error:
                reasons.append(f"{_words(model, pair.input, pair.output)}: {error}")
            else:
                found.append(pair)
    if not found:
        _none_fits(model, reasons)
    if len(found) > 1:
        pairs = " or ".join(f"feed={{{p.input!r}: {model.output_names[p.output]!r}}}" for p in found)
        raise OptionError(f"model {model.name!r} can feed itself in several ways; say which: {pairs}")
    return found[0]


def check_newest(model: Model, stream: Stream, pair: Feedback) -> None:
    """Raises UnsupportedError unless each step of this stream gives the output anew, for each row."""
    value = stream._plan.outputs[pair.output]
    if value.constant or not (value.timed or value.after_state):
        reason = f"it does not follow from input {pair.input!r}"
    elif value.clock is not None:
        reason = "not every step of the input completes one of it"
    elif value.array.shape != (stream.batch_size, pair.V):
        reason = f"at a step it is of shape {value.array.shape}, and not (B,{pair.V})"
    else:
        return
    _none_fits(model, [f"{_words(model, pair.input, pair.output)}: {reason}"])


def refuse_unstreamable(model: Model, pair: Feedback, error: UnsupportedError) -> NoReturn:
    _none_fits(model, [f"{_words(model, pair.input, pair.output)}: {error}"])


def _named(model: Model, inputs: list[str], feed: Any) -> tuple[list[str], list[int]]:
    """The input and the outputs of that name; several, if a layer returns several."""
    if not isinstance(feed, dict) or len(feed) != 1:
        raise OptionError(f"feed must be {{input's name: output's name}}, one pair; got {feed!r}")
    ((name, output),) = feed.items()
    if name not in model.input_names:
        raise OptionError(f"feed: there is no input {name!r}; there are {', '.join(map(repr, model.input_names))}")
    if name not in inputs:
        raise OptionError(f"feed: input {name!r} is given in static too; it is either fed or given")
    if output not in model.output_names:
        raise OptionError(f"feed: there is no output {output!r}; there are {', '.join(map(repr, model.output_names))}")
    return [name], [number for number, one in enumerate(model.output_names) if one == output]


def _pair(model: Model, name: str, number: int) -> Feedback:
    """A pair that fits as far as shapes and layers tell.

    Raises:
        UnsupportedError: it does not; the message is why.
    """
    output, tensor = model.outputs[number], model.inputs[model.input_names.index(name)]
    if output.ndim not in (2, 3) or output.shape[-1] is None:
        raise UnsupportedError(f"the output is of shape {output.shape}, and not (B,T,V) or (B,V)")
    scale, V = scale_of(output), output.shape[-1]
    if tensor.ndim == 3:
        if tensor.shape[-1] != V:
            raise UnsupportedError(f"the input is of shape {tensor.shape}, which is not one-hot of V = {V}")
        return Feedback(name, number, V, V, True, scale)
    tables = [layer for layer in readers(model.graph, tensor) if isinstance(layer, Embedding)]
    if tensor.ndim != 2 or not tables:
        raise UnsupportedError(
            f"the input, {tensor.dtype} of shape {tensor.shape}, takes no tokens: neither ids (B,T) that an Embedding "
            f"reads, nor one-hot (B,T,{V})"
        )
    ids, room = min(layer.input_dim for layer in tables), _whole_numbers(np.dtype(tensor.dtype))
    if min(ids, room) < V:
        of = f"Embedding has ids from 0 to {ids - 1}" if ids < V else f"{tensor.dtype} holds ids from 0 to {room - 1}"
        raise UnsupportedError(f"the input's {of}, and the output tokens to {V - 1}")
    return Feedback(name, number, V, min(ids, room), False, scale)


def _whole_numbers(dtype: Any) -> int:
    """How many a dtype holds, from 0 on, each as itself."""
    if dtype.kind == "f":
        return int(2 ** (np.finfo(dtype).nmant + 1)) + 1
    return int(np.iinfo(dtype).max) + 1 if dtype.kind in "iu" else 2


def _try(model: Model, pair: Feedback) -> None:
    """Opens a stream on static inputs of zeros, to see whether the pair streams."""
    zeros = {
        name: np.zeros((1, *_sizes(tensor)), tensor.dtype)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
        if name != pair.input
    }
    check_newest(model, Stream(model, 1, zeros), pair)


def _sizes(tensor: Tensor) -> list[int]:
    return [SOME_STEPS if size is None else size for size in tensor.shape[1:]]


def _words(model: Model, name: str, number: int) -> str:
    return f"input {name!r} fed by output {model.output_names[number]!r}"


def _none_fits(model: Model, reasons: list[str]) -> NoReturn:
    raise UnsupportedError(
        f"model {model.name!r} cannot feed itself with tokens:\n" + "\n".join(f"- {reason}" for reason in reasons)
    )
