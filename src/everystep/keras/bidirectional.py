"""Keras's Bidirectional with both directions side by side on the engine, and the additions of both."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.keras import calls
from everystep.keras.recurrent import EXTRA_OUTPUTS, Parts, Recurrent
from everystep.keras.rnn import RNN
from everystep.keras.route import layer_route

Tensor = Any  # a tensor of Keras's backend
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("everystep")
class Bidirectional(keras.layers.Bidirectional):
    """Keras's Bidirectional: same arguments, weights and numbers; our layers run side by side on the engine.

    Schuster and Paliwal, "Bidirectional Recurrent Neural Networks" (1997). Under a mask the backward direction starts
    at each row's last real step, whichever steps are masked: those after it carry the initial state.

    Args:
        layer: the forward layer; with `return_cell_sequences` or `return_gates` for the additions of both directions.
        args, kwargs: all of `keras.layers.Bidirectional`'s arguments. `backward_layer` may be of another class and,
            with merge_mode "concat" or None, of other units than `layer`; it may have additions of its own.

    Call arguments:
        sequences: (B,T,I).
        initial_state: a list of the forward layer's states, then the backward layer's.
        mask, training, resets: as of the layers; both directions get them. A row that resets before step t of one
            direction does so before step t of the other, which comes to it from the other side.
        sequences_mask: the mask that comes with `sequences`; Keras passes it.

    Returns:
        Keras's own outputs, first and unchanged: the two merged, or both without a merge mode; with `return_state`
        the forward layer's last states, then the backward layer's. Then c at every step of forward, of backward, and
        the gates of forward, of backward, where they are asked for. What is a sequence comes in time order.

    Raises:
        OptionError: directions that do not merge. ShapeError: `initial_state` does not fit.
        UnsupportedError: resets for layers that are not ours.
    """

    def __init__(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> None:
        super().__init__(layer, *args, **kwargs)
        widths = [getattr(getattr(side, "cell", None), "output_size", None) for side in self._sides()]
        if self.merge_mode in ("sum", "mul", "ave") and None not in widths and widths[0] != widths[1]:
            raise OptionError(
                f"merge_mode {self.merge_mode!r} needs directions of equal units; got {widths[0]} forward and "
                f"{widths[1]} backward. Use 'concat' or None."
            )

    def _sides(self) -> tuple[keras.Layer, keras.Layer]:
        return self.forward_layer, self.backward_layer

    @property
    def return_cell_sequences(self) -> bool:
        """Whether either direction returns c at every step."""
        return any(getattr(side, "return_cell_sequences", False) for side in self._sides())

    @property
    def return_gates(self) -> bool:
        """Whether either direction returns its gates at every step."""
        return any(getattr(side, "return_gates", False) for side in self._sides())

    @property
    def returns_more(self) -> bool:
        """Whether there is an addition to Keras's outputs."""
        return any(getattr(self, option) for option in EXTRA_OUTPUTS)

    # ---- A call ----

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool | None = None,
        resets: Tensor | None = None,
        sequences_mask: Tensor | None = None,
    ) -> Any:
        if mask is None and initial_state is None:
            mask = sequences_mask
        sides = self._sides()
        beside = all(self._runs_beside(side) for side in sides)
        plain = mask is None and resets is None and initial_state is None and not self.returns_more
        if plain and not beside and sequences.shape[1] != 0:
            return super().call(sequences, training=training)  # Keras may pick a fused kernel of its backend
        states = self._split_state(initial_state)
        if beside:
            made = [
                side.prepare(sequences, state, mask, training, resets)
                for side, state in zip(sides, states, strict=True)
            ]
            found = [side.finish(*each) for side, *each in zip(sides, made, calls.run(made), strict=True)]
        else:
            found = [
                self._run_alone(side, sequences, state, mask, training, resets)
                for side, state in zip(sides, states, strict=True)
            ]
        forward, backward = (_parts(side, outputs) for side, outputs in zip(sides, found, strict=True))
        y, y_back = (ops.cast(v, self.compute_dtype) for v in (forward.output, backward.output))
        merged = self._merge(y, ops.flip(y_back, axis=1) if self.return_sequences else y_back)
        cells, gates = ([ops.flip(v, axis=1) for v in added] for added in (backward.cells, backward.gates))
        return _join(merged, forward, backward._replace(cells=cells, gates=gates))

    def _runs_beside(self, side: keras.Layer) -> bool:
        """Whether this direction can be run without its `__call__`, beside the other one, on the engine."""
        return (
            isinstance(side, Recurrent)
            and type(side).call in (Recurrent.call, RNN.call)  # else a subclass does something else
            and layer_route(side).name == "engine"
            and side.activity_regularizer is None  # `__call__` adds its loss
            and side.compute_dtype == self.compute_dtype
        )

    def _run_alone(
        self, side: keras.Layer, sequences: Tensor, state: Any, mask: Any, training: bool | None, resets: Any
    ) -> Any:
        """One direction through its own `__call__`."""
        call: dict[str, Any] = {}
        if side._call_has_training_arg:
            call["training"] = training
        if isinstance(side, Recurrent) or side._call_has_mask_arg:
            call["mask"] = mask
        if resets is not None:
            if not isinstance(side, Recurrent):
                raise UnsupportedError(
                    f"{self.name}: layer {side.name!r} is {type(side).__module__}.{type(side).__name__}, which has no "
                    "resets: use one of everystep.keras.layers."
                )
            call["resets"] = resets
        return side(sequences, initial_state=state, **call)

    def _split_state(self, initial_state: Any) -> tuple[Any, Any]:
        """The forward layer's states and the backward layer's."""
        if initial_state is None:
            return None, None
        counts = [len(getattr(side, "state_size", ())) for side in self._sides()]
        given = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        if len(given) != sum(counts):
            raise ShapeError(
                f"{self.name}: initial_state must be a list of {sum(counts)}: the forward layer's {counts[0]}, then "
                f"the backward layer's {counts[1]}; got {len(given)}"
            )
        return given[: counts[0]], given[counts[0] :]

    def _merge(self, forward: Tensor, backward: Tensor) -> list[Tensor]:
        """The two outputs, each in time order, as one, or both without a merge mode."""
        if self.merge_mode == "concat":
            return [ops.concatenate([forward, backward], axis=-1)]
        if self.merge_mode == "sum":
            return [forward + backward]
        if self.merge_mode == "ave":
            return [(forward + backward) / 2]
        if self.merge_mode == "mul":
            return [forward * backward]
        return [forward, backward]

    # ---- What Keras asks of a layer ----

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        forward, backward = self._shapes(sequences_shape)
        (*axes, width), width_back = forward.output, backward.output[-1]
        if self.merge_mode is None:
            return _join([forward.output, backward.output], forward, backward)
        return _join([(*axes, width + width_back if self.merge_mode == "concat" else width)], forward, backward)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        own = [mask if self.return_sequences else None] * (1 if self.merge_mode else 2)
        forward, backward = (
            shapes._replace(
                states=[None] * (len(keras.tree.flatten(side.state_size)) if self.return_state else 0),
                cells=[mask] * len(shapes.cells),
                gates=[None] * len(shapes.gates),  # as of a layer alone
            )
            for side, shapes in zip(self._sides(), self._shapes((None, None, None)), strict=True)
        )
        return _join(own, forward, backward)

    def _shapes(self, sequences_shape: Shape) -> tuple[Parts, Parts]:
        forward, backward = (_parts(side, side.compute_output_shape(sequences_shape)) for side in self._sides())
        return forward, backward


def _parts(side: keras.Layer, outputs: Any) -> Parts:
    if isinstance(side, Recurrent):
        return side.parts(outputs)
    output, *states = outputs if side.return_state else (outputs,)
    return Parts(output, states, [], [])


def _join(own: list[Any], forward: Parts, backward: Parts) -> Any:
    """Everything that a call returns, in its order."""
    outputs = (
        *own,
        *(*forward.states, *backward.states),
        *(*forward.cells, *backward.cells),
        *(*forward.gates, *backward.gates),
    )
    return outputs if len(outputs) > 1 else outputs[0]
