"""Running a model and keeping what its sites did: in one go, rows by rows, or steps by steps.

B batch, T steps of a sequence, H units, G gates, S steps of a key, N heads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers import TimeDistributed
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array
from everystep.layers.together import part, run_whole, whole
from everystep.layers.watching import watched
from everystep.models.model import Model
from everystep.models.sites import Site, is_attention

Arrays = dict[str, Array]  # by what they are: "h", "c", "gates", "mask", "resets", "initial_h", ...; "weights"
Wanted = Mapping[str, bool]  # sites by name, and whether with gates


class Record(NamedTuple):
    """A call of one site, and what came of it if every step of it was asked for.

    Attributes:
        call: the arguments of `engine.run`; of attention {"scores": a function without arguments, "T": ..., "S": ...}.
        outputs: of the engine, every step; of attention the weights (B,T,S) or (B,N,T,S).
    """

    call: dict[str, Any]
    outputs: Any = None


def prepared(model: Model, x: Any, copied: bool) -> tuple[list[Array], list[Array | None]]:
    """What `predict` takes as an array for each input, and its mask or None.

    Args:
        copied: whether the arrays are to stay what they are, whatever becomes of x.
    """
    arrays, masks, _, _ = model._prepared(x)
    given = [leaf for leaf in flatten(x) if isinstance(leaf, np.ndarray)]
    if copied:
        arrays = [np.array(a) if any(np.may_share_memory(a, leaf) for leaf in given) else a for a in arrays]
    return arrays, masks


class Piece(NamedTuple):
    """What was recorded of some rows, and of some steps of these."""

    rows: slice
    first: bool  # of the pieces of these rows
    records: dict[str, Record]


class Recorder:
    """A watcher that keeps a `Record` of each site, by name; every step of those in `wanted`."""

    def __init__(self, all_sites: Sequence[Site], wanted: Wanted) -> None:
        self._sites = {(site.path, site.call, site.run, site.place): site.name for site in all_sites}
        self._wanted = wanted
        self._stack: list[str] = []
        self._counts: Counter[str] = Counter()
        self.records: dict[str, Record] = {}

    def call(
        self, layer: Any, name: str, made: Callable[[dict[str, Any]], tuple[Any, ...]], options: dict[str, Any]
    ) -> tuple[Any, ...]:
        while isinstance(layer, TimeDistributed):
            layer = layer.layer
            name += f"/{layer.name}"
        path = "/".join([*self._stack[-1:], name])
        self._counts[path] += 1
        self._stack.append(path)
        try:
            returned = made(options)
        finally:
            self._stack.pop()
        site = self._sites.get((path, self._counts[path], 0, 0))
        if site is not None and is_attention(layer):
            scores = partial(_scores, made, options)
            self.records[site] = Record({"scores": scores}, scores() if site in self._wanted else None)
        return returned

    def runs(self, runs: Sequence[Any]) -> Sequence[Any]:
        path = self._stack[-1] if self._stack else ""
        return [self._kept(calls, path, run) for run, calls in enumerate(runs)]

    def _kept(self, calls: Any, path: str, run: int) -> Generator[dict[str, Any], Any, Any]:
        """The same calls, each with every step where that is wanted, and what is handed back as it would be without."""
        asked, place = next(calls), 0
        while True:
            site = self._sites.get((path, self._counts[path], run, place))
            # A stream's states are arrays that stay, and hold others after the run.
            kept = {**asked, "states": tuple(state.copy() for state in asked["states"])}
            if site is not None and site in self._wanted:
                outputs = yield whole(asked, self._wanted[site])
                self.records[site] = Record(kept, outputs)
                outputs = part(outputs, asked)
            else:
                outputs = yield asked
                if site is not None:
                    self.records[site] = Record(kept)
            place += 1
            try:
                asked = calls.send(outputs)
            except StopIteration as end:
                return end.value


def _scores(made: Callable[[dict[str, Any]], tuple[Any, ...]], options: dict[str, Any]) -> Array:
    """The weights of a call of attention, (B,T,S) or (B,N,T,S)."""
    scores: Array = flatten(made({**options, "return_attention_scores": True})[0])[-1]
    return scores


def arrays_of(site: Site, record: Record, gates: bool) -> Arrays:
    """What a site did, in the order of time whichever way it went.

    Returns:
        h, c (B,T,H), gates (B,T,G,H), mask (B,T) bool, resets (B,T) bool if there were any, and the states before the
        first step that was taken, initial_h, initial_c (B,H). Of attention: weights (B,T,S,N).
    """
    call, outputs = record
    if not site.cell:
        scores = call["scores"]() if outputs is None else outputs
        return {"weights": scores[..., None] if scores.ndim == 3 else np.moveaxis(scores, 1, -1)}
    if outputs is None:
        outputs = run_whole(call, gates)
    turned = site.backwards

    def in_time(array: Array, turn: bool = turned) -> Array:
        return np.ascontiguousarray(array[:, ::-1]) if turn else array

    found = {"h": in_time(outputs.h)}
    if outputs.cells is not None:
        found["c"] = in_time(outputs.cells)
    if gates:
        found["gates"] = in_time(outputs.gates)
    B, T = call["x"].shape[:2]
    for name, absent in (("mask", np.ones((B, T), bool)), ("resets", None)):
        flags = absent if call[name] is None else in_time(call[name], turned and site.place > 0)
        if flags is not None:
            found[name] = flags
    letters = call["packed"].cell.states
    return found | {f"initial_{letter}": state for letter, state in zip(letters, call["states"], strict=True)}


def sizes_of(record: Record) -> tuple[int, ...]:
    """T; of attention T and S."""
    if "scores" not in record.call:
        return (record.call["x"].shape[1],)
    scores = record.call["scores"]() if record.outputs is None else record.outputs
    return tuple(scores.shape[-2:])


def record(
    model: Model,
    all_sites: Sequence[Site],
    arrays: list[Array],
    masks: list[Array | None],
    wanted: Wanted,
    batch_size: int | None = None,
) -> Iterator[Piece]:
    """What the sites do, `batch_size` rows at a time."""
    rows = len(arrays[0])
    size = batch_size or max(1, rows)
    for start in range(0, max(1, rows), size):
        some = slice(start, min(start + size, rows))
        recorder = Recorder(all_sites, wanted)
        with watched(recorder):
            model.graph.run([a[some] for a in arrays], [None if m is None else m[some] for m in masks], {})
        yield Piece(some, True, recorder.records)


def record_steps(
    model: Model,
    all_sites: Sequence[Site],
    arrays: list[Array],
    wanted: Wanted,
    batch_size: int | None,
    chunk: int,
    static: Sequence[str],
) -> Iterator[Piece]:
    """What the sites do, `chunk` steps at a time, with the states carried on: the bits of `record`.

    Sites that depend on static inputs alone are in the first piece of each rows.
    """
    named = dict(zip(model.input_names, arrays, strict=True))
    streamed = {name: array for name, array in named.items() if name not in static}
    T = {array.shape[1] for array in streamed.values() if array.ndim > 1}
    if len(T) != 1:
        raise ShapeError(
            f"model {model.name!r}: with chunk, inputs that are not static have the same number of steps; got {T or 0}"
        )
    rows, steps = len(arrays[0]), T.pop()
    size = batch_size or max(1, rows)
    if not rows or not steps:
        raise ShapeError(f"model {model.name!r}: chunk takes rows and steps of inputs, from 1 on; got {rows}, {steps}")
    for start in range(0, rows, size):
        some = slice(start, min(start + size, rows))
        its_static = {name: named[name][some] for name in static}
        stream = model.stream(some.stop - some.start, its_static)
        for t in range(0, steps, chunk):
            recorder = Recorder(all_sites, wanted)
            with watched(recorder):
                if t == 0:
                    stream._plan.run_constant()  # what follows from the static inputs alone
                    _check_counted(all_sites, recorder.records)
                parts = {name: array[some, t : t + chunk] for name, array in streamed.items()}
                stream.run(parts if len(parts) > 1 else next(iter(parts.values())))
            yield Piece(some, t == 0, recorder.records)


def check_steps(model: Model, all_sites: Sequence[Site], chunk: int, static: Sequence[str]) -> None:
    """Raises unless a trace of this model can be made `chunk` steps at a time.

    Raises:
        OptionError: a static input is unknown, or all are. UnsupportedError: a site takes each step as a row.
    """
    unknown = [name for name in static if name not in model.input_names]
    if unknown or len(set(static)) == len(model.inputs):
        raise OptionError(
            f"model {model.name!r} has the inputs {', '.join(map(repr, model.input_names))}; static names some of "
            f"them, and not all. Got {', '.join(map(repr, static))}"
        )
    for site in all_sites:
        if site.within:
            raise UnsupportedError(
                f"layer {site.name!r} runs on each step as if it were a row; its trace is made of some rows at a time, "
                "with batch_size, and not with chunk"
            )


def _check_counted(all_sites: Sequence[Site], constant: Mapping[str, Any]) -> None:
    """Raises where a stream takes the calls of one layer in another order than the model does."""
    several = {site.path for site in all_sites if site.call > 1}
    for site in all_sites:
        if site.path in several and (site.name in constant or not site.cell):
            raise UnsupportedError(
                f"layer {site.path!r} is called several times, on what is static too: with chunk these calls are not "
                "told apart. Leave chunk out, and bound the memory by batch_size"
            )
