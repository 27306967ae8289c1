"""A model's outputs by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from everystep import Model
from everystep.errors import OptionError


def output_names(model: Model) -> list[str]:
    """A name of its own for each output, in the order of `flatten`.

    It is the output's key where the model has its outputs in a dictionary, or else the name of the layer that returns
    it; where that returns several, "lstm.0", "lstm.1", and so on.
    """
    structure = model.output_structure
    if isinstance(structure, dict) and all(not isinstance(part, (dict, list, tuple)) for part in structure.values()):
        return sorted(structure)
    names, seen = model.output_names, Counter[str]()
    found = []
    for name in names:
        found.append(f"{name}.{seen[name]}" if names.count(name) > 1 else name)
        seen[name] += 1
    return found


def chosen_outputs(model: Model, wanted: Sequence[str]) -> dict[str, int]:
    """For each output that is asked for, its place; all outputs if none is.

    Raises:
        OptionError: there is none of that name.
    """
    names: list[str] = output_names(model)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise OptionError(f"model {model.name!r} has no output {unknown[0]!r}; it has {', '.join(map(repr, names))}")
    return {name: names.index(name) for name in wanted or names}


def pairs(given: Sequence[str], option: str, names: Sequence[str]) -> dict[str, Any]:
    """What follows "NAME=" in each, by the name.

    Raises:
        OptionError: there is no name before it, or none of these, or one twice.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise OptionError(
                f"{option} takes NAME=FILE, with the name of an input: {', '.join(map(repr, names))}; got {text!r}"
            )
        if name in found:
            raise OptionError(f"{option} names the input {name!r} twice")
        found[name] = value
    return found
