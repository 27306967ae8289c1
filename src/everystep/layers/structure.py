"""Nested lists, tuples and dictionaries, in Keras's order: a dictionary's values by sorted key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def flatten(structure: Any) -> list[Any]:
    """The leaves, from left to right; None is a leaf."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for inner in structure for leaf in flatten(inner)]
    return [structure]


def pack(structure: Any, leaves: list[Any]) -> Any:
    """A structure of the same form with these leaves, which `flatten` of it gives back."""
    return _pack(structure, iter(leaves))


def map_leaves(function: Callable[[Any], Any], structure: Any) -> Any:
    """A structure of the same form with function(leaf) in the place of each leaf."""
    if not isinstance(structure, (dict, list, tuple)):
        return function(structure)
    return pack(structure, [function(leaf) for leaf in flatten(structure)])


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        return {key: _pack(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        packed = [_pack(inner, leaves) for inner in structure]
        return packed if isinstance(structure, list) else tuple(packed)
    return next(leaves)
