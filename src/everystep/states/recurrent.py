"""What recurrent layers return, by definition, under every combination of their options.

Every equality here holds for sequences of at least one step; with none there is no last step, and the last states are
the initial ones. A masked step carries the states, and outputs the carried h, or 0 with `zero_output_for_mask`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from everystep.states.gates import KINDS, gates_row, h_from_c
from everystep.states.row import Part, Row

NAMES = {"h": "h, the hidden state,", "c": "c, the cell state,"}


class Described(NamedTuple):
    """A cell of a recurrent layer of everystep or Keras.

    Attributes:
        kind: a key of `KINDS`.
        cell: the cell's own object; that of an everystep layer of one cell is the layer.
        of: ", of lstm_cell" in words, for one of several.
    """

    kind: str
    cell: Any
    of: str

    @property
    def states(self) -> tuple[str, ...]:
        return KINDS[self.kind].states

    @property
    def units(self) -> int:
        return int(self.cell.units)


def cells_of(layer: Any) -> list[Described]:
    """The cells that a layer runs, from the first to the last; none if it is not recurrent, or one is not known."""
    if not hasattr(layer, "return_state") or hasattr(layer, "forward_layer"):
        return []
    cell = getattr(layer, "cell", layer)
    several = getattr(cell, "cells", None) if cell is not layer else None
    found = []
    for one in several or [cell]:
        names = {base.__name__ for base in type(one).__mro__}
        kind = next((kind for kind in KINDS if kind in names or f"{kind}Cell" in names), None)
        if kind is None or (one is not layer and not _as_its_base(one)):
            return []
        found.append(Described(kind, one, f", of {one.name}" if several else ""))
    return found


def _as_its_base(cell: Any) -> bool:
    """Whether a cell does what its class's name says: Keras's own do, and ours, of which the engine runs the base."""
    return hasattr(cell, "spec") or type(cell).__module__.partition(".")[0] in ("keras", "everystep")


def rows(layer: Any) -> list[Row]:
    """A row for every tensor that the layer returns, in order; shapes with None for B and T."""
    stack = cells_of(layer)
    top, single = stack[-1], len(stack) == 1 and not stack[0].of
    H, states = top.units, [(letter, each) for each in stack for letter in each.states]
    sequences, state, zeroed = layer.return_sequences, layer.return_state, layer.zero_output_for_mask
    cells, gates = getattr(layer, "return_cell_sequences", False), getattr(layer, "return_gates", False)
    every, last = order_of(layer)
    passed_over = f"{last}; masked steps are passed over"
    per_step = {"axes": ("rows", "steps", "units"), "shape": (None, None, H)}
    per_row = {"axes": ("rows", "units"), "shape": (None, H)}
    h_at = 1 + len(states) - len(top.states)  # the number of the output that is the last h of the last cell
    zero_at_last = f"where a row's last step is masked: output 0 is 0 there, output {h_at} the h carried past it"
    with_c = [each for each in stack if "c" in each.states]
    cells_at = 1 + len(states) * state  # the number of the first output that holds c at every step

    found: list[dict[str, Any]] = []
    if sequences:
        found.append(
            dict(
                **per_step,
                what=f"{NAMES['h']} at every step{top.of}",
                steps=f"{every}; "
                + ("0 at masked steps (zero_output_for_mask)" if zeroed else "a masked step repeats the h before it"),
                equals=f"its last step is {f'output {h_at}' if state else 'all that return_sequences=False returns'}",
                unless=zero_at_last if state and zeroed else "",
                use="the input of another recurrent layer, of attention, or of one prediction per step",
                claims=((Part(0, -1), Part(h_at)),) if state else (),
            )
        )
    else:
        found.append(
            dict(
                **per_row,
                what=f"{NAMES['h']} after the last step{top.of}",
                steps=f"{last}; 0 in a row where it is masked" if zeroed else passed_over,
                equals=f"output {h_at}" if state else "the last step of what return_sequences=True returns",
                unless=zero_at_last if state and zeroed else "",
                use="one summary of the whole sequence, for one prediction per row",
                claims=((Part(0), Part(h_at)),) if state else (),
            )
        )
    for number, (letter, each) in enumerate(states if state else (), start=1):
        own_c = cells_at + with_c.index(each) if letter == "c" else 0
        if number == h_at:
            equals, unless = ("the last step of output 0" if sequences else "output 0"), zero_at_last if zeroed else ""
            claims: tuple[tuple[Part, Part], ...] = ((Part(number), Part(0, -1 if sequences else None)),)
        elif letter == "c" and cells:
            equals, unless = f"the last step of output {own_c}", ""
            claims = ((Part(number), Part(own_c, -1)),)
        else:
            equals = f"no other output{f': {h_from_c(each.cell)}' if letter == 'c' else ''}"
            unless, claims = "", ()
        found.append(
            dict(
                axes=("rows", "units"),
                shape=(None, each.units),
                what=f"{NAMES[letter]} after the last step{each.of}",
                steps=passed_over,
                equals=equals,
                unless=unless,
                use=_state_use(number, len(states), single),
                claims=claims,
            )
        )
    for k, each in enumerate(with_c if cells else ()):
        last_c = 1 + states.index(("c", each))
        found.append(
            dict(
                axes=("rows", "steps", "units"),
                shape=(None, None, each.units),
                what=f"{NAMES['c']} at every step{each.of}",
                steps=f"{every}; a masked step repeats the c before it",
                equals=f"its last step is {f'output {last_c}' if state else 'the c that return_state=True returns'}",
                use=(
                    "with output 0, the state after every step: both at [:, t] are the initial_state to go on after t"
                    if single and sequences and not zeroed
                    else "see what the layer remembers, and for how long"
                ),
                claims=((Part(cells_at + k, -1), Part(last_c)),) if state else (),
            )
        )
    described = [Row(name=f"output {k}", **row) for k, row in enumerate(found)]
    for each in stack if gates else ():
        h_at_every_step = "output 0" if each is top and sequences else "h at every step"
        row = gates_row(each.kind, each.cell, each.of, f"{every}; 0 at masked steps", h_at_every_step)
        described.append(replace(row, name=f"output {len(described)}"))
    return described


def order_of(layer: Any) -> tuple[str, str]:
    """In words: the order in which a layer takes the steps, and which it takes last."""
    if layer.go_backwards:
        return (
            "every step, last to first in time (go_backwards)",
            "the first step in time, the last that go_backwards takes",
        )
    return "every step, first to last", "the last step"


def _state_use(number: int, count: int, single: bool) -> str:
    if number > 1:
        return ("the second half of" if single else "the next part of") + " initial_state: see output 1"
    those = {1: "it", 2: "outputs 1 and 2, in this order,"}.get(count, f"outputs 1 to {count}, in this order,")
    return f"pass {those} as initial_state: of a decoder with as many units, or of this layer on what comes next"


def notes(layer: Any) -> list[str]:
    """What else to know about this layer: its starting state, and what it could return as well."""
    found = []
    kinds = dict.fromkeys(each.kind for each in cells_of(layer))  # each once
    letters = list(dict.fromkeys(letter for kind in kinds for letter in KINDS[kind].states))
    ours = hasattr(layer, "return_gates")
    more = {"return_sequences": "h at every step", "return_state": f"the last {' and '.join(letters)}"}
    if ours:
        more |= {"return_cell_sequences": "c at every step"} if "c" in letters else {}
        more |= {"return_gates": "the gates at every step"}
    asked = [f"{option}=True ({words})" for option, words in more.items() if not getattr(layer, option)]
    if asked:
        found.append(f"it can also return: {', '.join(asked)}")
    if not ours:
        name, module = type(layer).__name__, type(layer).__module__
        if name in (*KINDS, "RNN") and module.split(".")[0] == "keras":  # all that with_engine replaces
            twin, name, then = name, f"Keras's own {name}", "puts it in the place of Keras's"
        else:
            [twin, *_] = kinds if len(kinds) == 1 else ["RNN"]
            then = f"leaves {name} as it is: write that {twin} in its place"
        lacks = "c or the gates" if "c" in letters else "the gates"
        found.append(
            f"{name} cannot return {lacks} at every step; everystep.keras.layers.{twin} can, and "
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
        weights = "are weights" if len(letters) > 1 else "is a weight"
        found.append(f"its initial {' and '.join(letters)} {weights} (trainable_initial_state)")
    return found
