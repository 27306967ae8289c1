"""Steps left out at the ends of a sequence."""

from __future__ import annotations

from typing import Any

from everystep.engine import Array
from everystep.layers.windows import Window, Windowed, two_numbers


class Cropping1D(Windowed):
    """Keras's Cropping1D: (B,T,I) without its first a and its last b steps.

    In a stream step t completes the output of step t - b, if there is one: of a window of b + 1 steps, the first.

    Args:
        cropping: a and b; or one number for both.
        options: of `Layer`.
    """

    config_names = ("cropping",)
    refuses_short = True

    def __init__(self, cropping: Any = (1, 1), **options: Any) -> None:
        super().__init__(**options)
        self.cropping = a, b = two_numbers(self.name, "cropping", cropping)
        self.set_windows(b + 1)
        self.window = Window(b + 1, 1, 1, a + b)
        self.own_clock = a + b > 0

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return not any(self.cropping)

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        return self.window.tap(x, count, 0).copy()
