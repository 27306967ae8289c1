"""A mask from the numbers of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError
from everystep.layers.base import Layer
from everystep.layers.masks import any_feature, not_equal


class Masking(Layer):
    """Keras's Masking: a step whose features (B,T,I) all equal `mask_value` is masked, and becomes 0.

    Args:
        mask_value: a number.
        options: of `Layer`.
    """

    config_names = ("mask_value",)

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(mask_value, bool) or not isinstance(mask_value, (int, float, np.floating)):
            raise OptionError(f"layer {self.name!r}: mask_value must be a number; got {mask_value!r}")
        self.mask_value = mask_value if isinstance(mask_value, int) else float(mask_value)

    def apply(self, inputs: Array) -> Array:
        seen = self.compute_mask(inputs, None)
        return np.where(seen[..., None], inputs, np.zeros((), inputs.dtype))

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        return any_feature(not_equal(inputs, self.mask_value))
