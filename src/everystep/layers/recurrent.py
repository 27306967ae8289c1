"""What every recurrent layer does: run sequences through its cells on the engine, and step through them.

A layer has one cell, or several stacked ones, each taking the h of the one below at every step. Sequences go through
cell by cell: the engine runs one over all steps before the next begins.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np

from everystep import engine
from everystep.engine import Array
from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.base import Layer, State
from everystep.layers.cell import Cell
from everystep.layers.checks import check_flags, parts_of_state, require_arrays, sizes_fit
from everystep.layers.masks import flip
from everystep.layers.operation import Config
from everystep.layers.structure import flatten
from everystep.layers.tensor import Shape
from everystep.layers.together import Calls, Found, run_together, zero_where_masked

SEQUENCE_OPTIONS = (
    "return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask",
)  # fmt: skip
EXTRA_OUTPUTS = ("return_cell_sequences", "return_gates")
ADDITIONS = (*EXTRA_OUTPUTS, "trainable_initial_state")  # all that is unknown to Keras's layers
BY_CELL = "a tuple of the states of each cell"


class Recurrent(Layer):
    """The base of LSTM, GRU, SimpleRNN and RNN; the arguments are explained there."""

    call_arguments: ClassVar[tuple[str, ...]] = ("sequences", "initial_state", "mask", "training", "resets")

    def __init__(
        self,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        return_cell_sequences: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.return_cell_sequences = return_cell_sequences
        self.return_gates = return_gates
        self.trainable_initial_state = trainable_initial_state
        check_flags(self, *SEQUENCE_OPTIONS, *ADDITIONS)
        if return_cell_sequences and not self._with_c:
            raise OptionError(
                f"layer {self.name!r}: return_cell_sequences is of an LSTM, which has a cell state c; "
                "the only state here is h, which return_sequences returns"
            )

    @property
    def cells(self) -> list[Cell]:
        """The cells from the first, which takes the sequences, to the last, whose h is the output: often itself."""
        return [cast(Cell, self)]

    @property
    def stacked(self) -> bool:
        """Whether states are grouped by cell: ((h, c), (h, c)) and not (h, c)."""
        return False

    @property
    def _with_c(self) -> list[Cell]:
        return [cell for cell in self.cells if "c" in cell.spec.states]

    # ---- Run and step ----

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """The states before the first step, (B,H) each: the trainable ones, else zeros."""
        return self.grouped([cell.first_states(batch_size) for cell in self.cells])

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
        (found,) = run_together(self.calls(inputs, state, initial_state, mask, resets))
        return self.outputs_of(found), self.grouped(found.states)

    def calls(self, inputs: Any, state: State, initial_state: Any, mask: Array | None, resets: Array | None) -> Calls:
        """The calls of the engine that make a run, one after the other, for whoever makes them: see `run_together`."""
        require_arrays(self.name, inputs)
        x = np.ascontiguousarray(inputs)
        B, T = x.shape[:2]
        initial, states = self._starts(state, initial_state, B)
        mask, resets = self._flags("mask", mask, (B, T)), self._flags("resets", resets, (B, T))
        found = Found(x, [], [], [])
        for k, cell in enumerate(self.cells):
            if k == 1 and self.go_backwards:  # from here on steps come in the order in which they are processed
                mask, resets = (None if v is None else np.ascontiguousarray(v[:, ::-1]) for v in (mask, resets))
            one = yield dict(
                **cell.functions,
                x=found.h,
                states=states[k],
                mask=mask,
                resets=resets,
                reset_states=None if resets is None else initial[k],
                backwards=self.go_backwards and k == 0,
                sequences=self.return_sequences or k + 1 < len(self.cells),
                cells=self.return_cell_sequences and "c" in cell.spec.states,
                gates=self.return_gates,
            )
            found = found.above(one)
        if self.zero_output_for_mask and mask is not None and T:
            seen = mask[:, ::-1] if self.go_backwards and len(self.cells) == 1 else mask
            found = found._replace(seen=seen if self.return_sequences else seen[:, -1])
        return found

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
        initial, states = self._starts(state, initial_state, B)
        mask, resets = self._flags("mask", mask, (B,)), self._flags("resets", resets, (B,))
        found = Found(x_t, [], [], [])
        for k, cell in enumerate(self.cells):
            new, gates = engine.step(
                x_t=found.h,
                states=states[k],
                mask=mask,
                resets=resets,
                reset_states=None if resets is None else initial[k],
                gates=self.return_gates,
                **cell.functions,
            )
            c = new[1] if self.return_cell_sequences and len(new) > 1 else None
            found = found.above(engine.Outputs(new[0], new, c, gates))
        if self.zero_output_for_mask and mask is not None:
            found = found._replace(h=zero_where_masked(found.h, mask))
        return self.outputs_of(found), self.grouped(found.states)

    def step_obstacle(self) -> str | None:
        return "go_backwards=True begins with the last step" if self.go_backwards else None

    def outputs_of(self, found: Found) -> Any:
        """What a run or a step returns, in order."""
        states = self.returned_states(found.states) if self.return_state else ()
        outputs = (found.h, *states, *found.cells, *found.gates)
        return outputs if len(outputs) > 1 else found.h

    def returned_states(self, states: list[tuple[Array, ...]]) -> tuple[Any, ...]:
        """The last states in the structure in which Keras returns them."""
        return tuple(list(one) for one in states) if self.stacked else states[0]

    def grouped(self, states: list[tuple[Array, ...]]) -> tuple[Any, ...]:
        """The states of each cell as `run` and `step` hand them on."""
        return tuple(states) if self.stacked else states[0]

    def _starts(self, state: State, initial_state: Any, B: int) -> tuple[list[Any], list[Any]]:
        """The initial states of each cell, and those to start from."""
        if initial_state is None:
            initial = [cell.first_states(B) for cell in self.cells]
        else:
            given = flatten(initial_state)
            self._check_state(given, B)
            flat = iter([np.ascontiguousarray(one) for one in given])
            initial = [tuple(next(flat) for _ in cell.spec.states) for cell in self.cells]
        return initial, initial if state is None else self._taken(state, B)

    def _taken(self, state: State, B: int) -> list[Any]:
        """The states of each cell in what `run` or `step` returned, to go on from."""
        each = parts_of_state(self.name, state, len(self.cells), BY_CELL) if self.stacked else [state]
        return [cell.taken(its, B, self.name) for cell, its in zip(self.cells, each, strict=True)]

    @property
    def state_sizes(self) -> list[tuple[str, int]]:
        """The letter and H of every state, cell by cell."""
        return [(letter, cell.units) for cell in self.cells for letter in cell.spec.states]

    def _check_state(self, states: list[Any], B: int | None) -> None:
        expected = [(letter, (B, units)) for letter, units in self.state_sizes]
        shapes = [tuple(state.shape) for state in states]
        fits = len(shapes) == len(expected) and all(
            sizes_fit(shape, wanted) for shape, (_, wanted) in zip(shapes, expected, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"layer {self.name!r}: initial_state must be {', '.join(f'{s} {shape}' for s, shape in expected)}; "
                f"got {len(states)}: {', '.join(map(str, shapes))}. Pass a list of {len(expected)}"
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
        return np.ascontiguousarray(np.broadcast_to(flags.astype(bool, copy=False), shape))

    def _check_flags_fit(self, name: str, given: Shape, shape: Shape) -> None:
        """Raises unless mask or resets of the shape `given` can be of this shape; one row counts for all."""
        if not sizes_fit(given, shape) and not sizes_fit(given, (1, *shape[1:])):
            axes = "(B,T)" if len(shape) == 2 else "(B,)"
            raise ShapeError(f"layer {self.name!r}: {name} must be {axes}, here {shape}; got {given}")

    # ---- Graph and config ----

    def check(self, inputs: Any) -> None:
        if isinstance(inputs, (list, tuple)):
            raise ShapeError(
                f"layer {self.name!r} takes one array (B,T,I); got a list of {len(inputs)}. A model's predict takes a "
                "list of sequences"
            )
        Layer.check(self, inputs)  # not that of a cell, whose inputs have no time axis
        wanted = self.cells[0].named_weights["kernel"].shape[0] if self.built else None
        shape = tuple(inputs.shape)
        if len(shape) != 3 or shape[2] is None or wanted not in (None, shape[2]):
            raise ShapeError(
                f"layer {self.name!r} takes sequences (B,T,{'I' if wanted is None else wanted}), with a known number "
                f"of features; got {shape}"
            )

    def check_call(self, call: dict[str, Any]) -> None:
        if call.get("initial_state") is not None:
            self._check_state(flatten(call["initial_state"]), None)
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
        states = [None] * len(self.state_sizes) * self.return_state
        # A mask of (B,T) would meet the units of the gates (B,T,G,H) in Keras; they are 0 on masked steps as it is.
        cells = [in_order] * len(self._with_c) * self.return_cell_sequences
        masks = [own, *states, *cells, *[None] * len(self.cells) * self.return_gates]
        return masks if len(masks) > 1 else own

    def compute_output_shape(self, input_shape: Any) -> Any:
        (B, T, _), H = input_shape, self.cells[-1].units
        shapes: list[Any] = [(B, T, H) if self.return_sequences else (B, H)]
        cells, gates = self.addition_shapes(B, T)
        shapes += [*(self.state_shapes(B) if self.return_state else ()), *cells, *gates]
        return shapes if len(shapes) > 1 else shapes[0]

    def state_shapes(self, B: int | None) -> list[Any]:
        """The shapes of the last states, in the structure in which Keras's symbolic calls return them."""
        states: list[Any] = [[(B, cell.units)] * len(cell.spec.states) for cell in self.cells]
        return [one[0] if len(one) == 1 else one for one in states] if self.stacked else list(states[0])

    def addition_shapes(self, B: int | None, T: int | None) -> tuple[list[Shape], list[Shape]]:
        """The shapes of c at every step, and of the gates, as far as they are asked for."""
        cells: list[Shape] = [(B, T, cell.units) for cell in self._with_c if self.return_cell_sequences]
        gates: list[Shape] = [(B, T, len(cell.spec.gates), cell.units) for cell in self.cells if self.return_gates]
        return cells, gates

    def output_words(self) -> list[str]:
        words = ["h at every step" if self.return_sequences else "h at the last step"]
        cells, gates = self.addition_words()
        return words + self.state_words() * self.return_state + cells + gates

    def state_words(self) -> list[str]:
        """What the last states are called."""
        return [f"last {letter}{self._of(cell)}" for cell in self.cells for letter in cell.spec.states]

    def addition_words(self) -> tuple[list[str], list[str]]:
        """What c at every step, and the gates, are called, as far as they are asked for."""
        cells = [f"c at every step{self._of(cell)}" for cell in self._with_c]
        names = {
            cell: ("gates " if len(cell.spec.gates) > 1 else "new ") + ", ".join(cell.spec.gates) for cell in self.cells
        }
        gates = [f"{names[cell]} at every step{self._of(cell)}" for cell in self.cells]
        return cells * self.return_cell_sequences, gates * self.return_gates

    def _of(self, cell: Cell) -> str:
        return f" of {cell.name}" if self.stacked else ""

    def get_config(self) -> Config:
        return {**super().get_config(), **{name: True for name in ADDITIONS if getattr(self, name)}}

    def beyond_keras(self) -> bool:
        return any(getattr(self, name) for name in ADDITIONS)
