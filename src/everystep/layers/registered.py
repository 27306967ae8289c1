"""Layers of the user's own: which class stands for a name that a file has.

The table is filled by code alone. A file chooses among the classes that code has put there, as among Keras's own.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any

from everystep.errors import OptionError

_NAMES: dict[type, str] = {}  # class -> "Scale" or "package>Scale"
_CLASSES: dict[str, type] = {}  # the other way
_lock = threading.Lock()


def register(name: str, cls: type) -> None:
    """Makes `cls` the layer of that name, in files, live Keras models and configs.

    A layer is made as `cls(**config)`, of the config that Keras's class of that name returned from its `get_config`;
    its weights come in the order in which Keras's class adds them. It is saved under the name that it was read under,
    so that Keras opens the file once it has its own class of that name. Registering the same pair again does nothing.

    Args:
        name: of Keras's class, "Scale"; or "package>Scale", as `keras.saving.register_keras_serializable("package")`
            makes it, which goes before the plain name and is for that package alone.
        cls: a subclass of `everystep.layers.Layer`; that module says what it defines.

    Raises:
        OptionError: `cls` is no such class; the name is empty, or that of a layer of everystep; the name has another
            class, or the class another name.
    """
    from everystep import layers  # which imports this

    kind = _kind(name)
    if not kind:
        raise OptionError(f'a layer is registered as "ClassName" or "package>ClassName"; got {name!r}')
    if not (inspect.isclass(cls) and issubclass(cls, layers.Layer)):
        raise OptionError(
            f"{name!r}: a registered class must derive from everystep.layers.Layer, whose module says what it defines; "
            f"got {cls.__name__ if inspect.isclass(cls) else repr(cls)}"
        )
    own = [each for each in vars(layers).values() if inspect.isclass(each)]
    if cls in own:
        raise OptionError(f"{name!r}: {cls.__name__} is everystep's own; derive a class from it, and register that")
    if name in {*(each.__name__ for each in own), "Functional", "Sequential", "Model"}:
        raise OptionError(f"{name!r} is everystep's own and stays so; register your class as 'package>{name}'")
    with _lock:
        if _CLASSES.get(name, cls) is not cls:
            raise OptionError(f"{name!r} is registered as {_CLASSES[name].__name__} already; choose another name")
        if _NAMES.get(cls, name) != name:
            raise OptionError(f"{cls.__name__} is registered as {_NAMES[cls]!r} already; derive a class for {name!r}")
        _CLASSES[name], _NAMES[cls] = cls, name


def _kind(name: Any) -> str:
    """The class name in "package>ClassName", or in "ClassName"; empty where it is neither."""
    package, separator, kind = name.rpartition(">") if isinstance(name, str) else ("", "", "")
    return kind if kind.isidentifier() and bool(package) == bool(separator) else ""


def registered_class(entry: dict[str, Any]) -> Any:
    """The class for an entry of a config, {"class_name", "registered_name", ...}; None where code has given none."""
    names = entry.get("registered_name"), entry.get("class_name")
    found = [_CLASSES[name] for name in names if isinstance(name, str) and name in _CLASSES]
    return found[0] if found else None


def registered_kind(cls: type) -> str | None:
    """The class name that a class is registered under."""
    return _kind(_NAMES[cls]) if cls in _NAMES else None


def written_names(layer: Any) -> dict[str, str] | None:
    """{"module", "registered_name"} of a registered class: as it was read, or as Keras writes a class of one's own."""
    cls = type(layer)
    if cls not in _NAMES:
        return None
    read: dict[str, str] | None = layer.read_as
    return read or {"module": cls.__module__, "registered_name": _NAMES[cls]}
