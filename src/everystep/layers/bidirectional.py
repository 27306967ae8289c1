"""Two recurrent layers that read a sequence from both ends."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.base import State
from everystep.layers.checks import parts_of_state
from everystep.layers.composite import Composite, afresh, inner_layer, one_dtype
from everystep.layers.masks import flip
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten
from everystep.layers.tensor import Shape
from everystep.layers.together import Calls, Found, run_together

MERGE_MODES = ("sum", "mul", "ave", "concat", None)
WAYS = ("forward", "backward")
WANTED = "an LSTM, a GRU, a SimpleRNN or an RNN"


class Bidirectional(Composite):
    """Keras's Bidirectional: its arguments, weights and numbers; both directions run side by side.

    Schuster and Paliwal, "Bidirectional Recurrent Neural Networks" (1997). Under a mask the backward direction starts
    at each row's last step that is not masked, since masked ones carry the initial state: padding never leaks.

    Args:
        layer: an LSTM, a GRU, a SimpleRNN or an RNN; the forward layer is made like it, and so is the backward one.
        merge_mode: how the two outputs become one: "concat", "sum", "mul", "ave"; None returns both.
        weights: to begin with, in the order below, once the shape of the inputs is known.
        backward_layer: in the place of one like `layer`; it goes the other way. With "concat" or None it may have
            other units, and be of another class.
        options: of `Layer`.

    Call arguments:
        sequences, mask, resets: as of the layers, which both get them. initial_state: the states of the forward
        layer, then those of the backward layer, in one list.

    Returns:
        The output, or the two outputs with merge_mode None, both in time order; with `return_state` the last states
        of the forward, then of the backward layer; then what the layers add: c at every step, of the forward, of the
        backward layer, and the gates of the one and of the other, all in time order. At masked steps a sequence of h
        is 0, as in Keras, and so are the gates; c is carried.

    Weights: those of the forward layer, then those of the backward layer.
    """

    our_module = "everystep.keras.bidirectional"
    parts: ClassVar[dict[str, str]] = {"layer": "forward_layer", "backward_layer": "backward_layer"}
    config_names = ("merge_mode",)
    call_arguments = Recurrent.call_arguments

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        inner_layer("Bidirectional", layer, (Recurrent,), WANTED)
        if backward_layer is not None:
            inner_layer("Bidirectional", backward_layer, (Recurrent,), f"for its backward_layer {WANTED}")
        both = [layer] if backward_layer is None else [layer, backward_layer]
        super().__init__(dtype=one_dtype("Bidirectional", dtype, both), **options)
        self.forward_layer = afresh(layer, f"forward_{layer.name.removeprefix('forward_')}")
        self.backward_layer = backward_layer
        if backward_layer is None:
            self.backward_layer = afresh(layer, f"backward_{layer.name.removeprefix('backward_')}")
            self.backward_layer.go_backwards = not self.forward_layer.go_backwards
        self.merge_mode = merge_mode
        self._check_pair()
        for each in self.inner:  # as in Keras
            each.zero_output_for_mask = each.return_sequences
        self._first_weights = weights

    def _check_pair(self) -> None:
        one, other = self.forward_layer, self.backward_layer
        if self.merge_mode not in MERGE_MODES:
            raise OptionError(
                f"layer {self.name!r}: merge_mode must be one of {', '.join(map(repr, MERGE_MODES))}; "
                f"got {self.merge_mode!r}"
            )
        if one.go_backwards == other.go_backwards:
            raise OptionError(
                f"layer {self.name!r}: its two layers must go in opposite directions; both have "
                f"go_backwards={one.go_backwards}"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(one, name) != getattr(other, name):
                raise OptionError(
                    f"layer {self.name!r}: {name} must be the same in both layers; got {getattr(one, name)} forward "
                    f"and {getattr(other, name)} backward"
                )
        units = [each.cells[-1].units for each in (one, other)]
        if self.merge_mode not in ("concat", None) and units[0] != units[1]:
            raise OptionError(
                f"layer {self.name!r}: merge_mode {self.merge_mode!r} takes two layers of as many units; got "
                f"{units[0]} forward and {units[1]} backward. Use 'concat' or None"
            )

    @property
    def inner(self) -> list[Any]:
        return [self.forward_layer, self.backward_layer]

    # What both layers have in common, or either returns.
    stateful = property(lambda self: self.forward_layer.stateful)
    return_sequences = property(lambda self: self.forward_layer.return_sequences)
    return_state = property(lambda self: self.forward_layer.return_state)
    return_cell_sequences = property(lambda self: any(each.return_cell_sequences for each in self.inner))
    return_gates = property(lambda self: any(each.return_gates for each in self.inner))

    def build(self, input_shape: Any) -> None:
        for each in self.inner:
            each.build_once(input_shape)
        if self._first_weights:
            self.built_shape = input_shape
            self.set_weights(self._first_weights)

    # ---- Run ----

    def initial_state(self, batch_size: int) -> State:
        """The states of both layers before their first steps."""
        return tuple(each.initial_state(batch_size) for each in self.inner)

    def run(  # type: ignore[override]
        self,
        inputs: Any,
        state: State = None,
        *,
        initial_state: Any = None,
        mask: Array | None = None,
        resets: Array | None = None,
    ) -> tuple[Any, State]:
        """Whole sequences (B,T,I). Both layers start from `state`: the backward one at the last step."""
        forward, backward = run_together(*self.calls(inputs, state, initial_state, mask, resets))
        state = tuple(each.grouped(found.states) for each, found in zip(self.inner, (forward, backward), strict=True))
        return self.outputs_of(forward, backward), state

    def calls(
        self, inputs: Any, state: State, initial_state: Any, mask: Array | None, resets: Array | None
    ) -> list[Calls]:
        """The calls of the engine that make a run, of both layers."""
        states = [None, None] if state is None else parts_of_state(self.name, state, 2, "(of forward, of backward)")
        given = (None, None) if initial_state is None else self._split(initial_state)
        return [
            each.calls(inputs, start, initial, mask, resets)
            for each, start, initial in zip(self.inner, states, given, strict=True)
        ]

    def step_obstacle(self) -> str | None:
        return "its backward direction begins with the last step"

    def step(self, inputs_t: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """Raises UnsupportedError: the backward direction begins with the last step."""
        self.check_step()
        raise AssertionError

    def outputs_of(self, forward: Found, backward: Found) -> Any:
        """What a run returns, in order."""
        h_back = backward.h[:, ::-1] if self.return_sequences else backward.h
        states = [
            state
            for each, found in zip(self.inner, (forward, backward), strict=True)
            if self.return_state
            for state in each.returned_states(found.states)
        ]
        in_time = [[np.ascontiguousarray(v[:, ::-1]) for v in some] for some in (backward.cells, backward.gates)]
        outputs = (
            *self._merged(forward.h, h_back),
            *states,
            *(*forward.cells, *in_time[0]),
            *(*forward.gates, *in_time[1]),
        )
        return outputs if len(outputs) > 1 else outputs[0]

    def _merged(self, forward: Array, backward: Array) -> list[Array]:
        if self.merge_mode == "concat":
            return [np.concatenate([forward, backward], axis=-1)]
        if self.merge_mode == "sum":
            return [forward + backward]
        if self.merge_mode == "ave":
            return [(forward + backward) / 2]
        if self.merge_mode == "mul":
            return [forward * backward]
        return [forward, np.ascontiguousarray(backward)]

    def _split(self, given: Any) -> tuple[list[Any], list[Any]]:
        """The forward layer's states, and the backward layer's, which check their own.

        Raises:
            ShapeError: there are not as many as both have.
        """
        states = flatten(given)
        count, count_back = (len(each.state_sizes) for each in self.inner)
        if len(states) != count + count_back:
            raise ShapeError(
                f"layer {self.name!r}: initial_state must be a list of {count + count_back} states, {count} of the "
                f"forward layer and then {count_back} of the backward layer; got {len(states)}"
            )
        return states[:count], states[count:]

    # ---- Graph and config ----

    def check(self, inputs: Any) -> None:
        for each in self.inner:
            each.check(inputs)

    def check_call(self, call: dict[str, Any]) -> None:
        given = call.get("initial_state")
        for each, states in zip(self.inner, (None, None) if given is None else self._split(given), strict=True):
            each.check_call({**call, "initial_state": states})

    def takes_implicit_mask(self, call: dict[str, Any]) -> bool:
        return call.get("initial_state") is None

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        own = [mask if self.return_sequences else None] * len(self._merge_shapes(None, None))
        states = [None] * sum(len(each.state_sizes) for each in self.inner) * self.return_state
        cells, gates = [], []
        for each, turned in zip(self.inner, (False, True), strict=True):  # the backward layer's come turned around
            in_order = flip(mask, axis=1) if mask is not None and each.go_backwards != turned else mask
            some, others = each.addition_shapes(None, None)
            cells += [in_order] * len(some)
            gates += [None] * len(others)
        masks = [*own, *states, *cells, *gates]
        return masks if len(masks) > 1 else masks[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        B, T, _ = input_shape
        states = [shape for each in self.inner if self.return_state for shape in each.state_shapes(B)]
        (cells, gates), (cells_back, gates_back) = (each.addition_shapes(B, T) for each in self.inner)
        shapes = [*self._merge_shapes(B, T), *states, *cells, *cells_back, *gates, *gates_back]
        return shapes if len(shapes) > 1 else shapes[0]

    def _merge_shapes(self, B: int | None, T: int | None) -> list[Shape]:
        H, H_back = (each.cells[-1].units for each in self.inner)
        axes = (B, T) if self.return_sequences else (B,)
        if self.merge_mode is None:
            return [(*axes, H), (*axes, H_back)]
        return [(*axes, H + H_back if self.merge_mode == "concat" else H)]

    def output_words(self) -> list[str]:
        when = "h at every step" if self.return_sequences else "h at the last step"
        words = [f"{when}, {self.merge_mode}"] if self.merge_mode else [f"{when}, {way}" for way in WAYS]
        both = list(zip(WAYS, self.inner, strict=True))
        words += [f"{word}, {way}" for way, each in both for word in each.state_words() if self.return_state]
        (cells, gates), (cells_back, gates_back) = (
            [[f"{word}, {way}" for word in some] for some in each.addition_words()] for way, each in both
        )
        return words + cells + cells_back + gates + gates_back
