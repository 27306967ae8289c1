"""What the gates are, and what is made of them."""

from __future__ import annotations

from typing import Any

from everystep import cells
from everystep.states.row import Row

KINDS = {"LSTM": cells.LSTM, "GRU": cells.GRU, "SimpleRNN": cells.SIMPLE}  # by the name of Keras's layer


def gates_row(kind: str, cell: Any, of: str, steps: str, h: str) -> Row:
    """The row of a cell's gates at every step, (B,T,G,H).

    Args:
        kind: a key of `KINDS`.
        cell: the cell.
        of: whose they are, in words, if there are several.
        steps: which steps they cover, in words.
        h: where this cell's h at every step is, in words.
    """
    spec = KINDS[kind]
    words = ", ".join(gate.removesuffix(" gate") for gate in spec.gate_names)
    what = f"the gates {', '.join(spec.gates)} ({words}) at every step{of}, after their activations"
    if kind == "LSTM":
        equals = f"up to rounding, c = f * c_before + i * g, and {h_from_c(cell)}"
        unless = "at a masked step c and h are carried; at a reset c_before is the initial c"
        use = "see why c changes: f near 1 keeps the old, i near 1 writes g, o near 1 shows c in h"
    elif kind == "GRU":
        equals = "up to rounding, h = z * h_before + (1 - z) * g"
        unless = "at a masked step h is carried; at a reset h_before is the initial h"
        use = "see why h changes: z near 1 keeps the old, z near 0 writes g; r near 0 leaves the old h out of g"
    else:
        what = f"the new h at every step{of}, {activation_name(cell)}(...), before a mask carries the old one"
        equals = h
        unless = "at masked steps"
        use = "see which steps write: a SimpleRNN has no gates, and this stands in their place"
    return Row(
        name="",
        what=what,
        steps=steps,
        axes=("rows", "steps", "gates", "units"),
        shape=(None, None, len(spec.gates), int(cell.units)),
        equals=equals,
        unless=unless,
        use=use,
    )


def activation_name(cell: Any) -> str:
    """The activation of a cell of everystep or Keras."""
    activation = cell.activation
    return activation if isinstance(activation, str) else str(getattr(activation, "__name__", "activation"))


def h_from_c(cell: Any) -> str:
    """What an LSTM makes of c."""
    name = activation_name(cell)
    return "h = o * c" if name == "linear" else f"h = o * {name}(c)"
