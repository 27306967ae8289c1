"""Any layer, on each step of a sequence by itself."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.base import Layer, State
from everystep.layers.checks import require_arrays
from everystep.layers.composite import Composite, one_dtype
from everystep.layers.tensor import Tensor


class TimeDistributed(Composite):
    """Keras's TimeDistributed: a layer on each step of (B,T,...), as if every step were a row of its own.

    So it goes one step at a time whatever the layer is: an LSTM in it starts afresh at every step, with that step's
    (B,S,I) as its sequence.

    Args:
        layer: any layer or model that takes and returns one array.
        options: of `Layer`.

    Call arguments:
        inputs: (B,T,...). mask: (B,T,...), handed to the layer step by step, if it takes one; (B,T) alone goes on to
        the layers after this one only.

    Weights: those of the layer.
    """

    our_module = "everystep.keras.containers"
    parts: ClassVar[dict[str, str]] = {"layer": "layer"}
    call_arguments = ("inputs", "training", "mask")

    def __init__(self, layer: Any, dtype: Any = None, **options: Any) -> None:
        if not isinstance(layer, Layer):
            raise OptionError(f"TimeDistributed takes a layer; got {type(layer).__name__}")
        dtype = dtype if layer.any_dtype and dtype is not None else one_dtype("TimeDistributed", dtype, [layer])
        super().__init__(dtype=dtype, **options)
        self.layer = layer
        self.any_dtype = layer.any_dtype

    def build(self, input_shape: Any) -> None:
        self.layer.build_once((input_shape[0], *input_shape[2:]))

    def check(self, inputs: Any) -> None:
        shape = tuple(inputs.shape)
        if len(shape) < 3:
            raise ShapeError(f"layer {self.name!r} takes sequences (B,T,...) of three axes or more; got {shape}")
        self.layer.check(_step_of(inputs, self.name))

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """Whole sequences (B,T,...): the steps are rows of one call of the layer."""
        require_arrays(self.name, inputs)
        B, T = inputs.shape[:2]
        folded = np.ascontiguousarray(inputs).reshape(B * T, *inputs.shape[2:])
        outputs = self._applied(folded, None if mask is None else mask.reshape(B * T, *mask.shape[2:]))
        return outputs.reshape(B, T, *outputs.shape[1:]), ()

    def step(  # type: ignore[override]
        self, inputs_t: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """One step (B,...), on which the layer runs."""
        require_arrays(self.name, inputs_t)
        return self._applied(np.ascontiguousarray(inputs_t), mask), ()

    def _applied(self, rows: Array, mask: Array | None) -> Array:
        takes = mask is not None and mask.ndim > 1 and "mask" in self.layer.call_arguments
        outputs: Array = self._only(self.layer.run(rows, **({"mask": mask} if takes else {}))[0])
        return outputs

    def symbolic_outputs(self, inputs: Any) -> Any:
        output = self._only(self.layer.symbolic_outputs(_step_of(inputs, self.name)))
        return Tensor((output.shape[0], inputs.shape[1], *output.shape[1:]), output.dtype, self.name)

    def _only(self, output: Any) -> Any:
        if isinstance(output, (list, tuple, dict)):
            raise UnsupportedError(
                f"layer {self.name!r} is a TimeDistributed of {self.layer.name!r}, which returns {len(output)} arrays; "
                "it stacks one. Let that layer return one"
            )
        return output


def _step_of(inputs: Any, name: str) -> Tensor:
    """A tensor of one step of the inputs."""
    shape = tuple(inputs.shape)
    return Tensor((shape[0], *shape[2:]), str(inputs.dtype), name)
