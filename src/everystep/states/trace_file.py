"""Traces as NetCDF files: a group for each layer, written piece by piece, read when something is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everystep.errors import FileError
from everystep.models.recording import Arrays
from everystep.models.sites import Site
from everystep.states import trace_layout
from everystep.states.trace_xarray import library

if TYPE_CHECKING:
    from everystep.states.trace import Trace

SITES, TITLE, ROWS = "everystep_sites", "title", "rows"  # the root's attributes


def write(trace: Trace, path: Any) -> None:
    """Writes the file beside the path first, so that there is a whole one or none."""
    h5netcdf, path = library("h5netcdf"), Path(path)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with h5netcdf.File(unfinished, "w") as file:
            file.attrs.update(trace.attributes())
            done: dict[str, int] = {}  # how many steps are written of the rows that are being written
            for rows, first, found in trace.parts():
                for name, arrays in found.items():
                    if name not in file:
                        _begin(file.create_group(name), trace, trace.site(name), arrays, rows)
                    _put(file[name], arrays, rows, 0 if first else done[name])
                    steps = trace_layout.sizes_of(arrays)["time"]
                    done[name] = steps if first else done[name] + steps
            for name in trace:
                _label(file[name], trace, trace.site(name))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _begin(group: Any, trace: Trace, site: Site, arrays: Arrays, rows: slice) -> None:
    """Makes the group's dimensions, and its variables, which grow along time if steps come in pieces."""
    group.attrs.update(trace_layout.attributes(site))
    sizes = trace_layout.sizes_of(arrays)
    piece = dict(sizes)
    sizes["row"] = sizes["row"] // max(1, rows.stop - rows.start) * trace.rows
    grows = trace.cut_in_time
    group.dimensions = {dim: None if dim == "time" and grows else size for dim, size in sizes.items()}
    for what, variable in trace_layout.variables(site, arrays).items():
        data = variable.data
        chunks = tuple(max(1, piece[dim]) for dim in variable.dims) if grows and "time" in variable.dims else None
        dtype = np.dtype(np.int8) if data.dtype == bool else data.dtype
        made = group.create_variable(what, variable.dims, dtype, chunks=chunks)
        made.attrs.update(variable.attributes)
        if data.dtype == bool:  # as xarray writes and reads it: NetCDF has no bool
            made.attrs["dtype"] = "bool"


def _put(group: Any, arrays: Arrays, rows: slice, start: int) -> None:
    """Writes a piece of these rows, whose first step is `start`."""
    steps = trace_layout.sizes_of(arrays)["time"]
    if group.dimensions["time"].isunlimited() and len(group.dimensions["time"]) < start + steps:
        group.resize_dimension("time", start + steps)
    for what, array in arrays.items():
        if start and what.startswith("initial_"):
            continue
        each = len(array) // max(1, rows.stop - rows.start)  # rows of a layer inside TimeDistributed
        where = slice(rows.start * each, rows.stop * each)
        index = (where, slice(start, start + steps)) if "time" in trace_layout.dimensions(what) else (where,)
        if array.size:
            group.variables[what][index] = array


def _label(group: Any, trace: Trace, site: Site) -> None:
    """Writes the coordinates, once all sizes are known."""
    sizes = {name: len(dimension) for name, dimension in group.dimensions.items()}
    labels = trace_layout.coordinates(site, sizes, *trace.first_steps(site.name), trace.rows)
    for name, variable in labels.items():
        text = variable.data.dtype.kind == "U"
        made = group.create_variable(name, variable.dims, library("h5py").string_dtype() if text else np.int64)
        if variable.data.size:
            made[...] = variable.data.astype(object) if text else variable.data
        made.attrs.update(variable.attributes)
    for what in group.variables:
        if what not in labels and what != "coordinates":
            own = [name for name, label in labels.items() if name not in label.dims]
            its = [name for name in own if set(labels[name].dims) <= set(group.variables[what].dimensions)]
            if its:
                group.variables[what].attrs["coordinates"] = " ".join(its)


class FileSource:
    """A file that `write` wrote; `Source` in trace.py says what it does."""

    cut_in_time = False

    def __init__(self, path: Any) -> None:
        self._path = Path(path)
        with self._open() as file:
            try:
                names = str(file.attrs[SITES]).split("\n")
                self.title, self.rows = str(file.attrs[TITLE]), int(file.attrs[ROWS])
                groups = {name: file[name] for name in names}
                texts = {name: group.attrs[trace_layout.SITE] for name, group in groups.items()}
            except KeyError as error:
                raise FileError(f"{self._path} is no trace that everystep wrote: it has no {error}") from None
            self.sites = [trace_layout.site_from(text, f"{self._path}: group {name!r}") for name, text in texts.items()]
            self._lengths = {name: len(group.dimensions["time"]) for name, group in groups.items()}

    def _open(self) -> Any:
        h5netcdf = library("h5netcdf")
        if not self._path.is_file():
            raise FileError(f"there is no file {self._path}")
        try:
            return h5netcdf.File(self._path, "r")
        except OSError as error:
            raise FileError(f"{self._path} is no NetCDF file that can be read: {error}") from error

    def arrays(self, wanted: Mapping[str, bool]) -> dict[str, Arrays]:
        found: dict[str, Arrays] = {}
        with self._open() as file:
            for name, gates in wanted.items():
                variables = file[name].variables
                kept = [what for what in variables if trace_layout.is_array(what) and (gates or what != "gates")]
                found[name] = {what: _read(variables[what]) for what in kept}
        return found

    def parts(self, wanted: Mapping[str, bool]) -> Iterator[tuple[slice, bool, dict[str, Arrays]]]:
        for name, gates in wanted.items():  # layer by layer, so as to hold one at a time
            yield slice(0, self.rows), True, self.arrays({name: gates})

    def lengths(self) -> dict[str, int]:
        return self._lengths


def _read(variable: Any) -> Any:
    array = np.asarray(variable[...])
    return array.astype(bool) if variable.attrs.get("dtype") == "bool" else array
