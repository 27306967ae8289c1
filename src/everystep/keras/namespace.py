"""Before Keras is imported: is it there, and with which backend; after: its modules under our name."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from everystep.errors import DependencyError

BACKENDS = ("jax", "tensorflow", "torch")  # in the order in which we take one; each is its package's name


def check_keras() -> None:
    """Raises DependencyError unless Keras 3 is installed."""
    try:
        installed = version("keras")
    except PackageNotFoundError:
        raise DependencyError("everystep.keras needs Keras 3, and no Keras is installed: install it and JAX") from None
    if int(installed.split(".")[0]) < 3:
        raise DependencyError(f"everystep.keras needs Keras 3, and Keras {installed} is installed: upgrade keras")


def choose_backend() -> None:
    """Sets KERAS_BACKEND when nothing set it and the backend that Keras would take is not installed.

    A choice by KERAS_BACKEND, or of an installed backend in Keras's config file, or of a Keras that is already
    imported, is never overridden.

    Raises:
        DependencyError: no backend is installed.
    """
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules or _installed(_configured()):
        return
    for name in BACKENDS:
        if _installed(name):
            os.environ["KERAS_BACKEND"] = name
            return
    raise DependencyError(f"everystep.keras needs a backend for Keras, one of {', '.join(BACKENDS)}: install jax")


def replaced_in(module: ModuleType, **ours: Any) -> ModuleType:
    """A module under our name that has the names of Keras's `module`, and `ours` instead of some of them."""
    made = ModuleType(f"everystep.{module.__name__}", module.__doc__)
    vars(made).update({name: value for name, value in vars(module).items() if not name.startswith("_")} | ours)
    sys.modules[made.__name__] = made
    return made


def alias_modules() -> None:
    """Makes `import everystep.keras.optimizers.schedules` give Keras's own module, for all but those replaced."""
    for name, module in list(sys.modules.items()):
        parts = name.split(".")
        if parts[0] == "keras" and len(parts) > 1 and parts[1] != "src" and not parts[1].startswith("_"):
            sys.modules.setdefault(f"everystep.{name}", module)


def _configured() -> str:
    """The backend in Keras's config file, or Keras's default."""
    home = os.environ.get("KERAS_HOME")
    if home is None:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")  # as Keras looks for it
    path = Path(home).expanduser() / "keras.json"
    if not path.exists():
        return "tensorflow"
    try:
        config = json.loads(path.read_text())
    except ValueError:  # Keras, too, takes its default then
        return "tensorflow"
    return str(config.get("backend", "tensorflow"))


def _installed(backend: str) -> bool:
    return importlib.util.find_spec(backend) is not None
