"""What a layer or a model returns, in words: one row per tensor."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from everystep.errors import OptionError
from everystep.states import bidirectional, plain, recurrent, table, wiring
from everystep.states.row import Row, Shape

HEADER = ("tensor", "what it is", "shape", "equals, by definition", "what it is for")


@dataclass(frozen=True)
class Explanation:
    """A table of returned tensors; prints as text, and shows as HTML in a notebook.

    Attributes:
        title: what is explained.
        rows: one for each returned tensor.
        notes: what else to know.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def text(self, width: int) -> str:
        """The table as plain text, `width` columns wide."""
        return table.terminal(self.title, HEADER, [_cells(row) for row in self.rows], self.notes, width)

    def __str__(self) -> str:
        return self.text(min(120, max(80, shutil.get_terminal_size((110, 24)).columns)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table.html(self.title, HEADER, [_cells(row) for row in self.rows], self.notes)


def explain(model_or_layer: Any) -> Explanation:
    """Explains every tensor that a layer returns, or every layer of a model.

    Args:
        model_or_layer: a model or a layer, of everystep or of Keras.

    Returns:
        For each tensor: what it is, which steps it covers, its shape, what it equals by definition and where that
        fails, and what it is for. Print it, or end a notebook's cell with it; `.rows` holds the same as data.

    Raises:
        OptionError: it is neither a model nor a layer.
    """
    it = model_or_layer
    if isinstance(it, type):
        raise OptionError(f"explain takes a layer or a model, not a class: make one, {it.__name__}(...), and pass that")
    if not (hasattr(it, "name") and callable(it) and (hasattr(it, "get_config") or hasattr(it, "layers"))):
        raise OptionError(f"explain takes a model or a layer, of everystep or Keras; got {type(it).__name__}")
    name = f"{it.name} ({type(it).__name__})"
    if wiring.is_graph(it) and hasattr(it, "layers"):
        rows = list(_model_rows(it).values())
        return Explanation(f"{name}: what each layer returns", tuple(rows), tuple(_notes(it.layers)))
    if hasattr(it, "layers") and not hasattr(it, "forward_layer"):
        rows = [row for layer in it.layers for row in _named(layer.name, _layer_rows(layer, []))]
        how = "what each layer returns; where it goes is not known, as the model is no graph"
        return Explanation(f"{name}: {how}", tuple(rows), tuple(_notes(it.layers)))
    rows = _named(it.name, _layer_rows(it, _shapes(wiring.last_outputs(it))))
    returned = f"{len(rows)} tensor{'s'[: len(rows) != 1]}"
    return Explanation(f"{name} returns {returned}", tuple(rows), tuple(_notes([it])))


def _model_rows(model: Any) -> dict[int, Row]:
    """A row for each tensor of the graph, by the tensor's id, in the order in which data flows."""
    ordered = wiring.calls(model)
    goes_to = wiring.destinations(model, ordered)
    tokens = {id(tensor) for call in ordered if type(call.layer).__name__ == "Embedding" for tensor, _ in call.inputs}
    found: dict[int, Row] = {}
    for call in ordered:
        first = found.get(id(call.inputs[0][0])) if call.inputs else None
        rows = _layer_rows(call.layer, _shapes(call.outputs), first.axes if first else ())
        for row, tensor in zip(_named(call.label, rows), call.outputs, strict=True):
            axes = ("rows", "steps") if id(tensor) in tokens and len(row.axes) == 2 else row.axes
            found[id(tensor)] = replace(row, axes=axes, goes_to=tuple(goes_to.get(id(tensor), ())))
    return found


def _layer_rows(layer: Any, shapes: list[Shape], given: tuple[str, ...] = ()) -> list[Row]:
    """The rows of one layer.

    Args:
        layer: of any kind, a nested model too.
        shapes: of the symbolic tensors that a call of it returned; none, if it has not been called on any.
        given: words for the axes of its first input, as far as they are known.
    """
    forward, backward = getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)
    if type(layer).__name__ == "TimeDistributed":
        within = _layer_rows(layer.layer, [_without_steps(shape) for shape in shapes], given[:1])
        rows = [_at_each_step(row) for row in within]
    elif recurrent.cells_of(layer):
        rows = recurrent.rows(layer)
    elif recurrent.cells_of(forward) and recurrent.cells_of(backward):
        rows = bidirectional.rows(layer)
    elif hasattr(layer, "layers") and wiring.is_graph(layer):
        rows = [_inner_row(layer, k) for k in range(len(layer.outputs))]
    else:
        return [plain.row(layer, k, shape, given) for k, shape in enumerate(shapes or [None])]
    return [replace(row, shape=shape) for row, shape in zip(rows, shapes, strict=True)] if shapes else rows


def _shapes(outputs: list[Any]) -> list[Shape]:
    return [tuple(tensor.shape) for tensor in outputs]


def _without_steps(shape: Shape) -> Shape:
    return (shape[0], *shape[2:])


def _at_each_step(row: Row) -> Row:
    """What a layer returns, as TimeDistributed returns it: on every step of an axis before the layer's own."""
    return replace(
        row,
        what=f"on each step by itself: {row.what}",
        axes=("rows", "steps", *row.axes[1:]),
        shape=None if row.shape is None else (row.shape[0], None, *row.shape[1:]),
        equals="",
        unless="",
        use="",
        claims=(),
    )


def _inner_row(model: Any, number: int) -> Row:
    """The row of a nested model's output: that of the layer inside which returns it."""
    inner = _model_rows(model)[id(model.outputs[number])]
    inside = f"{inner.name}, inside {model.name}"
    return replace(inner, name=f"output {number}", equals=inside, unless="", claims=())


def _named(label: str, rows: list[Row]) -> list[Row]:
    return [replace(row, name=f"{label}: {row.name}") for row in rows]


def _notes(layers: Sequence[Any]) -> list[str]:
    """What else to know about recurrent layers, said once for all of which it is true."""
    names: dict[str, list[str]] = {}
    for layer in layers:
        for note in recurrent.notes(layer) if recurrent.cells_of(layer) else ():
            names.setdefault(note, []).append(layer.name)
    return [f"{', '.join(of)}: {note}" for note, of in names.items()]


def _cells(row: Row) -> list[list[str]]:
    """The row as the table shows it: paragraphs for each column of HEADER."""
    return [
        [row.name, *(f"-> {where}" for where in row.goes_to)],
        [row.what, *([f"steps: {row.steps}"] if row.steps else [])],
        row.shape_in_words.replace(" = ", "\n= ").split("\n"),
        [row.equals, *([f"except {row.unless}"] if row.unless else [])],
        [row.use],
    ]
