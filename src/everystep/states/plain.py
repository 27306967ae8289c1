"""What is known about layers that are not recurrent: they return one tensor each."""

from __future__ import annotations

from typing import Any

from everystep.states.row import Row, Shape

# Class name -> what it returns, what that equals, and where it does not.
KNOWN = {
    "InputLayer": ("what you pass to the model", "", ""),
    "Dense": ("activation(input @ kernel + bias)", "", ""),
    "Embedding": ("one vector for each token: a row of its table", "", ""),
    "Masking": ("its input, with steps marked as masked for the layers after it", "its input", "0 at masked steps"),
    "Dropout": ("its input; in training with some entries set to 0", "its input", "in training"),
    "Activation": ("its activation of every number", "", ""),
    "Concatenate": ("its inputs, joined along one axis", "", ""),
}
SAME_AXES = ("Masking", "Dropout", "Activation", "Concatenate")


def row(layer: Any, number: int, shape: Shape | None, given: tuple[str, ...]) -> Row:
    """The row of an output, of this shape if it is known; `given` are words for the axes of the layer's first input."""
    name = getattr(layer, "kind", None) or type(layer).__name__  # of a function between layers, its own
    kind = "recurrent layer, not described here," if hasattr(layer, "return_state") else "operation"
    what, equals, unless = KNOWN.get(name, (f"what the {kind} {name} returns", "", ""))
    if name == "Dense" and "steps" in given[:-1]:  # its last axis is the one that it multiplies
        what += ", each step on its own"
    return Row(
        name=f"output {number}",
        what=what,
        steps="",
        axes=() if shape is None else _axes(name, len(shape), given),
        shape=shape,
        equals=equals,
        unless=unless,
    )


def _axes(name: str, rank: int, given: tuple[str, ...]) -> tuple[str, ...]:
    if name in SAME_AXES and len(given) == rank:
        return given
    if name == "Embedding" and len(given) == rank - 1:
        return (*given, "features")
    if name == "Dense" and len(given) == rank:
        return (*given[:-1], "units")
    if name == "InputLayer" and rank in (2, 3):
        return ("rows", "values") if rank == 2 else ("rows", "steps", "features")
    return ("rows", *(f"axis {k}" for k in range(1, rank)))[:rank]
