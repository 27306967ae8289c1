"""Recurrent networks with every state in reach. Public names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that has it; None: the name is itself a module of this package.
_NAMES = {
    "layers": None,
    "models": None,
    "seq2seq": None,
    "Input": "everystep.layers",
    "Model": "everystep.models",
    "Sequential": "everystep.models",
    "Stream": "everystep.models",
    "from_keras": "everystep.saved.keras_config",
    "from_torch": "everystep.saved.torch_models",
    "to_torch": "everystep.saved.torch_models",
    "load_model": "everystep.saved.load",
    "register": "everystep.layers.registered",
    "explain": "everystep.states.explain",
    "trace": "everystep.states.trace",
    "engine_info": "everystep.engine",
    "set_num_threads": "everystep.engine",
}

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "Stream",
    "engine_info",
    "explain",
    "from_keras",
    "from_torch",
    "layers",
    "load_model",
    "models",
    "register",
    "seq2seq",
    "set_num_threads",
    "to_torch",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = _NAMES[name]
    value: Any = importlib.import_module(where or f"{__name__}.{name}")
    if where:
        value = getattr(value, name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
