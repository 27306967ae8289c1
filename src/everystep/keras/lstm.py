"""Keras's LSTM layer on the engine, with every state in reach."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from everystep.cells import LSTM as CELL
from everystep.errors import ShapeError
from everystep.keras import loop
from everystep.keras.route import activation_name, adapter, layer_route

Tensor = Any  # a tensor of Keras's backend
Shape = tuple[int | None, ...]


class InitialState(keras.layers.Layer):
    """The trainable state before the first step, one for all rows: initial_h (H) and initial_c (H)."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Shape | None = None) -> None:
        self.initial_h = self.add_weight(shape=(self.units,), initializer="zeros", name="initial_h")
        self.initial_c = self.add_weight(shape=(self.units,), initializer="zeros", name="initial_c")


@keras.saving.register_keras_serializable("everystep")
class LSTM(keras.layers.LSTM):
    """Keras's LSTM: same arguments, weights and numbers. On JAX and CPU it runs on everystep's engine.

    Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to Forget" (2000); the equations are at the top of `everystep/keras/loop.py`.

    A masked step carries h and c and outputs the carried h (0 with `zero_output_for_mask`), on every backend;
    `unroll` and `implementation` change nothing, except that `implementation=1` draws an input dropout mask per gate.
    Sequences come in processing order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        args, kwargs: all of `keras.layers.LSTM`'s arguments.
        return_cell_sequences: append c at every step, (B,T,H), to the outputs.
        return_gates: append the gates i, f, g, o at every step, after their activation and 0 on masked steps,
            (B,T,4,H), to the outputs, last of all. They carry no mask. (Keras applies an `activity_regularizer` to
            every output.)
        trainable_initial_state: h and c before the first step are weights, (H) each, after the bias, zero at first.

    Call arguments:
        sequences: (B,T,I). T = 0 returns the initial state and empty sequences.
        initial_state: h and c, (B,H) each, in the place of zeros, of the trainable state and of a stateful layer's.
        mask: (B,T) bool; False: this step is skipped. As in Keras, a mask that comes with `sequences` is not used
            in a call that passes `initial_state`.
        training: whether to apply dropout.
        resets: (B,T) bool, aligned with `sequences`; True: before this step, masked or not, this row goes back to
            its initial state: `initial_state` if it is passed, else the trainable one or zeros.
        sequences_mask: the mask that comes with `sequences`; Keras passes it.

    Returns:
        Keras's own outputs, first and unchanged: h at the last step (B,H), or at every step (B,T,H) with
        `return_sequences`; then the last h and c, (B,H) each, with `return_state`. Then the additions.

    Raises:
        ShapeError: a state, mask or resets does not fit `sequences`, or the batch a stateful layer.
    """

    def __init__(
        self,
        units: int,
        *args: Any,
        return_cell_sequences: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, **kwargs)
        self.return_cell_sequences = return_cell_sequences
        self.return_gates = return_gates
        self.trainable_initial_state = trainable_initial_state
        if trainable_initial_state:
            # A layer inside the cell, because Keras lists a layer's own weights before those of its sublayers:
            # so these two come after the bias.
            self.cell.initial_state = InitialState(units, dtype=self.dtype_policy, name="initial_state")
            self.use_cudnn = False  # Keras's fused Bidirectional would start from zeros

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        if self.trainable_initial_state:
            self.cell.initial_state.build()
        super().build(sequences_shape, initial_state_shape)

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """h and c before the first step, (B,H) each: the trainable ones, else zeros."""
        if not self.trainable_initial_state:
            return list(super().get_initial_state(batch_size))
        start = self.cell.initial_state
        return [
            ops.broadcast_to(ops.cast(row, self.compute_dtype), (batch_size, self.units))
            for row in (start.initial_h, start.initial_c)
        ]

    def reset_state(self) -> None:
        """Puts a stateful layer back to its initial state."""
        if self.states is not None:
            initial = self.get_initial_state(self.states[0].shape[0])
            for variable, value in zip(self.states, initial, strict=True):
                variable.assign(value)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool = False,
        resets: Tensor | None = None,
        sequences_mask: Tensor | None = None,
    ) -> Any:
        # Keras fills `mask` when `sequences` is the only tensor of the call, and `sequences_mask` when it is not.
        # With `initial_state` Keras's own layer runs unmasked; with `resets` alone we still use the mask.
        if mask is None and initial_state is None:
            mask = sequences_mask
        features = self.cell.kernel.shape[0]
        if not _fits(sequences.shape, (None, None, features)):
            raise ShapeError(
                f"{self.name}: sequences must be (B,T,I) with the I = {features} that the layer was built for; got "
                f"{tuple(sequences.shape)}"
            )
        on_engine = layer_route(self).name == "engine"
        additions = self.return_cell_sequences or self.return_gates
        if not on_engine and mask is None and resets is None and not additions and sequences.shape[1] != 0:
            # Keras's own call may pick a fused kernel of its backend. With a mask its backends disagree.
            return super().call(sequences, initial_state=initial_state, training=training)

        x = ops.cast(sequences, self.compute_dtype)
        B = ops.shape(x)[0]
        mask, resets = self._per_step("mask", mask, x), self._per_step("resets", resets, x)
        initial = self.get_initial_state(B) if initial_state is None else self._explicit_state(initial_state, x)
        state = self._carried_state(x) if self.stateful and initial_state is None else initial
        x, dropout, recurrent_dropout = self._drop(x, state[0], training)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias if self.use_bias else None)
        functions = {name: getattr(self, name) for name in ("activation", "recurrent_activation")}
        if on_engine:
            functions = {name: activation_name(function) for name, function in functions.items()}
        run = adapter().run if on_engine else loop.run
        found = run(
            CELL.name,
            x,
            tuple(state),
            *(None if weight is None else ops.cast(weight, self.compute_dtype) for weight in weights),
            mask=mask,
            resets=resets,
            reset_states=None if resets is None else tuple(initial),
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            backwards=self.go_backwards,
            sequences=self.return_sequences,
            cells=self.return_cell_sequences,
            gates=self.return_gates,
            **functions,
        )
        if self.stateful:
            for variable, value in zip(self.states, found.states, strict=True):
                variable.assign(value)
        h = found.h
        if self.zero_output_for_mask and mask is not None and mask.shape[1] != 0:
            seen = ops.flip(mask, axis=1) if self.go_backwards else mask
            h = ops.where((seen if self.return_sequences else seen[:, -1])[..., None], h, 0)
        added = [v for v in (found.cells, found.gates) if v is not None]
        outputs = (h, *(found.states if self.return_state else ()), *added)
        return outputs if len(outputs) > 1 else h

    def _per_step(self, name: str, value: Any, x: Tensor) -> Tensor | None:
        """mask or resets as (B,T) bool."""
        if value is None:
            return None
        value = keras.tree.flatten(value)[0]  # Keras may pass a mask in a list
        value = ops.cast(value, "bool")
        if len(value.shape) == 3:  # as in Keras, a step counts if any of its features does
            value = ops.any(value, axis=-1)
        rows, steps = x.shape[:2]
        if not (_fits(value.shape, (rows, steps)) or _fits(value.shape, (1, steps))):
            raise ShapeError(
                f"{self.name}: {name} must be (B,T), here {(rows, steps)}, as the sequences; got {tuple(value.shape)}"
            )
        return ops.broadcast_to(value, ops.shape(x)[:2])

    def _explicit_state(self, initial_state: Any, x: Tensor) -> list[Tensor]:
        states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
        states = [ops.cast(state, self.compute_dtype) for state in states]
        expected = (x.shape[0], self.units)
        if len(states) != len(CELL.states) or any(not _fits(state.shape, expected) for state in states):
            came = ", ".join(str(tuple(state.shape)) for state in states)
            raise ShapeError(
                f"{self.name}: initial_state must be h and c, of shape {expected} each; got {len(states)}: {came}. "
                "Pass a list of the two."
            )
        return states

    def _carried_state(self, x: Tensor) -> list[Tensor]:
        """What a stateful layer holds since the last call."""
        batch = self.states[0].shape[0]
        if x.shape[0] not in (None, batch):
            raise ShapeError(
                f"{self.name} is stateful and holds the state of {batch} rows; sequences has {x.shape[0]}. "
                "The batch size must stay the same: pass batch_size to Input and to fit or predict."
            )
        return [ops.cast(state, self.compute_dtype) for state in self.states]

    def _drop(self, x: Tensor, h: Tensor, training: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """x, and the factors for each gate of x (4,B,I) and of h (4,B,H), drawn by Keras's cell.

        The cell draws whenever a rate is above 0, in training or not, so that its seed goes on as in Keras.
        """
        cell = self.cell
        factors = cell.get_dropout_mask(_row(x))
        recurrent_factors = cell.get_recurrent_dropout_mask(h)
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
        if not (training and 0 < cell.dropout < 1):
            factors = None
        if not (training and 0 < cell.recurrent_dropout < 1):
            recurrent_factors = None
        if factors is not None and not isinstance(factors, list):  # one for all gates, with `implementation=2`
            x, factors = x * factors[:, None], None
        return x, *(None if f is None else ops.stack(f) for f in (factors, recurrent_factors))

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        own = super().compute_output_shape(sequences_shape, initial_state_shape)
        B, T, H = sequences_shape[0], sequences_shape[1], self.units
        additions: list[Shape] = [(B, T, H)] if self.return_cell_sequences else []
        additions += [(B, T, len(CELL.gates), H)] if self.return_gates else []
        if not additions:
            return own
        return (*(own if self.return_state else (own,)), *additions)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        own = super().compute_mask(inputs, mask)
        if not (self.return_cell_sequences or self.return_gates):
            return own
        mask = keras.tree.flatten(mask)[0]
        # Keras hands on its own output's mask in time order even when that output is in processing order.
        in_order = ops.flip(mask, axis=1) if mask is not None and self.go_backwards else mask
        cells = [in_order] if self.return_cell_sequences else []
        # A mask of (B,T) would meet the units of the gates (B,T,4,H) in a loss; they are 0 on masked steps as it is.
        gates = [None] if self.return_gates else []
        return [*(own if self.return_state else [own]), *cells, *gates]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_cell_sequences": self.return_cell_sequences,
            "return_gates": self.return_gates,
            "trainable_initial_state": self.trainable_initial_state,
        }


def _row(x: Tensor) -> Tensor:
    """(B,I) of zeros, for a mask to be drawn like; x[:, 0] would need T > 0."""
    return ops.zeros((ops.shape(x)[0], x.shape[2]), dtype=x.dtype)


def _fits(shape: Shape, expected: Shape) -> bool:
    """Whether the shapes agree where both are known."""
    return len(shape) == len(expected) and all(a == b or None in (a, b) for a, b in zip(shape, expected, strict=True))
