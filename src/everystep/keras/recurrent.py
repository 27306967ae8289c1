"""What our recurrent Keras layers share: a call checked, made ready, run, and its outputs put in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from everystep.cells import Cell
from everystep.engine import Outputs
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.keras import calls, loop
from everystep.keras.calls import Call, CellCall
from everystep.keras.cell import cells_of, draw_dropout, forget_dropout, functions, kind_of, weights
from everystep.keras.route import activation_name, adapter, layer_route

Tensor = Any  # a tensor of Keras's backend
Shape = tuple[int | None, ...]

EXTRA_OUTPUTS = ("return_cell_sequences", "return_gates")
ADDITIONS = (*EXTRA_OUTPUTS, "trainable_initial_state")  # unknown to Keras's layers; a layer may have some of them


class _RefusedError(UnsupportedError, AttributeError):
    """For one who looks at every attribute, as TensorFlow does, the attribute is not there."""


class InitialState(keras.layers.Layer):
    """The trainable state before the first step, one for all rows: a weight of (H) for each state of the cell."""

    def __init__(self, kind: Cell, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.units = units

    def build(self, input_shape: Shape | None = None) -> None:
        for state in self.kind.states:
            self.add_weight(shape=(self.units,), initializer="zeros", name=f"initial_{state}")


class Parts(NamedTuple):
    """What a call returns, sorted."""

    output: Tensor  # (B,H), or (B,T,H) with return_sequences
    states: list[Any]  # in Keras's structure; none without return_state
    cells: list[Tensor]  # c at every step, (B,T,H)
    gates: list[Tensor]  # (B,T,G,H)


class Recurrent(keras.layers.RNN):
    """One of Keras's recurrent layers, to be named before Keras's class among the bases.

    Its cells are Keras's, and each of a kind that `everystep.cells` has. A layer of several cells, one on top of the
    other, runs cell by cell: the numbers are those of Keras's loop over steps.
    """

    return_cell_sequences = False
    return_gates = False
    trainable_initial_state = False

    def __init__(
        self, *args: Any, return_gates: bool = False, trainable_initial_state: bool = False, **kwargs: Any
    ) -> None:
        if "return_cell_sequences" in kwargs:
            raise OptionError(
                f"return_cell_sequences is of an LSTM, which has a cell state c; the only state of a "
                f"{type(self).__name__} is h, which return_sequences returns"
            )
        super().__init__(*args, **kwargs)
        self.return_gates = return_gates
        self.trainable_initial_state = trainable_initial_state
        if trainable_initial_state:
            # A layer inside the cell, because Keras lists a layer's own weights before those of its sublayers:
            # so these come after the bias.
            self.cell.initial_state = InitialState(
                _kind(self.cell), self.cell.units, dtype=self.dtype_policy, name="initial_state"
            )

    @property
    def use_cudnn(self) -> bool | str:
        """As given, but False for what no fused kernel has: Keras's Bidirectional asks before it calls one."""
        if "_use_cudnn" not in vars(self):  # a layer of Keras's that has none
            raise AttributeError("use_cudnn")
        given: bool | str = self._use_cudnn
        return given if not any(getattr(self, option) for option in ADDITIONS) else False

    @use_cudnn.setter
    def use_cudnn(self, value: bool | str) -> None:
        self._use_cudnn = value

    @property
    def _call_has_mask_arg(self) -> bool:
        """Keras's containers of layers, and nothing else, ask for this before they call one: here they are refused."""
        asked = [name for name in EXTRA_OUTPUTS if getattr(self, name)]
        if asked:
            raise _RefusedError(
                f"layer {self.name!r} has {', '.join(asked)}; containers of Keras's own take one output of a layer. "
                "Use everystep.keras.layers.Bidirectional, or the functional API."
            )
        if "_call_has_mask_arg" not in vars(self):
            raise AttributeError("_call_has_mask_arg")
        return bool(vars(self)["_call_has_mask_arg"])

    @_call_has_mask_arg.setter
    def _call_has_mask_arg(self, value: bool) -> None:
        self.__dict__["_call_has_mask_arg"] = value

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        if self.trainable_initial_state:
            self.cell.initial_state.build()
        super().build(sequences_shape, initial_state_shape)

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states before the first step, (B,H) each, in Keras's structure: the trainable ones, else zeros."""
        if not self.trainable_initial_state:
            return list(super().get_initial_state(batch_size))
        return [
            ops.broadcast_to(ops.cast(row, self.compute_dtype), (batch_size, self.cell.units))
            for row in self.cell.initial_state.weights
        ]

    def reset_state(self) -> None:
        """Puts a stateful layer back to its initial state."""
        if self.states is not None:
            variables = keras.tree.flatten(self.states)
            initial = keras.tree.flatten(self.get_initial_state(variables[0].shape[0]))
            for variable, value in zip(variables, initial, strict=True):
                variable.assign(value)

    # ---- A call ----

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
        self._check_sequences(sequences)
        additions = self.return_cell_sequences or self.return_gates
        plain = mask is None and resets is None and not additions and sequences.shape[1] != 0
        if plain and layer_route(self).name != "engine":
            # Keras's own call may pick a fused kernel of its backend. With a mask its backends disagree.
            return super().call(sequences, initial_state=initial_state, training=training)
        call = self.prepare(sequences, initial_state, mask, training, resets)
        return self.finish(call, calls.run([call])[0])

    def prepare(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool | None = False,
        resets: Tensor | None = None,
    ) -> Call:
        """The call, checked and with its dropout drawn; `calls.run` runs it, and `finish` takes what comes of that."""
        self._check_sequences(sequences)
        x = ops.cast(sequences, self.compute_dtype)
        B = ops.shape(x)[0]
        mask, resets = self._per_step("mask", mask, x), self._per_step("resets", resets, x)
        initial = self.get_initial_state(B) if initial_state is None else self._explicit_state(initial_state, x)
        state = self._carried_state(x) if self.stateful and initial_state is None else initial
        on_engine = layer_route(self).name == "engine"
        cells = cells_of(self)
        by_cell = zip(cells, self._by_cell(state), self._by_cell(initial), strict=True)
        in_order = (None if flags is None else ops.flip(flags, axis=1) for flags in (mask, resets))
        mask_in_order, resets_in_order = in_order if self.go_backwards else (mask, resets)
        prepared: list[CellCall] = []
        for cell, states, reset_states in by_cell:
            kind, bottom, top = _kind(cell), not prepared, len(prepared) == len(cells) - 1
            # The h of a cell comes in processing order: above the bottom there is nothing left to turn around.
            backwards = self.go_backwards and bottom
            x_t = ops.zeros((B, cell.kernel.shape[0]), dtype=x.dtype)  # what it draws for; x[:, 0] would need T > 0
            of_x, by_gate, recurrent = draw_dropout(cell, x_t, states[0], training)
            of_cell = functions(cell)
            arguments = dict(
                cell=kind.name,
                states=states,
                **weights(cell, self.compute_dtype),
                mask=mask if backwards else mask_in_order,
                resets=resets if backwards else resets_in_order,
                reset_states=None if resets is None else reset_states,
                dropout=by_gate,
                recurrent_dropout=recurrent,
                backwards=backwards,
                sequences=self.return_sequences or not top,
                cells=self.return_cell_sequences and len(kind.states) > 1,
                gates=self.return_gates,
                **({name: activation_name(f) for name, f in of_cell.items()} if on_engine else of_cell),
            )
            prepared.append(CellCall(arguments, of_x))
        for cell in cells:
            forget_dropout(cell)
        return Call(adapter() if on_engine else loop, x, mask_in_order, state, prepared)

    def finish(self, call: Call, found: Sequence[Outputs]) -> Any:
        """The layer's outputs, from those of its cells; a stateful layer takes its new state."""
        states = [state for of_cell in found for state in of_cell.states]
        if self.stateful:
            for variable, value in zip(keras.tree.flatten(self.states), states, strict=True):
                variable.assign(value)
        h, mask = found[-1].h, call.mask
        if self.zero_output_for_mask and mask is not None and mask.shape[1] != 0:
            h = ops.where((mask if self.return_sequences else mask[:, -1])[..., None], h, 0)
        last = keras.tree.pack_sequence_as(call.states, states) if self.return_state else []
        added = [v for v in (*(f.cells for f in found), *(f.gates for f in found)) if v is not None]
        outputs = (h, *last, *added)
        return outputs if len(outputs) > 1 else h

    def parts(self, outputs: Any) -> Parts:
        """What `call` returned, or what compute_output_shape said of it, sorted."""
        plain = not (self.return_state or self.return_cell_sequences or self.return_gates)
        output, *rest = (outputs,) if plain else outputs
        kinds = [kind_of(cell) for cell in cells_of(self)]
        states = len(self.state_size) if self.return_state else 0
        cells = states + (sum(len(kind.states) - 1 for kind in kinds if kind) if self.return_cell_sequences else 0)
        return Parts(output, rest[:states], rest[states:cells], rest[cells:])

    # ---- Checks ----

    def _check_sequences(self, sequences: Tensor) -> None:
        features = cells_of(self)[0].kernel.shape[0]
        if not _fits(sequences.shape, (None, None, features)):
            raise ShapeError(
                f"{self.name}: sequences must be (B,T,I) with the I = {features} that the layer was built for; got "
                f"{tuple(sequences.shape)}"
            )

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

    def _by_cell(self, states: Any) -> list[tuple[Tensor, ...]]:
        """Each cell's states, out of Keras's structure."""
        left = iter(keras.tree.flatten(states))
        return [tuple(next(left) for _ in _kind(cell).states) for cell in cells_of(self)]

    def _explicit_state(self, initial_state: Any, x: Tensor) -> list[Any]:
        states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
        states = [keras.tree.map_structure(lambda state: ops.cast(state, self.compute_dtype), each) for each in states]
        flat = keras.tree.flatten(states)
        wanted = [(x.shape[0], cell.units) for cell in cells_of(self) for _ in _kind(cell).states]
        if len(flat) != len(wanted) or not all(_fits(s.shape, w) for s, w in zip(flat, wanted, strict=True)):
            came = ", ".join(str(tuple(state.shape)) for state in flat)
            expected = "; ".join(
                f"{' and '.join(_kind(cell).states)}, of shape {(x.shape[0], cell.units)}"
                + (" each" if len(_kind(cell).states) > 1 else "")
                for cell in cells_of(self)
            )
            raise ShapeError(f"{self.name}: initial_state must be {expected}; got {len(flat)}: {came}. Pass a list.")
        return states

    def _carried_state(self, x: Tensor) -> Any:
        """What a stateful layer holds since the last call."""
        batch = keras.tree.flatten(self.states)[0].shape[0]
        if x.shape[0] not in (None, batch):
            raise ShapeError(
                f"{self.name} is stateful and holds the state of {batch} rows; sequences has {x.shape[0]}. "
                "The batch size must stay the same: pass batch_size to Input and to fit or predict."
            )
        return keras.tree.map_structure(lambda state: ops.cast(state, self.compute_dtype), self.states)

    # ---- What Keras asks of a layer ----

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        own = super().compute_output_shape(sequences_shape, initial_state_shape)
        if not (self.return_cell_sequences or self.return_gates):
            return own
        (B, T), of_cells = sequences_shape[:2], [(cell.units, _kind(cell)) for cell in cells_of(self)]
        cells = [(B, T, H) for H, kind in of_cells if self.return_cell_sequences and len(kind.states) > 1]
        gates = [(B, T, len(kind.gates), H) for H, kind in of_cells if self.return_gates]
        return (*(own if self.return_state else (own,)), *cells, *gates)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        own = super().compute_mask(inputs, mask)
        if not (self.return_cell_sequences or self.return_gates):
            return own
        mask = keras.tree.flatten(mask)[0]
        # Keras hands on its own output's mask in time order even when that output is in processing order.
        in_order = ops.flip(mask, axis=1) if mask is not None and self.go_backwards else mask
        kinds = [_kind(cell) for cell in cells_of(self)]
        states = [None for kind in kinds for _ in kind.states] if self.return_state else []
        cells = [in_order for kind in kinds if self.return_cell_sequences and len(kind.states) > 1]
        # A mask of (B,T) would meet the units of the gates (B,T,G,H) in a loss; they are 0 on masked steps as it is.
        gates = [None for _ in kinds if self.return_gates]
        return [own[0] if self.return_state else own, *states, *cells, *gates]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.options()}}

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """The arguments that this class adds to Keras's."""
        return ("return_gates", "trainable_initial_state")


def _kind(cell: keras.Layer) -> Cell:
    kind = kind_of(cell)
    assert kind is not None, "a layer with another cell runs on Keras's own loop"
    return kind


def _fits(shape: Shape, expected: Shape) -> bool:
    """Whether the shapes agree where both are known."""
    return len(shape) == len(expected) and all(a == b or None in (a, b) for a, b in zip(shape, expected, strict=True))
