"""docs/traces.md: its code prints what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


def test_the_code_prints_what_is_shown() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```\n(\['encoder.*?)```", PAGE, re.DOTALL)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == shown
