"""A model as a table: its layers and what each returns, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from everystep.layers.operations import Function

if TYPE_CHECKING:
    from everystep.models.model import Model

HEADER = ("Layer", "Type", "Returns", "Shape", "Parameters")


def summary_text(model: Model) -> str:
    """One row for each tensor that a layer returns, and the number of parameters."""
    rows: list[tuple[str, ...]] = [HEADER]
    layer: Any
    for layer in model.operations:
        first: Any = (layer.name, layer.kind if isinstance(layer, Function) else type(layer).__name__)
        outputs = next(node for node in model.graph.nodes if node.operation is layer).outputs
        if isinstance(layer, Function) and outputs[0].dtype == "bool":  # of a mask
            continue
        names = layer.output_words()
        for number, tensor in enumerate(outputs):
            shape = f"({', '.join('?' if size is None else str(size) for size in tensor.shape)})"
            count = f"{layer.count_params():,}" if number == 0 else ""
            rows.append((*first, names[number] if number < len(names) else "", shape, count))
            first = ("", "")
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([f"Model {model.name!r}", *lines, f"{model.count_params():,} parameters"])
