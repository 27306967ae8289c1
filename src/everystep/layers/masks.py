"""The small functions that masks are computed by, of arrays at once or of symbolic tensors in a graph.

Keras enters them in a model's graph, and in its config, between the layers; so do we, under the same names.
"""

from __future__ import annotations

from typing import Any

from everystep.layers.operations import apply
from everystep.layers.operations.kind import joined as joined_shape

__all__ = ["any_feature", "apply", "flip", "joined_shape", "not_equal"]


def not_equal(x: Any, value: float) -> Any:
    return apply("NotEqual", x, value)


def any_feature(x: Any) -> Any:
    """Whether any entry along the last axis holds."""
    return apply("Any", x, axis=-1)


def flip(x: Any, axis: int) -> Any:
    return apply("Flip", x, axis=axis)
