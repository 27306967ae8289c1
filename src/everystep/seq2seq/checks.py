"""Arguments that must be whole numbers."""

from __future__ import annotations

import operator
from typing import Any

from everystep.errors import OptionError


def whole_number(argument: str, number: Any, least: int = 1) -> int:
    """Raises OptionError unless it is one, from `least` on."""
    try:
        found = operator.index(number)
    except TypeError:
        found = least - 1
    if found < least or isinstance(number, bool):
        raise OptionError(f"{argument} must be a whole number from {least} on; got {number!r}")
    return found
