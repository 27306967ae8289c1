"""Faults of the command line, and of one model in many threads."""

from __future__ import annotations

from fault import Fault

PREDICT, STEP = ("tests/cli/test_cli_predict.py",), ("tests/cli/test_cli_step.py",)

CLI_FAULTS = [
    Fault(
        "everystep predict: lines that a batch leaves over are dropped",
        "src/everystep/cli/tables.py",
        "self._left = Block(numbers[count:], ids and ids[count:])",
        "self._left = Block(numbers[:0], ids and ids[:0])",
        PREDICT,
    ),
    Fault(
        "everystep predict: a sequence ends where a block of lines ends",
        "src/everystep/cli/tables.py",
        "if parts and name != now:",
        "if parts and (name != now or ids is None):",
        PREDICT,
    ),
    Fault(
        "everystep predict: an array is read whole",
        "src/everystep/cli/arrays.py",
        "data = self._file.read(count * self._row_bytes)",
        "data = self._file.read(self.rows * self._row_bytes)[: count * self._row_bytes]",
        PREDICT,
    ),
    Fault(
        "everystep predict: a result that fails takes the place of the old one",
        "src/everystep/saved/replaced.py",
        'unfinished = f"{path}.{os.getpid()}.part"',
        "unfinished = path",
        PREDICT,
    ),
    Fault(
        "everystep predict: numbers in text lose digits",
        "src/everystep/cli/table_results.py",
        "zip(*(map(str, column) for column in columns.values()), strict=True)",
        "zip(*((f'{v:.6g}' if isinstance(v, np.floating) else v for v in c) for c in columns.values()), strict=True)",
        PREDICT,
    ),
    Fault(
        "everystep step: answers wait in a buffer",
        "src/everystep/cli/step.py",
        "                sys.stdout.flush()\n",
        "",
        STEP,
    ),
    Fault(
        "everystep step: the state is not kept after a wrong line",
        "src/everystep/cli/step.py",
        "    finally:\n        if state is not None:\n",
        "    else:\n        if state is not None:\n",
        STEP,
    ),
    Fault(
        "everystep step: a signal interrupts within a step",
        "src/everystep/cli/interrupts.py",
        "if not self._holding:",
        "if True:",
        STEP,
    ),
]
