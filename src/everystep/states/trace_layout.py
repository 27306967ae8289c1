"""How a trace is laid out with labels: dimensions, coordinates and attributes, in xarray and in NetCDF alike.

A layer has the dimensions row, time, unit and gate, attention row, time, key_time and head. `time` counts on the one
time line of the trace, `step` from 0 on in each layer. Everything is a number without a unit, so `units` is "1".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from everystep import cells
from everystep.errors import FileError
from everystep.models.recording import Arrays
from everystep.models.sites import Since, Site

Array = np.ndarray[Any, Any]
SITE = "everystep_site"  # the attribute that has a site as JSON


class Variable(NamedTuple):
    """An array with its dimensions, and with attributes that say what it is."""

    dims: tuple[str, ...]
    data: Array
    attributes: dict[str, str]


def dimensions(what: str) -> tuple[str, ...]:
    """Of an array by what it is, a name in `Arrays`."""
    if what == "weights":
        return ("row", "time", "key_time", "head")
    if what == "gates":
        return ("row", "time", "gate", "unit")
    if what in ("mask", "resets"):
        return ("row", "time")
    return ("row", "unit") if what.startswith("initial_") else ("row", "time", "unit")


def is_array(what: str) -> bool:
    """Whether a variable of this name is one of the arrays of a site, and no coordinate."""
    return what in ("h", "c", "gates", "mask", "resets", "weights") or what.startswith("initial_")


def variables(site: Site, arrays: Arrays) -> dict[str, Variable]:
    """The arrays of a site by what they are."""
    return {
        what: Variable(dimensions(what), array, {"long_name": _words(site, what), "units": "1"})
        for what, array in arrays.items()
    }


def _words(site: Site, what: str) -> str:
    if what == "weights":
        return "share of each step of the key in each step of the query; along key_time they add up to 1"
    if what == "mask":
        return "whether the step was taken; at the others states are carried and gates are 0"
    if what == "resets":
        return "whether the row went back to its initial state before the step"
    spec = cells.CELLS[site.cell]
    if what == "gates":
        names = ", ".join(f"{letter} {name}" for letter, name in zip(spec.gates, spec.gate_names, strict=True))
        return f"gates after their activation: {names}"
    letter = what.removeprefix("initial_")
    name = dict(zip(spec.states, spec.state_names, strict=True))[letter]
    when = "before the first step that was taken" if what != letter else "after each step"
    return f"{name} {letter} {when}"


def coordinates(site: Site, sizes: Mapping[str, int], start: int, key_start: int, rows: int) -> dict[str, Variable]:
    """The labels of a site's dimensions.

    Args:
        sizes: of its dimensions.
        start, key_start: the first step on the time line, of its sequence or query, and of its key.
        rows: how many the trace has.
    """
    R, T = sizes["row"], sizes["time"]
    found = {
        "row": Variable(("row",), np.arange(R), {"long_name": "row"}),
        "time": Variable(("time",), np.arange(T) + start, {"long_name": "step on the time line of the trace"}),
        "step": Variable(("time",), np.arange(T), {"long_name": "step of the layer's own sequence"}),
    }
    if site.within:
        of = max(1, R // max(1, rows))
        words = "that the sequence is one step of"
        found["of_row"] = Variable(("row",), np.arange(R) // of, {"long_name": f"row of x {words}"})
        found["of_step"] = Variable(("row",), np.arange(R) % of, {"long_name": f"which step of the row {words}"})
    if not site.cell:
        keys = np.arange(sizes["key_time"]) + key_start
        found["key_time"] = Variable(("key_time",), keys, {"long_name": "step of the key on the time line"})
        found["head"] = Variable(("head",), np.arange(sizes["head"]), {"long_name": "head"})
        return found
    spec = cells.CELLS[site.cell]
    found["unit"] = Variable(("unit",), np.arange(site.units), {"long_name": "unit"})
    if "gate" in sizes:
        for name, values in (("gate", spec.gates), ("gate_name", spec.gate_names)):
            found[name] = Variable(("gate",), np.array(values), {"long_name": name.replace("_", " ")})
    return found


def sizes_of(arrays: Arrays) -> dict[str, int]:
    """The size of each dimension of a site's arrays."""
    return {
        dim: size for what, array in arrays.items() for dim, size in zip(dimensions(what), array.shape, strict=True)
    }


def attributes(site: Site) -> dict[str, str]:
    """What else is to be known of a site."""
    found = {"layer": site.path, "kind": site.kind, SITE: json.dumps(asdict(site))}
    if site.cell:
        found |= {"activation": site.activation, "direction": "backward" if site.backwards else "forward"}
    return found


def site_from(text: Any, where: str) -> Site:
    """The site that `attributes` wrote.

    Raises:
        FileError: it is something else.
    """
    try:
        read = json.loads(text)
        site = Site(**{**read, **{name: Since(*map(tuple, read[name])) for name in ("since", "key_since")}})
        known = not site.cell or site.cell in cells.CELLS
    except (TypeError, ValueError, KeyError):
        known = False
    if not known:
        raise FileError(f"{where} is no layer of a trace: its attribute {SITE} is damaged")
    return site
