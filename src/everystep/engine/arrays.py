"""What an array must be: each check returns it, or refuses it by name. Nothing is cast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everystep.errors import DtypeError, ShapeError

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
BOOL = np.dtype(np.bool_)


def check(name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    check_array(name, array)
    if array.shape != shape:
        raise ShapeError(f"{name} must be of shape {shape}; got {array.shape}")
    if array.dtype != dtype:
        raise DtypeError(f"{name} must be {dtype}, as the weights; got {array.dtype}: convert it with astype"
                         if dtype != BOOL else f"{name} must be bool; got {array.dtype}")  # fmt: skip
    if not array.flags.c_contiguous:
        raise DtypeError(f"{name} must be contiguous in C order: pass np.ascontiguousarray({name})")
    return array


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`np.empty`; a large one begins at a multiple of 64 bytes, as stores past the caches need it."""
    size = math.prod(shape) * dtype.itemsize
    if size < 1 << 20:
        return np.empty(shape, dtype)
    memory = np.empty(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(dtype).reshape(shape)


def check_array(name: str, array: Array) -> Array:
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"{name} must be a NumPy array; got {type(array).__name__}")
    return array


def check_axes(name: str, array: Array, axes: str) -> None:
    """axes: one letter for each, "(B,T,I)", and what else there is to say of them."""
    if check_array(name, array).ndim != axes.partition(")")[0].count(",") + 1:
        raise ShapeError(f"{name} must be {axes}; got {array.shape}")


def writeable(name: str, array: Array) -> Array:
    if not array.flags.writeable:
        raise DtypeError(f"{name} is written to, and must be a writeable array")
    return array


def check_float(name: str, array: Array) -> None:
    if check_array(name, array).dtype not in FLOATS:
        raise DtypeError(f"{name} must be float32 or float64; got {array.dtype}")
