"""What a user passes to `predict`, brought into the order, the dtype and the form of the model's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import DtypeError, ShapeError
from everystep.layers.checks import converted, sizes_fit
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Tensor
from everystep.models.graph import Graph
from everystep.models.ragged import fill_of, is_ragged, padded


def standardize(x: Any, structure: Any, model: str, graph: Graph) -> tuple[list[Array], list[Array | None]]:
    """One array for each input, in the model's order; and for each that is ragged the lengths of its sequences, (B).

    Args:
        x: an array, a list, or a dictionary by the inputs' names; or in the structure of the inputs. In the place of
            an array may be a list of sequences.
        structure: the inputs as they were passed to Model.
        model: its name, for messages.
        graph: the model's.

    Raises:
        ShapeError: something is missing or has the wrong shape. DtypeError: it cannot become the input's dtype.
    """
    tensors: list[Tensor] = flatten(structure)
    found = _arrange(x, structure, tensors, model)
    arrays: list[Array] = []
    lengths: list[Array | None] = []
    for value, tensor in zip(found, tensors, strict=True):
        ragged = is_ragged(value, tensor)
        array, its = padded(value, tensor, fill_of(graph, tensor)) if ragged else (fitted(value, tensor), None)
        arrays.append(array)
        lengths.append(its)
    sizes = {tensor.name: len(array) for array, tensor in zip(arrays, tensors, strict=True) if array.ndim}
    if len(set(sizes.values())) > 1:
        raise ShapeError(
            f"model {model!r}: all inputs must have the same number of rows; got "
            f"{', '.join(f'{size} of {name!r}' for name, size in sizes.items())}"
        )
    return arrays, lengths


def _arrange(x: Any, structure: Any, tensors: list[Tensor], model: str) -> list[Any]:
    """The parts of x in the order of the inputs."""
    names = ", ".join(repr(tensor.name) for tensor in tensors)
    if isinstance(x, dict) and not isinstance(structure, dict):
        missing = [tensor.name for tensor in tensors if tensor.name not in x]
        if missing:
            raise ShapeError(
                f"model {model!r} has the inputs {names}; the dictionary has no {', '.join(map(repr, missing))}, "
                f"but {', '.join(map(repr, x)) or 'nothing'}"
            )
        return [x[tensor.name] for tensor in tensors]
    if isinstance(structure, dict) and not isinstance(x, dict) and len(tensors) > 1:
        raise ShapeError(
            f"model {model!r} has its inputs in a dictionary: pass one with the keys {', '.join(map(repr, structure))}"
        )
    if isinstance(x, dict):
        return _by_key(x, structure, model)
    if not isinstance(x, (list, tuple)):
        x = [x]
    if len(tensors) == 1 and is_ragged(x, tensors[0]) and not _one_array(x, tensors[0]):
        return [x]
    if len(x) == len(tensors) and any(map(is_ragged, x, tensors)):
        return list(x)
    parts = flatten(x)
    if len(parts) != len(tensors) or any(np.isscalar(part) for part in parts):
        came = f"{len(parts)} arrays" if not any(np.isscalar(part) for part in parts) else "lists of numbers"
        raise ShapeError(
            f"model {model!r} has {len(tensors)} input{'s' * (len(tensors) > 1)}, {names}; got {came}. "
            "Pass a NumPy array for each, or a list of sequences, arrays of one axis less than the input"
        )
    return parts


def _one_array(x: list[Any], tensor: Tensor) -> bool:
    """Whether a list that may be one sequence is one array for the one input, its last axis of size 1 left out.

    Raises:
        ShapeError: it may be either.
    """
    first = x[0]
    if len(x) > 1 or tensor.shape[-1] != 1 or not sizes_fit((None, *first.shape[1:], 1), (None, *tensor.shape[1:])):
        return False
    if sizes_fit(first.shape[1:], tensor.shape[2:]):
        raise ShapeError(
            f"input {tensor.name!r}: a list of one array of shape {first.shape} may be one sequence of {len(first)} "
            f"steps, or {len(first)} rows of one step. Pass an array of all three axes, without a list"
        )
    return True


def _by_key(x: Any, structure: Any, model: str) -> list[Any]:
    if isinstance(structure, Tensor) and is_ragged(x, structure):
        return [x]
    if not isinstance(structure, dict):
        return flatten(x)
    missing = [key for key in structure if not isinstance(x, dict) or key not in x]
    if missing:
        raise ShapeError(f"model {model!r}: the dictionary of inputs has no {', '.join(map(repr, missing))}")
    return [part for key in sorted(structure) for part in _by_key(x[key], structure[key], model)]


def fitted(value: Any, tensor: Tensor) -> Array:
    """value in the dtype and rank of the input, contiguous."""
    array = np.asarray(value)
    where = f"input {tensor.name!r}"
    wanted = np.dtype(tensor.dtype)
    if array.dtype.kind not in "biuf":
        raise DtypeError(
            f"{where} takes {wanted}; got an array of {array.dtype} ({type(value).__name__}). "
            "Pass real numbers in a NumPy array"
        )
    array = _fit_rank(array, tensor.shape)
    if not sizes_fit((None, *array.shape[1:]), (None, *tensor.shape[1:])) or array.ndim != tensor.ndim:
        raise ShapeError(
            f"{where} takes an array of shape {_in_words(tensor.shape)}; got {np.shape(value)}. "
            "Reshape it, batch axis first"
        )
    return converted(where, array, tensor.dtype)


def _fit_rank(array: Array, shape: tuple[int | None, ...]) -> Array:
    """As Keras does, a last axis of size 1 may be left out, or be there in vain."""
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        return array[..., None]
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        return array[..., 0]
    return array


def _in_words(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join(['any number of rows', *('any' if s is None else str(s) for s in shape[1:])])})"
