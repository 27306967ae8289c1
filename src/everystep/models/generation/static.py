"""The inputs that are given whole, as `Model.generate` takes them: which they are, and their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers import Embedding, Masking
from everystep.layers.tensor import Array, Tensor
from everystep.models.inputs import fitted
from everystep.models.model import Model
from everystep.models.ragged import fill_of, is_ragged, padded, readers, sources, steps_of_outputs


def may_be_fed(model: Model, static: Any) -> list[str]:
    """The names of the inputs that may be fed, of which one is.

    Raises:
        OptionError: static is not the others.
    """
    names = model.input_names
    inputs = ", ".join(map(repr, names))
    if static is None and len(names) > 1:
        raise OptionError(
            f"model {model.name!r} has the inputs {inputs}: one of them is fed with tokens, and static must hold the "
            "others, whole"
        )
    if isinstance(static, dict):
        unknown = [name for name in static if name not in names]
        if unknown or len(static) != len(names) - 1:
            raise OptionError(
                f"model {model.name!r} has the inputs {inputs}; static must hold all but the one that is fed with "
                f"tokens. Got {', '.join(map(repr, static)) or 'none'}"
            )
        return [name for name in names if name not in static]
    if static is not None and len(names) == 1:
        raise OptionError(f"model {model.name!r} has one input, {inputs}, which is fed with tokens; leave static out")
    return names


def by_name(model: Model, static: Any, fed: str) -> dict[str, Array]:
    """The static inputs by name, each an array of the same rows.

    Args:
        fed: the name of the input that is not among them.

    Raises:
        OptionError, ShapeError, DtypeError: they are not all there, or do not fit.
        UnsupportedError: a layer would read the padding of sequences of different lengths.
    """
    names = [name for name in model.input_names if name != fed]
    if isinstance(static, dict):
        given = {name: static[name] for name in names}
    elif not names:
        return {}
    else:
        one = len(names) == 1 and (isinstance(static, np.ndarray) or is_ragged(static, _input(model, names[0])))
        parts = [static] if one else static
        if not isinstance(parts, (list, tuple)) or len(parts) != len(names):
            wanted = "an array, or a list of arrays that are sequences," if len(names) == 1 else "a list of arrays"
            raise OptionError(
                f"model {model.name!r}: static must be {wanted} for {', '.join(map(repr, names))}, or a dictionary by "
                f"name; got {_in_words(static)}"
            )
        given = dict(zip(names, parts, strict=True))
    arrays = _padded(model, given)
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{len(array)} of {name!r}" for name, array in arrays.items())
        raise ShapeError(f"model {model.name!r}: all static inputs must have the same number of rows; got {sizes}")
    return arrays


def _padded(model: Model, given: dict[str, Any]) -> dict[str, Array]:
    """The same as arrays; sequences of different lengths filled up with what the layers that read them mask.

    Raises:
        UnsupportedError: they do not mask it.
    """
    arrays: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name, value in given.items():
        tensor = _input(model, name)
        if not is_ragged(value, tensor):
            arrays[name] = fitted(value, tensor)
            continue
        unmasked = [layer for layer in readers(model.graph, tensor) if not isinstance(layer, (Embedding, Masking))]
        if unmasked:
            raise UnsupportedError(
                f"layer {unmasked[0].name!r} would read the padding of input {name!r}, which is given as sequences of "
                "different lengths. Pass rows of one length at a time, or begin the model with Masking"
            )
        arrays[name], lengths[name] = padded(value, tensor, fill_of(model.graph, tensor))
    if lengths:
        of_all = [arrays.get(name, np.empty((0, 0))) for name in model.input_names]
        steps_of_outputs(model.graph, sources(of_all, [lengths.get(name) for name in model.input_names]))
    return arrays


def _in_words(static: Any) -> str:
    if not isinstance(static, (list, tuple)):
        return type(static).__name__
    parts = [type(part).__name__ for part in static[:3]] + ["..."] * (len(static) > 3)
    return f"a {type(static).__name__} of {', '.join(parts) or 'nothing'}"


def _input(model: Model, name: str) -> Tensor:
    return model.inputs[model.input_names.index(name)]
