"""A model's config as a file has it: beyond `get_config`, it says which layers are one, and what is not a name."""

from __future__ import annotations

from typing import Any

from everystep.layers.activations import REGISTERED
from everystep.layers.base import Layer
from everystep.layers.composite import Composite
from everystep.layers.operation import Config
from everystep.models import Model

FUNCTIONS = {
    name: {"module": "builtins", "class_name": "function", "config": registered, "registered_name": "function"}
    for registered, name in REGISTERED.items()
}


def written_config(model: Model) -> Config:
    """The serialized form, in which what is in several places has a `shared_object_id`, as Keras writes it."""
    written = model.serialized()
    places: dict[int, list[Config]] = {}
    _find(model, written, places)
    for number, entries in enumerate(places.values()):
        for entry in entries:
            for argument in ("activation", "recurrent_activation"):
                if entry["config"].get(argument) in FUNCTIONS:
                    entry["config"][argument] = FUNCTIONS[entry["config"][argument]]
            if len(entries) > 1:
                entry["shared_object_id"] = number
    return written


def _find(layer: Layer, entry: Config, places: dict[int, list[Config]]) -> None:
    """Adds the entry of a layer, and those of what it is made of, to the places of each."""
    places.setdefault(id(layer), []).append(entry)
    if isinstance(layer, Model):
        entries = {inner["config"]["name"]: inner for inner in entry["config"]["layers"]}
        for inner in layer.layers:
            _find(inner, entries[inner.name], places)
    elif isinstance(layer, Composite):
        for argument, attribute in layer.parts.items():
            part, value = getattr(layer, attribute), entry["config"][argument]
            parts: Any = zip(part, value, strict=True) if isinstance(part, list) else [(part, value)]
            for inner, inner_entry in parts:
                _find(inner, inner_entry, places)
