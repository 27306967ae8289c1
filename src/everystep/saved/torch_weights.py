"""The weights of PyTorch's recurrent modules, as our layers have them, and back.

https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers has the equations. For each layer and direction,

    PyTorch                                        here
    weight_ih_l{k}{_reverse}  (GH,I)               kernel            (I,GH)
    weight_hh_l{k}{_reverse}  (GH,H)               recurrent_kernel  (H,GH)
    bias_ih_... and bias_hh_...  (GH) each         bias  (GH), their sum; (2,GH), both, in a GRU

The gates of an LSTM are i, f, g, o in both; those of a GRU are r, z, n there and z, r, g here. From the second layer on
I is H, or 2H where the layer before has two directions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers.tensor import Array

GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}  # where our gates stand among PyTorch's, and theirs here
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NAME = re.compile(rf"({'|'.join(PARTS)}|weight_hr)_l(0|[1-9][0-9]{{0,8}})(_reverse)?")


class Stack(NamedTuple):
    """A module's weights.

    Attributes:
        kind: "LSTM", "GRU" or "RNN", as PyTorch calls it.
        layers: for each layer and direction kernel, recurrent_kernel and, if it has one, bias.
    """

    kind: str
    layers: list[list[list[Array]]]


def places(layers: int, directions: int) -> Iterator[tuple[int, int, str]]:
    """Each layer and direction, with what the names of its weights end in; in PyTorch's order."""
    for layer in range(layers):
        for direction in range(directions):
            yield layer, direction, f"_l{layer}" + "_reverse" * direction


def read(state: Mapping[str, Array], where: str) -> Stack:
    """The weights in a state dict that holds nothing else.

    Args:
        state: arrays by PyTorch's names, float32 or float64.
        where: what the state dict is of, for messages.

    Raises:
        OptionError: a name is unknown, or missing. ShapeError, DtypeError: an array does not fit the others.
        UnsupportedError: the module has projections.
    """
    matches = {name: NAME.fullmatch(name) for name in state}
    unknown = [name for name, match in matches.items() if match is None]
    if unknown or not state:
        raise OptionError(
            f"{where} must hold the weights of nn.LSTM, nn.GRU or nn.RNN and nothing else: weight_ih_l0, weight_hh_l0, "
            f"...; got {_few(unknown) or 'none'}{_hint(unknown)}"
        )
    found = [match for match in matches.values() if match is not None]
    if any(match[1] == "weight_hr" for match in found):
        raise UnsupportedError(
            f"{where} has projections (weight_hr_l0, of an nn.LSTM with proj_size), which neither Keras's LSTM nor the "
            "engine has. Train it without proj_size"
        )
    numbers = {int(match[2]) for match in found}
    layers, directions = len(numbers), 1 + any(match[3] for match in found)
    if max(numbers) >= layers:  # before a name is made for every layer up to a number that may be anything
        lacking = next(k for k in range(layers) if k not in numbers)
        raise OptionError(
            f"{where} lacks layer {lacking}, weight_ih_l{lacking} and the others: its names go up to layer "
            f"{max(numbers)}, and layers are numbered from 0 on without a gap"
        )
    parts = PARTS if any(match[1].startswith("bias") for match in found) else PARTS[:2]
    wanted = [part + suffix for _, _, suffix in places(layers, directions) for part in parts]
    missing = [name for name in wanted if name not in state]
    if missing:
        raise OptionError(f"{where} lacks {_few(missing)}: it has {_few(list(state))}")
    kind = _kind(state["weight_hh_l0"], where)
    H, G = state["weight_hh_l0"].shape[1], len(GATES[kind])
    first = state["weight_ih_l0"].shape
    if len(first) != 2:
        raise ShapeError(f"{where}: weight_ih_l0 must be of shape ({G * H}, I); got {first}")
    stack: list[list[list[Array]]] = [[] for _ in range(layers)]
    for layer, _, suffix in places(layers, directions):
        I = first[1] if layer == 0 else directions * H
        shapes = dict(zip(PARTS, ((G * H, I), (G * H, H), (G * H,), (G * H,)), strict=True))
        arrays = [state[part + suffix] for part in parts]
        for part, array in zip(parts, arrays, strict=True):
            _check(f"{where}: {part}{suffix}", array, shapes[part], state["weight_hh_l0"].dtype)
        stack[layer].append(_ours(kind, arrays))
    return Stack(kind, stack)


def write(stack: Stack) -> dict[str, Array]:
    """The weights by PyTorch's names, in its order; bias_hh is 0 where there is one bias here."""
    found: dict[str, Array] = {}
    for layer, direction, suffix in places(len(stack.layers), len(stack.layers[0])):
        for part, array in zip(PARTS, _theirs(stack.kind, stack.layers[layer][direction]), strict=False):
            found[part + suffix] = np.array(array, order="C")
    return found


def _ours(kind: str, arrays: list[Array]) -> list[Array]:
    kernel, recurrent, *biases = (_swapped(kind, array) for array in arrays)
    if not biases:
        return [kernel.T, recurrent.T]
    return [kernel.T, recurrent.T, np.stack(biases) if kind == "GRU" else biases[0] + biases[1]]


def _theirs(kind: str, weights: list[Array]) -> list[Array]:
    kernel, recurrent, *bias = weights
    biases = [] if not bias else list(bias[0]) if kind == "GRU" else [bias[0], np.zeros_like(bias[0])]
    return [_swapped(kind, rows) for rows in (kernel.T, recurrent.T, *biases)]


def _swapped(kind: str, rows: Array) -> Array:
    """(GH,...) with the gates in the other one's order; the way back is the same."""
    gates = np.split(rows, len(GATES[kind]))
    return np.concatenate([gates[k] for k in GATES[kind]])


def _kind(weight_hh: Array, where: str) -> str:
    rows, H = weight_hh.shape if weight_hh.ndim == 2 else (0, 0)
    for kind, gates in GATES.items():
        if H and rows == len(gates) * H:
            return kind
    raise ShapeError(
        f"{where}: weight_hh_l0 must be (4H,H) for nn.LSTM, (3H,H) for nn.GRU or (H,H) for nn.RNN; "
        f"got {weight_hh.shape}"
    )


def _check(name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if array.shape != shape:
        raise ShapeError(f"{name} must be of shape {shape}; got {array.shape}")
    if array.dtype != dtype:
        raise DtypeError(f"{name} must be {dtype}, as weight_hh_l0 is; got {array.dtype}: convert it first")


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _hint(names: list[str]) -> str:
    prefixes = [name.removesuffix("weight_hh_l0") for name in names if name.endswith(".weight_hh_l0")]
    if not prefixes:
        return ""
    return f". Recurrent weights lie under {_few(list(map(repr, prefixes)))}: pass one of them as prefix"
