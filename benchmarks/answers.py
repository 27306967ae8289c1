"""The other end of a process that answers requests, in lines of JSON, after a first line that nobody asked for."""

import json
import sys
from collections.abc import Callable
from typing import Any


def serve(first: Any, answer: Callable[[dict[str, Any]], Any]) -> None:
    """Until its standard input ends. What else is printed meanwhile goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(first), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)
