"""What Bidirectional returns: two directions merged, the last states of each, and what the two layers add.

The backward layer's sequences are put back into time order, so each direction's last step stands at another end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from everystep.states.gates import gates_row
from everystep.states.recurrent import NAMES, Described, cells_of
from everystep.states.row import Part, Row

MERGED = {"sum": "the sum of", "mul": "the product of", "ave": "the mean of"}
WAYS = ("forward", "backward")


def rows(layer: Any) -> list[Row]:
    """A row for every tensor that the layer returns, in order."""
    both = [cells_of(each) for each in (layer.forward_layer, layer.backward_layer)]
    last = _state_numbers(both, 2 if layer.merge_mode is None else 1)
    found = [*_outputs(layer, both, last)]
    if layer.return_state:
        found += _last_states(layer, both)
    found += _additions(layer, both, last)
    return [replace(row, name=f"output {k}") for k, row in enumerate(found)]


def _state_numbers(both: list[list[Described]], first: int) -> list[dict[tuple[str, int], int]]:
    """For each direction, (letter, which cell) -> the number of the output that is its last state."""
    numbers: list[dict[tuple[str, int], int]] = []
    for stack in both:
        own = [(letter, k) for k, each in enumerate(stack) for letter in each.states]
        numbers.append({state: first + place for place, state in enumerate(own)})
        first += len(own)
    return numbers


def _outputs(layer: Any, both: list[list[Described]], last: list[dict[tuple[str, int], int]]) -> list[Row]:
    forward, mode = layer.forward_layer, layer.merge_mode
    H, H_back = (stack[-1].units for stack in both)
    sequences, state = forward.return_sequences, forward.return_state
    zeroed = forward.zero_output_for_mask or layer.backward_layer.zero_output_for_mask
    first, second = (numbers["h", len(stack) - 1] for numbers, stack in zip(last, both, strict=True))  # the two last h
    unless = "where the step in question is masked: 0 there (zero_output_for_mask)" if zeroed else ""
    ends = (-1, 0) if sequences else (None, None)  # where each direction's last h stands in its sequence
    masked = "; 0 at masked steps (zero_output_for_mask)" if zeroed else "; masked steps are passed over"
    when = (f"{_order(layer)}, for both directions" if sequences else "each direction's own last step") + masked

    def output(what: str, units: int, equals: str, claims: tuple[tuple[Part, Part], ...]) -> Row:
        return Row(
            name="",
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
    if mode is None:
        found = []
        for k, (name, size, number) in enumerate(((WAYS[0], H, first), (WAYS[1], H_back, second))):
            end = ("its last step is", "its first step is")[k] if sequences else "equals"
            claims = ((Part(k, ends[k]), Part(number)),)
            found.append(output(f"{at} of the {name} layer", size, f"{end} output {number}", claims))
        return found
    if mode == "concat":
        parts = (Part(0, ends[0], (0, H)), Part(0, ends[1], (H, H + H_back)))
        equals = f"units 0 to {H - 1} at the last step: output {first}; the others at the first step: output {second}"
        if not sequences:
            equals = f"output {first} and output {second} side by side"
        what = f"{at} of the forward layer, then of the backward layer, side by side"
        return [output(what, H + H_back, equals, ((parts[0], Part(first)), (parts[1], Part(second))))]
    of = MERGED.get(mode, f"{mode} of")
    equals = "" if sequences else f"{of} outputs {first} and {second}"
    return [output(f"{of} {at} of the forward and of the backward layer", H, equals, ())]


def _last_states(layer: Any, both: list[list[Described]]) -> list[Row]:
    found = []
    for way, stack in zip(WAYS, both, strict=True):
        last = "last" if (way == "forward") != layer.forward_layer.go_backwards else "first"
        for each in stack:
            for letter in each.states:
                row = Row(
                    name="",
                    what=f"{NAMES[letter]} of the {way} layer after its last step{each.of}",
                    steps=f"the {last} step in time; masked steps are passed over",
                    axes=("rows", "units"),
                    shape=(None, each.units),
                    equals="see output 0" if letter == "h" and each is stack[-1] else "no other output",
                    use="all last states, in this order, are the initial_state of a Bidirectional of the same kind",
                )
                found.append(row)
    return found


def _additions(layer: Any, both: list[list[Described]], last: list[dict[tuple[str, int], int]]) -> list[Row]:
    """c at every step of the one direction and of the other; then their gates."""
    cells: list[Row] = []
    gates: list[Row] = []
    at = len(last[1]) + len(last[0]) if layer.return_state else 0
    at += 2 if layer.merge_mode is None else 1  # the number of the first addition
    for k, (each, stack) in enumerate(zip((layer.forward_layer, layer.backward_layer), both, strict=True)):
        for number, cell in enumerate(stack):
            of = f" of the {WAYS[k]} layer{cell.of}"
            if getattr(each, "return_cell_sequences", False) and "c" in cell.states:
                end, its_last = ("last", "first")[k], last[k]["c", number]
                row = Row(
                    name="",
                    what=f"{NAMES['c']} at every step{of}",
                    steps=f"{_order(layer)}; a masked step repeats the c that the layer held when it came there",
                    axes=("rows", "steps", "units"),
                    shape=(None, None, cell.units),
                    equals=f"its {end} step is {f'output {its_last}' if layer.return_state else 'the last c'}",
                    use="see what the layer remembers, and for how long",
                    claims=((Part(at + len(cells), (-1, 0)[k]), Part(its_last)),) if layer.return_state else (),
                )
                cells.append(row)
            if getattr(each, "return_gates", False):
                row = gates_row(cell.kind, cell.cell, of, f"{_order(layer)}; 0 at masked steps", "h at every step")
                turned = "up to rounding, where before is after in time," if k else "up to rounding,"
                gates.append(replace(row, equals=row.equals.replace("up to rounding,", turned)))
    return [*cells, *gates]


def _order(layer: Any) -> str:
    """Of the sequences of both directions."""
    return f"every step, {'last to first in time' if layer.forward_layer.go_backwards else 'first to last'}"
