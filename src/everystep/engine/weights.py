"""A cell's weights as the kernels read them."""

from __future__ import annotations

from typing import NamedTuple

from everystep import _engine
from everystep.cells import CELLS, Cell
from everystep.engine.arrays import Array, check, check_axes, check_float
from everystep.errors import OptionError

CELL_CODES = {name: code for code, name in enumerate(CELLS)}


class Packed(NamedTuple):
    """A cell's weights in the layout of this machine's instruction set; never store `data`.

    Attributes:
        cell: which cell they are of.
        inputs: I.
        units: H.
        data: the packed weights and bias, of the weights' dtype.
    """

    cell: Cell
    inputs: int
    units: int
    data: Array


def pack(cell: str, kernel: Array, recurrent_kernel: Array, bias: Array | None = None) -> Packed:
    """Packs a cell's weights once for any number of runs and steps.

    Args:
        cell: a key of `everystep.cells.CELLS`.
        kernel: (I,GH), float32 or float64.
        recurrent_kernel: (H,GH), of the same dtype.
        bias: (GH), (2,GH) for a cell that has two, or None for zeros.

    Raises:
        OptionError: the cell is unknown. ShapeError, DtypeError: a weight does not fit.
    """
    if not isinstance(cell, str) or cell not in CELLS:
        raise OptionError(f"cell must be one of {', '.join(CELLS)}; got {cell!r}")
    of = CELLS[cell]
    check_axes("kernel", kernel, "(I,GH)")
    check_axes("recurrent_kernel", recurrent_kernel, "(H,GH)")
    check_float("recurrent_kernel", recurrent_kernel)
    inputs, units = kernel.shape[0], recurrent_kernel.shape[0]
    shapes = of.weight_shapes(inputs, units)
    dtype = recurrent_kernel.dtype
    kernel = check("kernel", kernel, shapes["kernel"], dtype)
    recurrent_kernel = check("recurrent_kernel", recurrent_kernel, shapes["recurrent_kernel"], dtype)
    bias = None if bias is None else check("bias", bias, shapes["bias"], dtype)
    return Packed(of, inputs, units, _engine.pack(CELL_CODES[cell], kernel, recurrent_kernel, bias))
