"""What `make bench` times: cells, shapes, forward or forward and all gradients."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import NamedTuple

from problem import LAYERS, Shape


class Case(NamedTuple):
    cell: str  # a key of LAYERS
    shape: Shape
    gradients: bool

    @property
    def what(self) -> str:
        return "forward, gradients" if self.gradients else "forward"

    def flops(self) -> float:
        return self.shape.flops(len(LAYERS[self.cell].cell.gates), self.gradients)


SHAPES = (
    Shape(1, 1, 32, 64),
    Shape(1, 100, 32, 64),
    Shape(1, 100, 256, 1024),
    Shape(32, 100, 64, 256),
    Shape(64, 200, 128, 512),
    Shape(32, 100, 256, 1024),
)
# One long sequence, which can only be as fast as its weights are read.
SEQUENCES = tuple(Shape(1, 1000, 32, H) for H in (32, 64, 128, 256, 512, 1024))

ALL = (
    *(Case(*case) for case in product(LAYERS, SHAPES, (False, True))),
    *(Case("lstm", shape, False) for shape in SEQUENCES),
)


def chosen(cells: Collection[str], shapes: Collection[Shape] | None, passes: Collection[bool]) -> list[Case]:
    """Those of ALL, or, of shapes that are named, every cell and pass."""
    wanted = ALL if shapes is None else [Case(*case) for case in product(LAYERS, shapes, (False, True))]
    return [case for case in wanted if case.cell in cells and case.gradients in passes]
