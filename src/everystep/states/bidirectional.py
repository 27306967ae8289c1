"""What Bidirectional returns: two directions merged, then the last states of each.

The backward layer's sequence is put back into time order, so each direction's last h stands at another end of it.
"""

from __future__ import annotations

from typing import Any

from everystep.states.recurrent import NAMES, STATES, units_of
from everystep.states.row import Part, Row

MERGED = {"sum": "the sum of", "mul": "the product of", "ave": "the mean of"}


def rows(layer: Any, kind: str) -> list[Row]:
    """A row for every tensor that the layer returns, in order; `kind` is its forward layer's."""
    forward = layer.forward_layer
    H, H_back, states, mode = units_of(forward), units_of(layer.backward_layer), STATES[kind], layer.merge_mode
    sequences, state = forward.return_sequences, forward.return_state
    zeroed = forward.zero_output_for_mask or layer.backward_layer.zero_output_for_mask
    first, second = (1, 1 + len(states)) if mode is not None else (2, 2 + len(states))  # the two last h
    order = "last to first in time" if forward.go_backwards else "first to last"
    unless = "where the step in question is masked: 0 there (zero_output_for_mask)" if zeroed else ""
    ends = (-1, 0) if sequences else (None, None)  # where each direction's last h stands in its sequence
    when = f"every step, {order}, for both directions" if sequences else "each direction's own last step"

    def output(number: int, what: str, units: int, equals: str, claims: tuple[tuple[Part, Part], ...]) -> Row:
        return Row(
            name=f"output {number}",
            what=what,
            steps=when,
            axes=("rows", "steps", "units") if sequences else ("rows", "units"),
            shape=(None, None, units) if sequences else (None, units),
            equals=equals if state else "",
            unless=unless if state and claims else "",
            use="what comes before and after each step, for one prediction per step"
            if sequences
            else "one summary of the whole sequence, for one prediction per row",
            claims=claims if state else (),
        )

    at = "h at every step" if sequences else "the last h"
    found = []
    if mode is None:
        for k, (name, size, number) in enumerate((("forward", H, first), ("backward", H_back, second))):
            end = ("its last step is", "its first step is")[k] if sequences else "equals"
            claims = ((Part(k, ends[k]), Part(number)),)
            found.append(output(k, f"{at} of the {name} layer", size, f"{end} output {number}", claims))
    elif mode == "concat":
        parts = (Part(0, ends[0], (0, H)), Part(0, ends[1], (H, H + H_back)))
        equals = f"units 0 to {H - 1} at the last step: output {first}; the others at the first step: output {second}"
        if not sequences:
            equals = f"output {first} and output {second} side by side"
        what = f"{at} of the forward layer, then of the backward layer, side by side"
        found.append(output(0, what, H + H_back, equals, ((parts[0], Part(first)), (parts[1], Part(second)))))
    else:
        both = f"{MERGED.get(mode, mode + ' of')} {at} of the forward and of the backward layer"
        equals = "" if sequences else f"{MERGED.get(mode, mode + ' of')} outputs {first} and {second}"
        found.append(output(0, both, H, equals, ()))
    if state:
        for direction, size in (("forward", H), ("backward", H_back)):
            for letter in states:
                found.append(
                    Row(
                        name=f"output {len(found)}",
                        what=f"{NAMES[letter]} of the {direction} layer after its last step",
                        steps=f"the {'last' if (direction == 'forward') != forward.go_backwards else 'first'} step in "
                        "time; masked steps are passed over",
                        axes=("rows", "units"),
                        shape=(None, size),
                        equals="see output 0" if letter == "h" else "no other output",
                        use="all last states, in this order, are the initial_state of a Bidirectional of the same kind",
                    )
                )
    return found
