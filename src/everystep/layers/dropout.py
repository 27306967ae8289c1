"""What only training does: dropout and noise. Here each hands on what it gets.

Their arguments are Keras's, checked and kept for configs and for `to_keras()`.
"""

from __future__ import annotations

from typing import Any

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.base import Layer
from everystep.layers.checks import fraction
from everystep.layers.operation import Config
from everystep.layers.structure import flatten


class Identity(Layer):
    """Keras's Identity: hands on what it gets.

    Args:
        options: of `Layer`.
    """

    any_dtype = True

    def apply(self, inputs: Any) -> Any:
        return inputs

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return True

    def output_dtype(self, inputs: Any) -> str:
        return str(flatten(inputs)[0].dtype)


class Dropout(Identity):
    """Keras's Dropout.

    Args:
        rate: from 0 to 1. noise_shape, seed: kept.
        options: of `Layer`.
    """

    config_names = ("rate", "seed", "noise_shape")

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = fraction(self.name, "rate", rate)
        self.noise_shape = noise_shape
        self.seed = seed

    def apply(self, inputs: Array) -> Array:
        return inputs


class AlphaDropout(Dropout):
    """Keras's AlphaDropout, for SELU; arguments as Dropout."""


class GaussianDropout(Identity):
    """Keras's GaussianDropout.

    Args:
        rate: from 0 to 1. seed: kept.
        options: of `Layer`.
    """

    config_names = ("rate", "seed")

    def __init__(self, rate: float, seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = fraction(self.name, "rate", rate)
        self.seed = seed


class SpatialDropout1D(GaussianDropout):
    """Keras's SpatialDropout1D, of (B,T,I); arguments as GaussianDropout."""

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if len(inputs.shape) != 3:
            raise ShapeError(f"layer {self.name!r} takes sequences (B,T,I); got {tuple(inputs.shape)}")

    def get_config(self) -> Config:
        """Without `trainable`, which Keras's class does not take."""
        return {name: value for name, value in super().get_config().items() if name != "trainable"}


class GaussianNoise(Identity):
    """Keras's GaussianNoise.

    Args:
        stddev: from 0 to 1. seed: kept.
        options: of `Layer`.
    """

    config_names = ("stddev", "seed")

    def __init__(self, stddev: float, seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.stddev = fraction(self.name, "stddev", stddev)
        self.seed = seed


class ActivityRegularization(Identity):
    """Keras's ActivityRegularization.

    Args:
        l1, l2: kept.
        options: of `Layer`.
    """

    config_names = ("l1", "l2")

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        for name, value in (("l1", l1), ("l2", l2)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise OptionError(f"layer {self.name!r}: {name} must be a number from 0 on; got {value!r}")
        self.l1, self.l2 = l1, l2

    def get_config(self) -> Config:
        config = super().get_config()
        config.pop("activity_regularizer", None)  # which follows from l1 and l2
        return config
