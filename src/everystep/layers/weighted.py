"""An operation with weights: adding them, reading them, giving it others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import DtypeError, GraphError, ShapeError
from everystep.layers.checks import converted, dtype_name, require_list
from everystep.layers.operation import Operation

_WITHOUT_NUMBERS = ContextVar("_WITHOUT_NUMBERS", default=False)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Layers built meanwhile have weights of the right shape that take no time and no memory: all one zero.

    For a model whose weights come from elsewhere, once their shapes are known.
    """
    token = _WITHOUT_NUMBERS.set(True)
    try:
        yield
    finally:
        _WITHOUT_NUMBERS.reset(token)


class Weighted(Operation):
    """What a layer knows of its weights.

    Args:
        name: as of an operation.
        dtype: "float32" or "float64".

    Attributes:
        built_shape: the shape of the inputs that it was built for; None before.
        version: (1) int64, how often `set_weights` gave it others; always the same array.
    """

    def __init__(self, name: str | None, dtype: Any) -> None:
        super().__init__(name)
        self.dtype = dtype_name(self.name, dtype)
        self.built_shape: Any = None
        self._weights: dict[str, Array] = {}
        self.version = np.zeros(1, np.int64)
        self._as_packed: dict[str, tuple[Array, Any]] = {}

    def add_weight(
        self, name: str, shape: tuple[int, ...], draw: Callable[[tuple[int, ...], str], Array], dtype: str | None = None
    ) -> None:
        """Adds a weight; `draw` gives its first numbers. Its dtype is the layer's unless it is given."""
        dtype = self.dtype if dtype is None else dtype
        drawn = not _WITHOUT_NUMBERS.get()
        self._weights[name] = draw(shape, dtype) if drawn else np.broadcast_to(np.zeros((), dtype), shape)

    @property
    def built(self) -> bool:
        return self.built_shape is not None

    @property
    def named_weights(self) -> dict[str, Array]:
        """Every weight by name, in Keras's order; read-only views."""
        views = {name: weight.view() for name, weight in self._weights.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    @property
    def weights(self) -> list[Array]:
        """Every weight, in Keras's order; read-only views."""
        return list(self.named_weights.values())

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order."""
        return [weight.copy() for weight in self._weights.values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Takes numbers for all weights, in the order of `get_weights`; they are rounded to the layer's dtype.

        Raises:
            ShapeError: their count or a shape does not fit. DtypeError: they are not real numbers, or no list.
        """
        self._require_built("set_weights")
        require_list(f"layer {self.name!r}", weights)
        if len(weights) != len(self._weights):
            raise ShapeError(
                f"layer {self.name!r} has {len(self._weights)} weights ({', '.join(self._weights) or 'none'}); "
                f"got {len(weights)}"
            )
        taken = {}
        for (name, old), given in zip(self._weights.items(), weights, strict=True):
            new = np.asarray(given)
            if new.shape != old.shape:
                raise ShapeError(f"layer {self.name!r}: {name} must be of shape {old.shape}; got {new.shape}")
            if new.dtype.kind not in "biuf":
                raise DtypeError(f"layer {self.name!r}: {name} must hold real numbers; got {new.dtype}")
            if old.dtype.kind == "i":  # a count, which is not rounded
                new = converted(f"layer {self.name!r}: {name}", new, str(old.dtype))
            taken[name] = np.array(new, old.dtype, order="C")
        self._weights = taken
        self.version += 1

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: all but the weights as the engine has them packed, which are packed again."""
        state = super().__getstate__()
        state["_as_packed"] = {}
        return state | {"_packed": None} if "_packed" in state else state

    def packed_weight(self, name: str, pack: Callable[[Array], Any]) -> Any:
        """A weight as `pack` makes it for the engine: once, and again when there is another.

        It is kept with the weight it was made of, so that a thread that packs while another sets weights leaves
        nothing of the old ones behind.
        """
        self._require_built("a run")
        weight = self._weights[name]
        kept = self._as_packed.get(name)
        if kept is None or kept[0] is not weight:
            kept = self._as_packed[name] = (weight, pack(weight))
        return kept[1]

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        self._require_built("count_params")
        return sum(weight.size for weight in self._weights.values())

    def _require_built(self, what: str) -> None:
        if not self.built:
            raise GraphError(
                f"layer {self.name!r} has no weights yet, for {what}: call it on its inputs first, to know their size"
            )
