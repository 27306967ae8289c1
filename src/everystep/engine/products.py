"""Products with a matrix and elementwise functions: what Dense layers are made of, under the same bits contract."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from everystep import _engine
from everystep.engine.arguments import activation_code
from everystep.engine.arrays import Array, check, check_array, check_axes, check_float, writeable
from everystep.errors import OptionError


class PackedMatrix(NamedTuple):
    """A (K,N) matrix in the layout of this machine's instruction set, for `product`; never store `data`."""

    rows: int
    columns: int
    data: Array


def pack_matrix(matrix: Array) -> PackedMatrix:
    """Packs a (K,N) matrix, float32 or float64, once for any number of products."""
    check_axes("matrix", matrix, "(K,N)")
    check_float("matrix", matrix)
    matrix = check("matrix", matrix, matrix.shape, matrix.dtype)
    K, N = matrix.shape
    return PackedMatrix(K, N, _engine.pack_matrix(matrix))


def product(
    a: Array, matrix: PackedMatrix, bias: Array | None = None, activation: str = "linear", out: Array | None = None
) -> Array:
    """activation(a matrix + bias), (...,K) by (K,N): each number is the bias, then the products in the order of K.

    Raises:
        ShapeError, DtypeError: an array does not fit the matrix. OptionError: an unknown activation, or an `out`
            that shares memory with what is read.
    """
    K, N, dtype = matrix.rows, matrix.columns, matrix.data.dtype
    rows = check_array("a", a).shape[:-1]
    a = check("a", a, (*rows, K), dtype)
    bias = None if bias is None else check("bias", bias, (N,), dtype)
    if out is None:
        out = np.empty((*rows, N), dtype)
    else:
        out = writeable("out", check("out", out, (*rows, N), dtype))
        if np.may_share_memory(out, a) or (bias is not None and np.may_share_memory(out, bias)):
            raise OptionError("out shares memory with a or bias, which are read while it is written: pass another")
    M = math.prod(rows)
    code = activation_code("activation", activation)
    _engine.product(a.reshape(M, K), matrix.data, bias, code, out.reshape(M, N))
    return out


def activate(name: str, x: Array, out: Array | None = None) -> Array:
    """An elementwise activation of a float32 or float64 array; `out` may be x itself."""
    check_float("x", x)
    x = check("x", x, x.shape, x.dtype)
    out = np.empty_like(x) if out is None else writeable("out", check("out", out, x.shape, x.dtype))
    _engine.activate(activation_code("name", name), x.reshape(-1), out.reshape(-1))
    return out
