"""Where PyTorch's weights come from: a live module, a state dict, a safetensors file. PyTorch is not imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DependencyError, DtypeError, OptionError
from everystep.layers.tensor import Array

FLOATS = {"F32": "float32", "F64": "float64"}  # as safetensors calls them, and as NumPy and PyTorch do


class Source(NamedTuple):
    """What was found.

    Attributes:
        where: what it was found in, for messages.
        state: the arrays by PyTorch's names, without the prefix.
        mode: a live module's: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"; None where the weights are all that is known.
        dropout: a live module's, between its layers.
    """

    where: str
    state: dict[str, Array]
    mode: str | None = None
    dropout: float = 0.0


def source_of(given: Any, prefix: str) -> Source:
    """The arrays of a module, a mapping or a file whose names begin with the prefix.

    Raises:
        OptionError: it is none of the three, its keys are no names, or nothing begins with the prefix. DtypeError: an
            array is not float32 or float64. DependencyError: the package safetensors is not installed.
    """
    prefix = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    if isinstance(given, (str, os.PathLike)):
        where = repr(os.fspath(given))
        return Source(where, _from_file(Path(given), prefix, where))
    if isinstance(given, Mapping):
        where = "the state dict"
        others = [name for name in given if not isinstance(name, str)]
        if others:
            raise OptionError(f"{where} must have names for its keys, as weight_ih_l0; got {others[0]!r}")
        names = _under(list(given), prefix, where)
        return Source(where, {name[len(prefix) :]: _array(name, given[name]) for name in names})
    if not all(hasattr(given, name) for name in ("state_dict", "get_submodule")):
        raise OptionError(
            "from_torch takes an nn.LSTM, nn.GRU or nn.RNN, its state dict, or the path of a .safetensors file; "
            f"got {type(given).__name__}"
        )
    where = f"the {type(given).__name__}" + f" at {prefix!r}" * bool(prefix)
    whole = given.state_dict()
    names = _under(list(whole), prefix, where)
    module = given.get_submodule(prefix.rstrip("."))
    state = {name[len(prefix) :]: _array(name, whole[name]) for name in names}
    return Source(where, state, getattr(module, "mode", None), float(getattr(module, "dropout", 0.0)))


def _from_file(path: Path, prefix: str, where: str) -> dict[str, Array]:
    if path.suffix != ".safetensors":
        raise OptionError(
            f"{where} is no .safetensors file. A .pt or .pth file is a pickle, which may run code when it is read: "
            "load it with torch.load, and pass the state dict"
        )
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise DependencyError(
            f"reading {where} needs the package safetensors: pip install 'everystep[safetensors]'"
        ) from error
    with safe_open(path, framework="numpy") as file:
        state = {}
        for name in _under(list(file.keys()), prefix, where):
            dtype = file.get_slice(name).get_dtype()
            if dtype not in FLOATS:
                raise _other_dtype(f"{where}: {name}", dtype)
            state[name[len(prefix) :]] = file.get_tensor(name)
        return state


def _under(names: list[str], prefix: str, where: str) -> list[str]:
    found = [name for name in names if name.startswith(prefix)]
    if prefix and not found:
        raise OptionError(f"{where} has no weights under {prefix!r}; it has {', '.join(names) or 'none'}")
    return found


def _array(name: str, value: Any) -> Array:
    """A NumPy array, or a tensor of PyTorch: on the CPU, without its gradient."""
    dtype = str(value.dtype).removeprefix("torch.") if hasattr(value, "dtype") else type(value).__name__
    if dtype not in FLOATS.values():
        raise _other_dtype(name, dtype)
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def _other_dtype(name: str, dtype: str) -> DtypeError:
    return DtypeError(f"{name} must be float32 or float64; got {dtype}: convert it first, as module.float() does")
