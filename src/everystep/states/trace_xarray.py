"""A trace with labels: as an xarray DataTree, and as a pandas DataFrame."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from everystep.errors import DependencyError
from everystep.states import trace_layout

if TYPE_CHECKING:
    from everystep.states.trace import Trace


def library(name: str) -> Any:
    """xarray, pandas or h5netcdf, imported when it is needed.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"traces with labels, and their files, need {name}: pip install 'everystep[states]'"
        ) from error


def tree(trace: Trace) -> Any:
    """A Dataset for each layer, under its name."""
    xarray = library("xarray")
    found = {"/": xarray.Dataset(attrs=trace.attributes())}
    for name in trace:
        found[f"/{name}"] = _dataset(xarray, trace, name)
    return xarray.DataTree.from_dict(found)


def _dataset(xarray: Any, trace: Trace, name: str) -> Any:
    site, arrays = trace.site(name), trace.arrays(name)
    labels = trace_layout.coordinates(site, trace_layout.sizes_of(arrays), *trace.first_steps(name), trace.rows)
    return xarray.Dataset(
        dict(trace_layout.variables(site, arrays)), coords=dict(labels), attrs=trace_layout.attributes(site)
    )


def frame(trace: Trace) -> Any:
    """A line for each layer, row, time and unit.

    Its columns are h, c, a gate each, gate_i and so on, and mask; NaN where a layer has none of these.
    """
    xarray, pandas = library("xarray"), library("pandas")
    found = {}
    for name in trace:
        if not trace.site(name).cell:
            continue
        data = _dataset(xarray, trace, name).drop_vars(["step", "of_row", "of_step", "gate_name"], errors="ignore")
        gates = {f"gate_{letter}": data.gates.sel(gate=letter, drop=True) for letter in data.gate.values}
        data = data[[each for each in ("h", "c") if each in data]].assign(gates | {"mask": data.mask})
        found[name] = data.drop_vars("gate", errors="ignore").to_dataframe(dim_order=["row", "time", "unit"])
    return pandas.concat(found, names=["layer"])
