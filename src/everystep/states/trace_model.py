"""Traces of a model that is run: in one go, keeping what each layer was called with, or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from everystep.errors import OptionError, UnsupportedError
from everystep.models.model import Model
from everystep.models.recording import (
    Arrays,
    Piece,
    Record,
    arrays_of,
    check_steps,
    prepared,
    record,
    record_steps,
    sizes_of,
)
from everystep.models.sites import sites

WHOLE = ("initial_h", "initial_c")  # of what is cut along time, what is not


class ModelSource:
    """A model and what it is to be run on; `Source` in trace.py says what it does, `Model.trace` what it takes."""

    def __init__(self, model: Model, x: Any, batch_size: int | None, chunk: int | None, static: Sequence[str]) -> None:
        for name, value in (("batch_size", batch_size), ("chunk", chunk)):
            if value is not None and (not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1):
                raise OptionError(f"model {model.name!r}: {name} must be a whole number from 1 on; got {value!r}")
        if isinstance(static, str) or (static and chunk is None):
            raise OptionError(
                f"model {model.name!r}: static is a list of inputs' names, and goes with chunk; got {static!r}"
            )
        self.model, self._batch_size, self._chunk, self._static = model, batch_size, chunk, tuple(static)
        self._in_pieces = batch_size is not None or chunk is not None
        self.cut_in_time = chunk is not None
        self._inputs, self._masks = prepared(model, x, copied=not self._in_pieces)
        self.title, self.rows = f"trace of model {model.name!r}", len(self._inputs[0])
        self.sites = sites(model)
        if not self.sites:
            raise UnsupportedError(
                f"model {model.name!r} has nothing to trace: no recurrent layer and no attention among its layers, "
                f"{', '.join(repr(layer.name) for layer in model.layers)}"
            )
        if chunk is not None:
            if any(mask is not None for mask in self._masks):
                raise UnsupportedError(
                    f"model {model.name!r}: with chunk, sequences of different lengths are not cut. Bound the memory "
                    "by batch_size, or pass an array that a Masking or an Embedding masks"
                )
            check_steps(model, self.sites, chunk, self._static)
            model.stream(1, {name: array[:1] for name, array in self._named() if name in self._static} or None)
        self._versions = [(layer, int(layer.version[0])) for layer in model.flat_layers().values() if layer.weights]
        self._records: dict[str, Record] = {}
        self._lengths: dict[str, int] = {}

    def _named(self) -> Iterator[tuple[str, Any]]:
        return zip(self.model.input_names, self._inputs, strict=True)

    def arrays(self, wanted: Mapping[str, bool]) -> dict[str, Arrays]:
        if not self._in_pieces:
            return self._kept(wanted)
        # Pieces of steps are joined along time first, then pieces of rows.
        rows: dict[str, list[list[Arrays]]] = {name: [] for name in wanted}
        for _, first, found in self.parts(wanted):
            for name, arrays in found.items():
                if first:
                    rows[name].append([])
                rows[name][-1].append(arrays)
        return {name: _joined([_joined(steps, 1) for steps in some], 0) for name, some in rows.items()}

    def parts(self, wanted: Mapping[str, bool]) -> Iterator[tuple[slice, bool, dict[str, Arrays]]]:
        if not self._in_pieces:
            yield slice(0, self.rows), True, self._kept(wanted)
            return
        lengths: dict[str, int] = {}
        for rows, first, records in self._pieces(wanted):
            if rows.start == 0:
                for name, one in records.items():
                    lengths[name] = lengths.get(name, 0) + sizes_of(one)[0]
            yield rows, first, {site.name: self._of(site, records, wanted) for site in self._among(wanted, records)}
        self._lengths = lengths

    def _among(self, wanted: Mapping[str, bool], records: Mapping[str, Record]) -> list[Any]:
        return [site for site in self.sites if site.name in wanted and site.name in records]

    def _of(self, site: Any, records: Mapping[str, Record], wanted: Mapping[str, bool]) -> Arrays:
        return arrays_of(site, records[site.name], wanted[site.name])

    def _kept(self, wanted: Mapping[str, bool]) -> dict[str, Arrays]:
        """What these sites did, in a run of the model that is kept, or of these layers alone after it."""
        records = self._records
        if not records or len(wanted) == len(self.sites):  # one run of all costs less than one of each
            (piece,) = self._pieces(wanted)
            records = piece.records
            self._records = {name: Record(one.call) for name, one in records.items()}
        else:
            self._check_weights()
        return {site.name: self._of(site, records, wanted) for site in self._among(wanted, records)}

    def _pieces(self, wanted: Mapping[str, bool]) -> Iterator[Piece]:
        self._check_weights()
        if self._chunk is None:
            return record(self.model, self.sites, self._inputs, self._masks, wanted, self._batch_size)
        return record_steps(self.model, self.sites, self._inputs, wanted, self._batch_size, self._chunk, self._static)

    def lengths(self) -> dict[str, int]:
        if not self._in_pieces:
            if not self._records:
                self._kept({})
            return {name: sizes_of(one)[0] for name, one in self._records.items()}
        if not self._lengths:
            for _ in self.parts({}):
                pass
        return self._lengths

    def _check_weights(self) -> None:
        """Raises UnsupportedError where the trace would be of two models."""
        for layer, version in self._versions:
            if int(layer.version[0]) != version:
                raise UnsupportedError(
                    f"{self.title}: layer {layer.name!r} has other weights than when it was made. Trace again; "
                    "compute() at once has all of it before they change"
                )


def _joined(parts: list[Arrays], axis: int) -> Arrays:
    """Arrays of several pieces, along an axis; along time, what has no time is that of the first."""
    if len(parts) == 1:
        return parts[0]
    return {
        name: array if axis == 1 and name in WHOLE else np.concatenate([part[name] for part in parts], axis)
        for name, array in parts[0].items()
    }
