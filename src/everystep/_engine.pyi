"""The native module: engine/bind. The package `everystep.engine` alone calls it."""

from typing import Any

def __getattr__(name: str) -> Any: ...
