"""Traces: what every recurrent layer of a model does, for every row and step.

    trace = model.trace(x)                  # or everystep.trace(keras_model, x); a file: Trace.load(path)
    list(trace)                             # names: "lstm", "encoder/lstm", "lstm:2", "bidirectional/backward_lstm"
    lstm = trace["lstm"]                    # a LayerTrace
    lstm.h, lstm.c                          # (R,T,H): after each step, a masked one too
    lstm.gates, lstm.gate("f")              # (R,T,G,H), (R,T,H): after their activation, 0 at masked steps
    lstm.mask, lstm.resets                  # (R,T) bool; resets is None where there are none
    lstm.before("c")                        # (R,T,H): c before each step
    lstm.initial("c")                       # (R,H): c before the first step
    lstm.gate_names, lstm.state_names       # {"i": "input gate", ...}, {"h": "hidden state", ...}
    lstm.kind, lstm.units, lstm.activation, lstm.backwards
    trace["attention"].weights              # an AttentionTrace: (R,T,S,N)
    trace.timeline()                        # segments: which layers run in which steps of one time line
    trace.compute()                         # everything, in one run of the model
    trace.to_xarray(), trace.to_frame(), trace.save(path)

R rows, T steps, H units, G gates, S key steps, N heads. All arrays are in the order of time of the sequence that the
layer was given, whichever way it went: the backward layer of Bidirectional, and go_backwards, too. They are read-only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from everystep.errors import OptionError
from everystep.models.model import Model
from everystep.models.recording import Arrays
from everystep.models.sites import Site, layer_names, start_of, starts
from everystep.states.trace_layers import AttentionTrace, LayerTrace
from everystep.states.trace_model import ModelSource


class Source(Protocol):
    """Where a trace's numbers come from: a model that is run, or a file.

    Attributes:
        title: of what it is the trace.
        rows: how many there are.
        sites: what has states, in the order in which the model runs.
        cut_in_time: whether `parts` may come as some steps after others.
    """

    title: str
    rows: int
    sites: list[Site]
    cut_in_time: bool

    def arrays(self, wanted: Mapping[str, bool]) -> dict[str, Arrays]:
        """What these sites did, by name; of those whose entry is True the gates too."""

    def parts(self, wanted: Mapping[str, bool]) -> Iterator[tuple[slice, bool, dict[str, Arrays]]]:
        """The same in pieces: of which rows, whether they are the first of these rows, and the arrays."""

    def lengths(self) -> dict[str, int]:
        """T of each site."""


class Segment(NamedTuple):
    """Some steps of the time line: `layers` by name, which begin at `start`; the last of them ends before `stop`."""

    start: int
    stop: int
    layers: tuple[str, ...]


class Trace(Mapping[str, Any]):
    """What `Model.trace` returns: a `LayerTrace` or an `AttentionTrace` by name. The module says what there is.

    Nothing is computed before it is asked for. The first question about h, c or a mask of a layer runs the model once;
    another layer, or the gates, then take a run of that layer alone. `compute` has everything in one run of the model,
    and so have `to_xarray` and `save`. Where a trace is made piece by piece, each question runs the model again.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sites = {site.name: site for site in source.sites}
        self._arrays: dict[str, Arrays] = {}

    # ---- Layers by name ----

    def __getitem__(self, name: str) -> Any:
        if name not in self._sites:
            raise OptionError(self._unknown(name))
        site = self._sites[name]
        return LayerTrace(self, site) if site.cell else AttentionTrace(self, site)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __contains__(self, name: object) -> bool:
        return name in self._sites

    def _unknown(self, name: Any) -> str:
        parts = [each for each in self._sites if isinstance(name, str) and each.startswith((f"{name}:", f"{name}/"))]
        if parts:
            return f"{self.title}: {name!r} is several, {', '.join(map(repr, parts))}. Ask for one of them"
        model = getattr(self._source, "model", None)
        stateless = model is not None and name in layer_names(model)
        what = f"layer {name!r} has no states over time" if stateless else f"there is no layer {name!r} with states"
        return f"{self.title}: {what}; those that have some are {', '.join(map(repr, self._sites))}"

    def __repr__(self) -> str:
        return f"<{self.title}: {', '.join(self._sites)}; {self.rows} rows>"

    @property
    def title(self) -> str:
        """Of what it is the trace."""
        return self._source.title

    @property
    def rows(self) -> int:
        """How many rows x has."""
        return self._source.rows

    # ---- Numbers ----

    def compute(self) -> Trace:
        """Computes all that was not asked for yet, in one run of the model; returns the trace."""
        missing = {name: True for name, site in self._sites.items() if not self._has(site, True)}
        if missing:
            self._take(self._source.arrays(missing))
        return self

    def arrays(self, name: str, gates: bool = True) -> Arrays:
        """All arrays of a layer by what they are: "h", "c", "gates", "mask", "resets", "initial_h", "weights"."""
        site = self._sites[name]
        if not self._has(site, gates):
            self._take(self._source.arrays({name: gates}))
        return self._arrays[name]

    def _has(self, site: Site, gates: bool) -> bool:
        found = self._arrays.get(site.name)
        return found is not None and ("gates" in found or not gates or not site.cell)

    def _take(self, found: dict[str, Arrays]) -> None:
        for name, arrays in found.items():
            views = {what: array.view() for what, array in arrays.items()}
            for view in views.values():
                view.flags.writeable = False
            # What was handed out stays: a later run has the same bits.
            self._arrays[name] = views | self._arrays.get(name, {})

    def timeline(self) -> list[Segment]:
        """The layers on one time line. A decoder's steps come after its encoder's, whose states it goes on from.

        A layer begins when what it is given has been computed: at 0; with the layer whose sequence it reads; or after
        the layer whose last state it is handed, as initial_state or through other layers. Those that begin together
        are one segment. Layers inside TimeDistributed, which have steps of their own, and attention are in none.
        """
        its_starts, lengths = self._starts(), self._source.lengths()
        found: dict[int, list[str]] = {}
        for site in self._sites.values():
            if site.cell and not site.within:
                found.setdefault(its_starts[site.name], []).append(site.name)
        return [
            Segment(start, start + max(lengths[name] for name in names), tuple(names))
            for start, names in sorted(found.items())
        ]

    def _starts(self) -> dict[str, int]:
        """The first step of each site on the time line."""
        return starts(list(self._sites.values()), self._source.lengths())

    # ---- Other forms ----

    def site(self, name: str) -> Site:
        """What is known of a layer beside its arrays."""
        return self._sites[name]

    def first_steps(self, name: str) -> tuple[int, int]:
        """The first step on the time line of a layer; of attention that of its query, and that of its key."""
        its_starts, lengths, site = self._starts(), self._source.lengths(), self._sites[name]
        return its_starts[name], start_of(site.key_since, its_starts, lengths)

    @property
    def cut_in_time(self) -> bool:
        """Whether the trace is made of some steps at a time."""
        return self._source.cut_in_time

    def parts(self) -> Iterator[tuple[slice, bool, dict[str, Arrays]]]:
        """All arrays, in the pieces in which they are computed: see `Source.parts`. What is in memory is not again."""
        wanted = dict.fromkeys(self._sites, True)
        if all(self._has(site, True) for site in self._sites.values()):
            yield slice(0, self.rows), True, {name: self._arrays[name] for name in self._sites}
        else:
            yield from self._source.parts(wanted)

    def attributes(self) -> dict[str, str | int]:
        """What its labelled forms say of the whole."""
        return {"title": self.title, "rows": self.rows, "everystep_sites": "\n".join(self._sites)}

    def to_xarray(self) -> Any:
        """An `xarray.DataTree`, with a Dataset for each layer under its name; docs/traces.md has its dimensions.

        Raises:
            DependencyError: xarray is not installed.
        """
        from everystep.states.trace_xarray import tree

        return tree(self.compute())

    def to_frame(self) -> Any:
        """A long `pandas.DataFrame`: a line for each layer, row, step and unit; docs/traces.md has its columns.

        Raises:
            DependencyError: xarray is not installed, with which pandas comes.
        """
        from everystep.states.trace_xarray import frame

        return frame(self.compute())

    def save(self, path: Any) -> None:
        """Writes a NetCDF file, which xarray and `Trace.load` read; a trace made in pieces, piece by piece.

        Raises:
            DependencyError: h5netcdf is not installed.
        """
        from everystep.states.trace_file import write

        write(self, path)

    @classmethod
    def load(cls, path: Any) -> Trace:
        """A trace from a file that `save` wrote, without the model; arrays are read when they are asked for.

        Raises:
            FileError: it is no such file. DependencyError: h5netcdf is not installed.
        """
        from everystep.states.trace_file import FileSource

        return cls(FileSource(path))


def of_model(model: Model, x: Any, batch_size: int | None, chunk: int | None, static: Sequence[str]) -> Trace:
    """As `Model.trace`."""
    return Trace(ModelSource(model, x, batch_size, chunk, static))


def trace(model: Any, x: Any, batch_size: int | None = None, chunk: int | None = None, static: Any = ()) -> Trace:
    """`Model.trace` of a model of everystep, or of a copy of a live Keras model, as `from_keras` makes it.

    Args:
        model: one or the other.
        the others: as of `Model.trace`.

    Raises:
        as `Model.trace`. OptionError: it is no model. UnsupportedError: a layer of it is not supported.
    """
    if isinstance(model, type) or not hasattr(model, "layers"):
        raise OptionError(f"trace takes a model, of everystep or Keras; got {type(model).__name__}")
    if not isinstance(model, Model):
        model = importlib.import_module("everystep.saved.keras_config").from_keras(model)
    found: Trace = model.trace(x, batch_size, chunk, static)
    return found
