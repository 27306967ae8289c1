"""The native module for XLA. Its calls are in engine/bind/xla_module.cc; keras/adapters/jax.py alone registers them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
