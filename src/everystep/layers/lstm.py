"""Keras's LSTM on the engine, without Keras, with every state in reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.cells import LSTM as CELL
from everystep.engine import Array, Packed
from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.activations import activation_name
from everystep.layers.base import Layer, State
from everystep.layers.checks import check_flags, fraction, require_arrays, sizes_fit, whole_number
from everystep.layers.initializers import Initializer, initializer
from everystep.layers.masks import flip
from everystep.layers.operation import Config
from everystep.layers.structure import flatten
from everystep.layers.tensor import Shape


class LSTM(Layer):
    """Long short-term memory: Keras's LSTM, its arguments, weights and numbers.

    Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to Forget" (2000); the equations are at the top of `engine/cells/lstm.h`.

    A masked step carries h and c and outputs the carried h (0 with `zero_output_for_mask`). Sequences come in
    processing order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        activation, recurrent_activation: by name, from `everystep.engine_info()["activations"]`.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias: as in Keras.
        return_sequences: return h at every step, (B,T,H), in the place of the last one, (B,H).
        return_state: return also the last h and c, (B,H) each.
        go_backwards: take the steps from the last to the first.
        zero_output_for_mask: the output of a masked step is 0.
        stateful: kept for `to_keras()`. Here each call starts from the initial state, and whoever wants to go on
            passes the state on: to `run` or `step`, or as `initial_state`.
        unroll, use_cudnn, implementation: change nothing; unroll is kept for `to_keras()`.
        return_cell_sequences: append c at every step, (B,T,H), to the outputs.
        return_gates: append the gates i, f, g, o at every step, after their activation and 0 on masked steps,
            (B,T,4,H), to the outputs, last of all. They carry no mask.
        trainable_initial_state: h and c before the first step are weights, (H) each, after the bias, zero at first.
        kernel_regularizer and the other regularizers and constraints, dropout, recurrent_dropout, seed: kept for
            `to_keras()`; they matter in training.
        options: of `Layer`.

    Call arguments:
        sequences: (B,T,I). T = 0 returns the initial state and empty sequences.
        initial_state: h and c, (B,H) each, in the place of zeros or of the trainable state.
        mask: (B,T) bool; False: this step is skipped. As in Keras, a mask that comes with `sequences` in a model is
            not used in a call that passes `initial_state`.
        resets: (B,T) bool, aligned with `sequences`; True: before this step, masked or not, this row goes back to
            its initial state: `initial_state` if it is passed, else the trainable one or zeros.

    Returns:
        Keras's own outputs, first and unchanged; then the additions. One array, or a tuple of several.

    Weights: kernel (I,4H), recurrent_kernel (H,4H), bias (4H); the columns are i, f, g, o.
    """

    config_names = (
        "return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask",
        "units", "activation", "recurrent_activation", "use_bias",
        "kernel_initializer", "recurrent_initializer", "bias_initializer", "unit_forget_bias",
        "kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "activity_regularizer",
        "kernel_constraint", "recurrent_constraint", "bias_constraint",
        "dropout", "recurrent_dropout", "seed",
    )  # fmt: skip
    call_arguments = ("sequences", "initial_state", "mask", "training", "resets")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        implementation: int = 2,
        zero_output_for_mask: bool = False,
        return_cell_sequences: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.units = whole_number(self.name, "units", units)
        self.activation = activation_name(self.name, "activation", activation, elementwise=True)
        self.recurrent_activation = activation_name(
            self.name, "recurrent_activation", recurrent_activation, elementwise=True
        )
        self.use_bias = use_bias
        self.kernel_initializer = initializer(kernel_initializer)
        self.recurrent_initializer = initializer(recurrent_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.unit_forget_bias = unit_forget_bias
        self.kernel_regularizer = kernel_regularizer
        self.recurrent_regularizer = recurrent_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.recurrent_constraint = recurrent_constraint
        self.bias_constraint = bias_constraint
        self.dropout = fraction(self.name, "dropout", dropout)
        self.recurrent_dropout = fraction(self.name, "recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.return_cell_sequences = return_cell_sequences
        self.return_gates = return_gates
        self.trainable_initial_state = trainable_initial_state
        check_flags(self, *FLAGS, *ADDITIONS)
        if implementation not in (0, 1, 2):
            raise OptionError(
                f"layer {self.name!r}: implementation must be 1 or 2, or 0 as of old; got {implementation!r}"
            )
        self._packed: Packed | None = None

    # ---- Weights ----

    def build(self, input_shape: Any) -> None:
        shapes = CELL.weight_shapes(input_shape[-1], self.units)
        self.add_weight("kernel", shapes["kernel"], self.kernel_initializer)
        self.add_weight("recurrent_kernel", shapes["recurrent_kernel"], self.recurrent_initializer)
        if self.use_bias:
            self.add_weight("bias", shapes["bias"], self.bias_initializer)
            if self.unit_forget_bias:
                # Keras draws the bias in three pieces, i, then f as ones, then g and o together.
                draw, H = self.bias_initializer, self.units
                pieces = draw((H,), self.dtype), np.ones(H, self.dtype), draw((2 * H,), self.dtype)
                self._weights["bias"] = np.concatenate(pieces)
        if self.trainable_initial_state:
            for name in ("initial_h", "initial_c"):
                self.add_weight(name, (self.units,), Initializer("zeros"))

    def weights_changed(self) -> None:
        self._packed = None

    @property
    def packed(self) -> Packed:
        """The weights as the engine reads them."""
        if self._packed is None:
            self._require_built("a run")
            weights = self._weights
            self._packed = engine.pack(CELL.name, weights["kernel"], weights["recurrent_kernel"], weights.get("bias"))
        return self._packed

    # ---- Run and step ----

    def initial_state(self, batch_size: int) -> tuple[Array, ...]:
        """h and c before the first step, (B,H) each: the trainable ones, else zeros."""
        shape = (batch_size, self.units)
        if not self.trainable_initial_state:
            return tuple(np.zeros(shape, self.dtype) for _ in CELL.states)
        self._require_built("an initial state")
        return tuple(np.array(np.broadcast_to(self._weights[f"initial_{s}"], shape), order="C") for s in CELL.states)

    def run(  # type: ignore[override]
        self,
        inputs: Any,
        state: State = None,
        *,
        initial_state: Any = None,
        mask: Array | None = None,
        resets: Array | None = None,
    ) -> tuple[Any, State]:
        """Whole sequences (B,T,I), from `state` on, by default the initial one; other arguments as in a call."""
        require_arrays(self.name, inputs)
        x = np.ascontiguousarray(inputs)
        B, T = x.shape[:2]
        initial = self.initial_state(B) if initial_state is None else self._given_state(initial_state, B)
        mask, resets = self._flags("mask", mask, (B, T)), self._flags("resets", resets, (B, T))
        h, last, cells, gates, _ = engine.run(
            self.packed,
            x,
            initial if state is None else state,
            mask=mask,
            resets=resets,
            reset_states=None if resets is None else initial,
            backwards=self.go_backwards,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            sequences=self.return_sequences,
            cells=self.return_cell_sequences,
            gates=self.return_gates,
        )
        if self.zero_output_for_mask and mask is not None and T:
            seen = mask[:, ::-1] if self.go_backwards else mask
            h = _zero_where_masked(h, seen if self.return_sequences else seen[:, -1])
        return self._outputs(h, last, cells, gates), last

    def step(  # type: ignore[override]
        self,
        inputs_t: Any,
        state: State = None,
        *,
        initial_state: Any = None,
        mask: Array | None = None,
        resets: Array | None = None,
    ) -> tuple[Any, State]:
        """One time step (B,I); mask and resets are (B). Sequences are returned as their newest step."""
        self.check_step()
        require_arrays(self.name, inputs_t)
        x_t = np.ascontiguousarray(inputs_t)
        B = x_t.shape[0]
        initial = self.initial_state(B) if initial_state is None else self._given_state(initial_state, B)
        mask, resets = self._flags("mask", mask, (B,)), self._flags("resets", resets, (B,))
        last, gates = engine.step(
            self.packed,
            x_t,
            initial if state is None else state,
            mask=mask,
            resets=resets,
            reset_states=None if resets is None else initial,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            gates=self.return_gates,
        )
        h, c = last
        if self.zero_output_for_mask and mask is not None:
            h = _zero_where_masked(h, mask)
        return self._outputs(h, last, c if self.return_cell_sequences else None, gates), last

    def step_obstacle(self) -> str | None:
        return "go_backwards=True begins with the last step" if self.go_backwards else None

    def _outputs(self, h: Array, last: tuple[Array, ...], cells: Array | None, gates: Array | None) -> Any:
        outputs = (h, *(last if self.return_state else ()), *(v for v in (cells, gates) if v is not None))
        return outputs if len(outputs) > 1 else h

    def _given_state(self, given: Any, B: int) -> tuple[Array, ...]:
        """h and c of an `initial_state`, checked."""
        states = list(given) if isinstance(given, (list, tuple)) else [given]
        self._check_state(states, B)
        return tuple(np.ascontiguousarray(state) for state in states)

    def _check_state(self, states: list[Any], B: int | None) -> None:
        expected = (B, self.units)
        if len(states) != len(CELL.states) or not all(sizes_fit(tuple(s.shape), expected) for s in states):
            raise ShapeError(
                f"layer {self.name!r}: initial_state must be h and c, of shape {expected} each; got {len(states)}: "
                f"{', '.join(str(tuple(state.shape)) for state in states)}. Pass a list of the two"
            )
        for state in states:
            if str(state.dtype) != self.dtype:
                raise DtypeError(f"layer {self.name!r} is {self.dtype}, and its initial_state {state.dtype}")

    def _flags(self, name: str, flags: Any, shape: tuple[int, ...]) -> Array | None:
        """mask or resets as bool of this shape."""
        if flags is None:
            return None
        flags = np.asarray(flags[0] if isinstance(flags, (list, tuple)) else flags)
        if flags.ndim == len(shape) + 1:  # as in Keras, a step counts if any of its features does
            flags = flags.any(axis=-1)
        self._check_flags_fit(name, flags.shape, shape)
        return np.ascontiguousarray(np.broadcast_to(flags.astype(bool), shape))

    def _check_flags_fit(self, name: str, given: Shape, shape: Shape) -> None:
        """Raises unless mask or resets of the shape `given` can be of this shape; one row counts for all."""
        if not sizes_fit(given, shape) and not sizes_fit(given, (1, *shape[1:])):
            axes = "(B,T)" if len(shape) == 2 else "(B,)"
            raise ShapeError(f"layer {self.name!r}: {name} must be {axes}, here {shape}; got {given}")

    # ---- Graph and config ----

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        wanted = self._weights["kernel"].shape[0] if self.built else None
        shape = tuple(inputs.shape)
        if len(shape) != 3 or shape[2] is None or wanted not in (None, shape[2]):
            raise ShapeError(
                f"layer {self.name!r} takes sequences (B,T,{'I' if wanted is None else wanted}), with a known number "
                f"of features; got {shape}"
            )

    def check_call(self, call: dict[str, Any]) -> None:
        if call.get("initial_state") is not None:
            given = call["initial_state"]
            self._check_state(list(given) if isinstance(given, (list, tuple)) else [given], None)
        for name in ("mask", "resets"):
            for flags in flatten(call.get(name)):
                if flags is not None:
                    per_step = flags.shape[:2] if len(flags.shape) == 3 else flags.shape
                    self._check_flags_fit(name, per_step, tuple(call["sequences"].shape[:2]))

    def takes_implicit_mask(self, call: dict[str, Any]) -> bool:
        return call.get("initial_state") is None

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        own = mask if self.return_sequences else None
        # Keras hands on its own output's mask in time order even when that output is in processing order.
        in_order = flip(mask, axis=1) if mask is not None and self.go_backwards else mask
        states = [None] * len(CELL.states) * self.return_state
        # A mask of (B,T) would meet the units of the gates (B,T,4,H) in Keras; they are 0 on masked steps as it is.
        masks = [own, *states, *[in_order] * self.return_cell_sequences, *[None] * self.return_gates]
        return masks if len(masks) > 1 else own

    def compute_output_shape(self, input_shape: Any) -> Any:
        (B, T, _), H = input_shape, self.units
        shapes: list[Shape] = [(B, T, H) if self.return_sequences else (B, H)]
        shapes += [(B, H)] * len(CELL.states) * self.return_state
        shapes += [(B, T, H)] * self.return_cell_sequences
        shapes += [(B, T, len(CELL.gates), H)] * self.return_gates
        return shapes if len(shapes) > 1 else shapes[0]

    def output_words(self) -> list[str]:
        words = ["h at every step" if self.return_sequences else "h at the last step"]
        words += ["last h", "last c"] * self.return_state
        words += ["c at every step"] * self.return_cell_sequences
        words += ["gates i, f, g, o at every step"] * self.return_gates
        return words

    def get_config(self) -> Config:
        return {**super().get_config(), **{name: True for name in ADDITIONS if getattr(self, name)}}


FLAGS = (
    "use_bias",
    "unit_forget_bias",
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
)
EXTRA_OUTPUTS = ("return_cell_sequences", "return_gates")
ADDITIONS = (*EXTRA_OUTPUTS, "trainable_initial_state")  # all that is unknown to Keras's LSTM


def _zero_where_masked(h: Array, seen: Array) -> Array:
    return np.where(seen[..., None], h, np.zeros((), h.dtype))
