"""One returned tensor in words, and what it equals as something that a program can check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Part:
    """A part of what a layer returns: one output, whole or cut.

    Attributes:
        output: its number.
        step: one step of its time axis, axis 1: 0 the first, -1 the last; None for all of it.
        units: from where to where on its last axis; None for all of it.
    """

    output: int
    step: int | None = None
    units: tuple[int, int] | None = None

    def of(self, outputs: Any) -> Any:
        """This part of the arrays that a layer returned."""
        array = outputs[self.output]
        if self.step is not None:
            array = array[:, self.step]
        return array if self.units is None else array[..., slice(*self.units)]


@dataclass(frozen=True)
class Row:
    """One returned tensor.

    Attributes:
        name: the layer and the number of the output: "lstm: output 0".
        what: what it is.
        steps: which steps it covers, in which order, and what it holds at masked ones; empty if it has none.
        axes: a word for every axis.
        shape: its shape, with None for sizes that only the data will tell; None if nothing is known of it.
        equals: what it equals by definition, whatever the weights and the data.
        unless: where that fails; empty if it never does.
        use: what it is for.
        goes_to: where it goes in the model: "into dense", "model output 0".
        claims: pairs of parts of this layer's outputs that are equal, as `equals` says.
    """

    name: str
    what: str
    steps: str
    axes: tuple[str, ...]
    shape: Shape | None
    equals: str = ""
    unless: str = ""
    use: str = ""
    goes_to: tuple[str, ...] = ()
    claims: tuple[tuple[Part, Part], ...] = ()

    @property
    def shape_in_words(self) -> str:
        """Words and numbers: "(rows, steps, units) = (None, 3, 1)"."""
        if self.shape is None:
            return "known once the layer is in a model"
        numbers = ", ".join(str(size) for size in self.shape)
        return f"({', '.join(self.axes)}) = ({numbers}{',' if len(self.shape) == 1 else ''})"
