"""What every recurrent cell is: arguments, weights, the state before the first step, and one step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep import cells, engine
from everystep.engine import Array, Packed
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers.activations import activation_name
from everystep.layers.base import Layer, State
from everystep.layers.checks import check_flags, fraction, require_arrays, whole_number, wrong_state
from everystep.layers.initializers import Initializer, initializer


class Cell(Layer):
    """A recurrent cell with its weights: `cell(inputs_t, states)` is one step, and RNN runs it over sequences.

    LSTM, GRU and SimpleRNN are their cells and run themselves.

    Args:
        units: H.
        the others: as in Keras. Regularizers, constraints, dropouts and seed are kept for `to_keras()`.
        options: of `Layer`.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("inputs", "states", "training")
    recurrent_activation: str = "sigmoid"  # of a cell without gates: not used
    trainable_initial_state: bool = False  # set by the layer that runs it, before its weights are made

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = whole_number(self.name, "units", units)
        self.activation = activation_name(self.name, "activation", activation, elementwise=True)
        self.use_bias = use_bias
        self.kernel_initializer = initializer(kernel_initializer)
        self.recurrent_initializer = initializer(recurrent_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.kernel_regularizer = kernel_regularizer
        self.recurrent_regularizer = recurrent_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.recurrent_constraint = recurrent_constraint
        self.bias_constraint = bias_constraint
        self.dropout = fraction(self.name, "dropout", dropout)
        self.recurrent_dropout = fraction(self.name, "recurrent_dropout", recurrent_dropout)
        self.seed = seed
        check_flags(self, "use_bias")
        self._packed: tuple[dict[str, Array], Packed] | None = None  # with the weights that were packed

    @property
    def spec(self) -> cells.Cell:
        """Its gates, states and weight shapes."""
        raise NotImplementedError

    # ---- Weights ----

    def build(self, input_shape: Any) -> None:
        shapes = self.spec.weight_shapes(input_shape[-1], self.units)
        self.add_weight("kernel", shapes["kernel"], self.kernel_initializer)
        self.add_weight("recurrent_kernel", shapes["recurrent_kernel"], self.recurrent_initializer)
        if self.use_bias:
            self.add_weight("bias", shapes["bias"], self.first_bias)
        if self.trainable_initial_state:
            for state in self.spec.states:
                self.add_weight(f"initial_{state}", (self.units,), Initializer("zeros"))

    def first_bias(self, shape: tuple[int, ...], dtype: str) -> Array:
        """The bias to begin with."""
        return self.bias_initializer(shape, dtype)

    @property
    def packed(self) -> Packed:
        """The weights as the engine reads them."""
        self._require_built("a run")
        w, kept = self._weights, self._packed  # read once: another thread may set weights meanwhile
        if kept is None or kept[0] is not w:
            packed = engine.pack(self.spec.name, w["kernel"], w["recurrent_kernel"], w.get("bias"))
            kept = self._packed = (w, packed)
        return kept[1]

    @property
    def functions(self) -> dict[str, Any]:
        """What the engine takes of this cell, whatever it runs over."""
        return {
            "packed": self.packed,
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
        }

    # ---- One step ----

    def first_states(self, batch_size: int) -> tuple[Array, ...]:
        """The states before the first step, (B,H) each: the trainable ones, else zeros."""
        shape = (batch_size, self.units)
        if not self.trainable_initial_state:
            return tuple(np.zeros(shape, self.dtype) for _ in self.spec.states)
        self._require_built("an initial state")
        rows = (self._weights[f"initial_{state}"] for state in self.spec.states)
        return tuple(np.array(np.broadcast_to(row, shape), order="C") for row in rows)

    def taken(self, states: Any, batch_size: int, layer: str) -> tuple[Array, ...]:
        """The states that were handed in to go on from, (B,H) each; the first ones where that is None.

        Args:
            layer: whose state it is, for the message.

        Raises:
            ShapeError, DtypeError: they are not as many arrays of this shape and of the layer's dtype.
        """
        if states is None:
            return self.first_states(batch_size)
        given, shape = states if isinstance(states, (list, tuple)) else [states], (batch_size, self.units)
        if len(given) != len(self.spec.states) or any(getattr(one, "shape", None) != shape for one in given):
            raise wrong_state(layer, ", ".join(f"{state} {shape}" for state in self.spec.states), given)
        for one in given:
            if one.dtype != self.dtype:
                raise DtypeError(f"layer {layer!r} is {self.dtype}, and the state that it was given {one.dtype}")
        return tuple(np.ascontiguousarray(state) for state in given)

    def initial_state(self, batch_size: int) -> State:
        return self.first_states(batch_size)

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, states: Any = None
    ) -> tuple[Any, State]:
        """A cell knows single steps only, so this is `step`; it returns h and, as Keras's cells do, the new states."""
        new, _ = self._stepped(inputs, state if states is None else states)
        return (new[0], list(new)), new

    def step(self, inputs_t: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """One time step (B,I): h, and the new states."""
        new, _ = self._stepped(inputs_t, state)
        return new[0], new

    def _stepped(self, inputs_t: Any, states: Any) -> engine.Step:
        require_arrays(self.name, inputs_t)
        x_t = np.ascontiguousarray(inputs_t)
        return engine.step(x_t=x_t, states=self.taken(states, len(x_t), self.name), **self.functions)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        wanted = self._weights["kernel"].shape[0] if self.built else None
        if len(inputs.shape) != 2 or wanted not in (None, inputs.shape[1]):
            raise ShapeError(
                f"layer {self.name!r} is a cell and takes one step (B,{'I' if wanted is None else wanted}); "
                f"got {tuple(inputs.shape)}"
            )

    def check_call(self, call: dict[str, Any]) -> None:
        raise UnsupportedError(
            f"layer {self.name!r} is a cell, which takes one step; in a model, RNN runs it: RNN(cell)(x)"
        )


class GatedCell(Cell):
    """A cell with gates, which have an activation of their own.

    Args:
        recurrent_activation: by name, from `everystep.engine_info()["activations"]`.
        implementation: 0, 1 or 2; changes nothing.
        arguments: of `Cell`.
    """

    def __init__(self, recurrent_activation: Any, implementation: int = 2, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.recurrent_activation = activation_name(
            self.name, "recurrent_activation", recurrent_activation, elementwise=True
        )
        if implementation not in (0, 1, 2):
            raise OptionError(
                f"layer {self.name!r}: implementation must be 1 or 2, or 0 as of old; got {implementation!r}"
            )
