"""What LSTM, GRU and SimpleRNN return, by definition, under every combination of their options.

Every equality here holds for sequences of at least one step; with none there is no last step, and the last states are
the initial ones. A masked step carries the states, and outputs the carried h, or 0 with `zero_output_for_mask`.
"""

from __future__ import annotations

from typing import Any

from everystep.states.row import Part, Row

STATES = {"LSTM": ("h", "c"), "GRU": ("h",), "SimpleRNN": ("h",)}
NAMES = {"h": "h, the hidden state,", "c": "c, the cell state,"}


def kind_of(layer: Any) -> str | None:
    """ "LSTM", "GRU", "SimpleRNN": by the name of the layer's class, of one that it derives from, or of its cell's."""
    names = {base.__name__ for part in (layer, getattr(layer, "cell", None)) for base in type(part).__mro__}
    return next((kind for kind in STATES if kind in names or f"{kind}Cell" in names), None)


def units_of(layer: Any) -> int:
    """H."""
    return int(layer.units if hasattr(layer, "units") else layer.cell.units)


def rows(layer: Any, kind: str) -> list[Row]:
    """A row for every tensor that the layer returns, in order; shapes with None for B and T."""
    H, states = units_of(layer), STATES[kind]
    sequences, state, zeroed = layer.return_sequences, layer.return_state, layer.zero_output_for_mask
    cells, gates = getattr(layer, "return_cell_sequences", False), getattr(layer, "return_gates", False)
    if layer.go_backwards:
        every = "every step, last to first in time (go_backwards)"
        last = "the first step in time, the last that go_backwards takes"
    else:
        every, last = "every step, first to last", "the last step"
    passed_over = f"{last}; masked steps are passed over"
    per_step = {"axes": ("rows", "steps", "units"), "shape": (None, None, H)}
    per_row = {"axes": ("rows", "units"), "shape": (None, H)}
    zero_at_last = "where a row's last step is masked: output 0 is 0 there, output 1 the h carried past it"
    cells_at = 1 + len(states) * state  # the number of the output that holds c at every step

    found: list[dict[str, Any]] = []
    if sequences:
        found.append(
            dict(
                **per_step,
                what=f"{NAMES['h']} at every step",
                steps=f"{every}; "
                + ("0 at masked steps (zero_output_for_mask)" if zeroed else "a masked step repeats the h before it"),
                equals=f"its last step is {'output 1' if state else 'all that return_sequences=False returns'}",
                unless=zero_at_last if state and zeroed else "",
                use="the input of another recurrent layer, of attention, or of one prediction per step",
                claims=((Part(0, -1), Part(1)),) if state else (),
            )
        )
    else:
        found.append(
            dict(
                **per_row,
                what=f"{NAMES['h']} after the last step",
                steps=f"{last}; 0 in a row where it is masked" if zeroed else passed_over,
                equals="output 1" if state else "the last step of what return_sequences=True returns",
                unless=zero_at_last if state and zeroed else "",
                use="one summary of the whole sequence, for one prediction per row",
                claims=((Part(0), Part(1)),) if state else (),
            )
        )
    if state:
        found.append(
            dict(
                **per_row,
                what=f"{NAMES['h']} after the last step",
                steps=passed_over,
                equals="the last step of output 0" if sequences else "output 0",
                unless=zero_at_last if zeroed else "",
                use=(
                    f"pass {'outputs 1 and 2, in this order,' if len(states) > 1 else 'it'} as initial_state: of a "
                    "decoder with as many units, or of this layer on what comes next"
                ),
                claims=((Part(1), Part(0, -1 if sequences else None)),),
            )
        )
    if state and "c" in states:
        found.append(
            dict(
                **per_row,
                what=f"{NAMES['c']} after the last step",
                steps=passed_over,
                equals=f"the last step of output {cells_at}" if cells else f"no other output: {_h_from_c(layer)}",
                use="the second half of initial_state: see output 1",
                claims=((Part(2), Part(cells_at, -1)),) if cells else (),
            )
        )
    if cells:
        found.append(
            dict(
                **per_step,
                what=f"{NAMES['c']} at every step",
                steps=f"{every}; a masked step repeats the c before it",
                equals=f"its last step is {'output 2' if state else 'the c that return_state=True returns'}",
                use=(
                    "with output 0, the state after every step: both at [:, t] are the initial_state to go on after t"
                    if sequences and not zeroed
                    else "see what the layer remembers, and for how long"
                ),
                claims=((Part(cells_at, -1), Part(2)),) if state else (),
            )
        )
    if gates:
        found.append(
            dict(
                axes=("rows", "steps", "gates", "units"),
                shape=(None, None, 4, H),
                what="the gates i, f, g, o (input, forget, candidate, output) at every step, after their activations",
                steps=f"{every}; 0 at masked steps",
                equals=f"up to rounding, c = f * c_before + i * g, and {_h_from_c(layer)}",
                unless="at a masked step c and h are carried; at a reset c_before is the initial c",
                use="see why c changes: f near 1 keeps the old, i near 1 writes g, o near 1 shows c in h",
            )
        )
    return [Row(name=f"output {k}", **row) for k, row in enumerate(found)]


def notes(layer: Any, kind: str) -> list[str]:
    """What else to know about this layer: its starting state, and what it could return as well."""
    found = []
    ours = hasattr(layer, "return_gates")
    more = {"return_sequences": "h at every step", "return_state": f"the last {' and '.join(STATES[kind])}"}
    if ours:
        more |= {"return_cell_sequences": "c at every step", "return_gates": "the gates at every step"}
    asked = [f"{option}=True ({words})" for option, words in more.items() if not getattr(layer, option)]
    if asked:
        found.append(f"it can also return: {', '.join(asked)}")
    if kind == "LSTM" and not ours:
        name, module = type(layer).__name__, type(layer).__module__
        if name == "LSTM" and module.split(".")[0] == "keras":  # all that with_engine replaces
            name, then = "Keras's own LSTM", "puts it in the place of Keras's"
        else:
            then = f"leaves {name} as it is: write that LSTM in its place"
        found.append(
            f"{name} cannot return c or the gates at every step; everystep.keras.layers.LSTM can, and "
            f"everystep.keras.with_engine(model) {then}"
        )
    if not ours:
        found.append("with masks, Keras's backends differ; this table says what its JAX loop does (not unrolled)")
    if layer.stateful:
        found.append(
            "stateful matters after to_keras() only: here every call starts from the initial state"
            if hasattr(layer, "step")
            else "stateful: a call starts from the states in which the call before it ended, until reset_state()"
        )
    if getattr(layer, "trainable_initial_state", False):
        found.append("its initial h and c are weights (trainable_initial_state)")
    return found


def _h_from_c(layer: Any) -> str:
    activation = layer.activation if hasattr(layer, "activation") else layer.cell.activation
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "activation")
    return "h = o * c" if name == "linear" else f"h = o * {name}(c)"
