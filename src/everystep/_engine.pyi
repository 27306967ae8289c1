"""The native module. Its functions and their arrays are in engine/bind/array_module.cc; engine.py alone calls them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
