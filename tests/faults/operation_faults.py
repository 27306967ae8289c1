"""Faults of the functions between the layers."""

from __future__ import annotations

from fault import Fault

_FILES = ("tests/saved/test_saved_operations.py",)
_STEPS = ("tests/saved/test_saved_operations.py", "tests/layers/test_layers_operations.py")
_AT = "src/everystep/layers/operations"

OPERATION_FAULTS = [
    Fault(
        "operations: int32 and a fraction of Python's stay int32",
        f"{_AT}/kind.py",
        "elif any(isinstance(value, float) for value in numbers):",
        "elif not whole and any(isinstance(value, float) for value in numbers):",
        _FILES,
    ),
    Fault(
        "operations: any index on the time axis is taken for the newest step",
        f"{_AT}/slicing.py",
        "found[0] == (0, ALL) and found[1] == (1, -1)",
        "found[0] == (0, ALL) and not isinstance(found[1][1], slice)",
        _FILES,
    ),
    Fault(
        "operations: a step's axes are counted without the time axis",
        f"{_AT}/function.py",
        "return value[:, None]",
        "return value[..., None]",
        _STEPS,
    ),
    Fault(
        "operations: the parts of a key are one axis late after ...",
        f"{_AT}/slicing.py",
        "[ALL] * (len(x) - taken)",
        "[ALL] * (len(x) - taken + 1)",
        _FILES,
    ),
    Fault(
        "operations: arguments by keyword in the order in which they come",
        f"{_AT}/function.py",
        "return [given[name] for name in names if name in given]",
        "return [*given.values()]",
        _STEPS,
    ),
    Fault(
        "operations: a sum takes the kept axes for the summed ones where there are several",
        f"{_AT}/reductions.py",
        "rows = x.transpose([*kept, *gone])",
        "rows = x.transpose([*gone, *kept])",
        _FILES,
    ),
    Fault(
        "operations: an end of a clip that is not given is nan",
        f"{_AT}/elementwise.py",
        "[None if end is None else as_dtype(end, dtype)",
        "[as_dtype(end, dtype)",
        _FILES,
    ),
    Fault(
        "operations: a fraction out of range becomes what the processor makes of it",
        f"{_AT}/elementwise.py",
        'if x.dtype.kind == "f" and found.dtype.kind in "iu":',
        "if False:",
        _FILES,
    ),
    Fault(
        "streams: a function is computed in the dtype that NumPy chooses",
        "src/everystep/layers/bound.py",
        "if ufunc is None or any(x.dtype != result_dtype(*given) for x in arrays):",
        "if ufunc is None or any(x.dtype != arrays[0].dtype for x in arrays):",
        _FILES,
    ),
    Fault(
        "ragged batches: functions between the layers read the padding",
        "src/everystep/models/ragged.py",
        'if {one.padding for one in its} - {"none"} and not _of_masks(node):',
        "if False:",
        _FILES,
    ),
]
