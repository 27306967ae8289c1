"""Faults of traces."""

from __future__ import annotations

from fault import Fault

RECORDING, SITES = "src/everystep/models/recording.py", "src/everystep/models/sites.py"
VALUES, MODELS, PIECES, FORMS = (
    f"tests/states/test_trace_{part}.py" for part in ("values", "models", "pieces", "forms")
)

TRACE_FAULTS = [
    Fault(
        "trace: what goes backwards is left in the order of processing",
        RECORDING,
        "turned = site.backwards",
        "turned = False",
        (VALUES,),
    ),
    Fault(
        "trace: the mask of a cell on top is left in the order of processing",
        RECORDING,
        "in_time(call[name], turned and site.place > 0)",
        "in_time(call[name], False)",
        (MODELS,),
    ),
    Fault(
        "trace: a layer's calls are counted as one",
        RECORDING,
        "self._counts[path] += 1",
        "self._counts[path] = 1",
        (MODELS,),
    ),
    Fault(
        "trace: states before the first step are those that a stream goes on with",
        RECORDING,
        'tuple(state.copy() for state in asked["states"])',
        'asked["states"]',
        (PIECES,),
    ),
    Fault(
        "trace: a decoder begins with its encoder",
        SITES,
        "return max([0, *ends, *",
        "return max([0, *",
        (MODELS,),
    ),
    Fault(
        "trace: the state before a step is that of the step before it, also backwards",
        "src/everystep/states/trace_layers.py",
        "        if self.backwards:\n            found",
        "        if False:\n            found",
        (VALUES,),
    ),
    Fault(
        "trace: a file's pieces of rows are written to the first rows",
        "src/everystep/states/trace_file.py",
        "where = slice(rows.start * each, rows.stop * each)",
        "where = slice(0, (rows.stop - rows.start) * each)",
        (PIECES,),
    ),
    Fault(
        "trace: other weights are not noticed",
        "src/everystep/states/trace_model.py",
        "if int(layer.version[0]) != version:",
        "if False:",
        (MODELS,),
    ),
]
