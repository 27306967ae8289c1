"""The README's code, one block after the other, prints what the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_code_prints_what_is_shown(tmp_path: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
    (shown,) = re.findall(r"```\n(step 0.*?)```", README.read_text(), re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == shown
