"""The numbers that weights start with: Keras's initializers by name or config, drawn by NumPy.

The distributions are Keras's; the numbers that a seed gives are not, since each framework draws its own.
Without a seed they follow NumPy's global one, which `numpy.random.seed` and `keras.utils.set_random_seed` set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, UnsupportedError

Config = dict[str, Any]
Shape = tuple[int, ...]
Draw = Callable[["np.random.Generator", Shape, Config], Array]  # a name: NumPy imports it when it is used


def _variance_scaling(rng: np.random.Generator, shape: Shape, config: Config) -> Array:
    """Glorot and Bengio, 2010; He et al., 2015; LeCun et al., 1998: a variance of scale / fan."""
    fan_in, fan_out = _fans(shape, config)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[config["mode"]]
    scale = config["scale"] / max(1.0, fan)
    if config["distribution"] == "uniform":
        limit = math.sqrt(3 * scale)
        return rng.uniform(-limit, limit, shape)
    if config["distribution"] == "untruncated_normal":
        return rng.normal(0, math.sqrt(scale), shape)
    # Cut off at two of its deviations, a normal keeps this part of its deviation.
    return _truncated(rng, shape, 0, math.sqrt(scale) / 0.87962566103423978)


def _fans(shape: Shape, config: Config) -> tuple[int, int]:
    """How many numbers go into, and come out of, a weight of this shape."""
    inputs, outputs = config["input_axes"], config["output_axes"]
    if inputs is not None and outputs is not None:
        return math.prod(shape[axis] for axis in inputs), math.prod(shape[axis] for axis in outputs)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _truncated(rng: np.random.Generator, shape: Shape, mean: float, deviation: float) -> Array:
    drawn = rng.standard_normal(shape)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = rng.standard_normal(int(outside.sum()))
    return mean + deviation * drawn


def _orthogonal(rng: np.random.Generator, shape: Shape, config: Config) -> Array:
    """Saxe et al., 2014: orthonormal rows or columns, whichever are fewer, times the gain."""
    if len(shape) < 2:
        raise OptionError(f"an orthogonal initializer needs a weight of two axes or more; this one has shape {shape}")
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # makes the choice of q unique, so that it is spread evenly
    return np.asarray(config["gain"] * (q.T if rows < columns else q).reshape(shape))


def _identity(rng: np.random.Generator, shape: Shape, config: Config) -> Array:
    if len(shape) != 2:
        raise OptionError(f"an identity initializer needs a weight of two axes; this one has shape {shape}")
    return np.asarray(config["gain"] * np.eye(*shape))


_FANS = {"seed": None, "input_axes": None, "output_axes": None}


def _scaled(scale: float, mode: str, distribution: str) -> tuple[Config, Draw]:
    fixed = {"scale": scale, "mode": mode, "distribution": distribution}
    return _FANS, lambda rng, shape, config: _variance_scaling(rng, shape, config | fixed)


# Keras's class -> the options of its config with their defaults, and how it draws.
_KINDS: dict[str, tuple[Config, Draw]] = {
    "Zeros": ({}, lambda rng, shape, config: np.zeros(shape)),
    "Ones": ({}, lambda rng, shape, config: np.ones(shape)),
    "Constant": ({"value": 0.0}, lambda rng, shape, config: np.full(shape, config["value"])),
    "Identity": ({"gain": 1.0}, _identity),
    "RandomNormal": (
        {"seed": None, "mean": 0.0, "stddev": 0.05},
        lambda rng, shape, config: rng.normal(config["mean"], config["stddev"], shape),
    ),
    "RandomUniform": (
        {"seed": None, "minval": -0.05, "maxval": 0.05},
        lambda rng, shape, config: rng.uniform(config["minval"], config["maxval"], shape),
    ),
    "TruncatedNormal": (
        {"seed": None, "mean": 0.0, "stddev": 0.05},
        lambda rng, shape, config: _truncated(rng, shape, config["mean"], config["stddev"]),
    ),
    "VarianceScaling": (
        {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", **_FANS},
        _variance_scaling,
    ),
    "GlorotUniform": _scaled(1.0, "fan_avg", "uniform"),
    "GlorotNormal": _scaled(1.0, "fan_avg", "truncated_normal"),
    "HeUniform": _scaled(2.0, "fan_in", "uniform"),
    "HeNormal": _scaled(2.0, "fan_in", "truncated_normal"),
    "LecunUniform": _scaled(1.0, "fan_in", "uniform"),
    "LecunNormal": _scaled(1.0, "fan_in", "truncated_normal"),
    "Orthogonal": ({"seed": None, "gain": 1.0}, _orthogonal),
}
NAMES = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower(): kind for kind in _KINDS}  # "glorot_uniform" and so on
NAMES |= {kind: kind for kind in _KINDS}
NAMES |= {"zero": "Zeros", "one": "Ones", "uniform": "RandomUniform", "normal": "RandomNormal"}
NAMES |= {"OrthogonalInitializer": "Orthogonal", "IdentityInitializer": "Identity"}
_ALLOWED = {
    "mode": ("fan_in", "fan_out", "fan_avg"),
    "distribution": ("uniform", "truncated_normal", "untruncated_normal"),
}


class Initializer:
    """Draws a weight.

    Args:
        kind: Keras's name, such as "glorot_uniform" or "GlorotUniform".
        options: of that initializer's config, such as seed=7. With a seed every weight of one shape is the same.

    Raises:
        UnsupportedError: the kind, or OptionError: an option, is not known.
    """

    def __init__(self, kind: str, **options: Any) -> None:
        if kind not in NAMES:
            raise UnsupportedError(f"initializer {kind!r} is not one of {', '.join(_KINDS)}")
        self.kind = NAMES[kind]
        defaults, _ = _KINDS[self.kind]
        unknown = sorted(set(options) - set(defaults))
        if unknown:
            raise OptionError(f"{self.kind} has no option {', '.join(unknown)}; it has {', '.join(defaults) or 'none'}")
        self.options: Config = defaults | options
        if self.options.get("distribution") == "normal":  # as Keras reads it
            self.options["distribution"] = "truncated_normal"
        for name, allowed in _ALLOWED.items():
            if name in self.options and self.options[name] not in allowed:
                raise OptionError(f"{self.kind}: {name} must be one of {', '.join(allowed)}; got {options[name]!r}")
        if not isinstance(self.options.get("seed"), (int, type(None))):
            raise UnsupportedError(f"{self.kind}: seed must be a whole number or None; got {options['seed']!r}")

    def __call__(self, shape: Shape, dtype: str = "float32") -> Array:
        """An array of this shape."""
        seed = self.options.get("seed")
        if seed is None and "seed" in self.options:
            seed = np.random.randint(2**31 - 1)  # noqa: NPY002  (the seed that a user's numpy.random.seed reaches)
        _, draw = _KINDS[self.kind]  # not kept: an initializer is pickled, and a lambda cannot be
        return np.array(draw(np.random.default_rng(seed), shape, self.options), dtype, order="C")  # () stays ()

    def get_config(self) -> Config:
        """In Keras's serialized form."""
        return {
            "module": "keras.initializers",
            "class_name": self.kind,
            "config": dict(self.options),
            "registered_name": None,
        }


def initializer(given: Any) -> Initializer:
    """An initializer from a name, from Keras's serialized form, or as it is.

    Raises:
        UnsupportedError: it is something else, or of an unknown kind.
    """
    if isinstance(given, Initializer):
        return given
    if isinstance(given, str):
        return Initializer(given)
    if isinstance(given, dict) and "class_name" in given:
        return Initializer(given["class_name"], **given.get("config", {}))
    raise UnsupportedError(
        f"an initializer must be a name, such as 'glorot_uniform', or Keras's config of one; got {given!r}"
    )
