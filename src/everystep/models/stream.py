"""Live sequences of a model, one step at a time.

    stream = model.stream(batch_size=1)
    y_t = stream.step(x_t)

`step` returns what `predict` would return on all that the stream has seen: an output with a time axis as its newest
step, another as if the sequences ended now. It takes constant time and memory. B batch, n steps of a chunk.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers.bound import Program
from everystep.layers.checks import whole_number
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Tensor
from everystep.models import stream_state
from everystep.models.inputs import fitted
from everystep.models.model import Model
from everystep.models.stream_call import Value
from everystep.models.stream_clock import only_where_fresh
from everystep.models.stream_plan import Constants, Plan


class Stream:
    """What `Model.stream` returns: B live sequences with their state.

    The weights are the model's own, not copies. After `set_weights` the stream refuses to go on, as what it has seen
    went through other weights: open a new one, and hand the `state` over if that is meant.

    A stream belongs to one thread at a time; streams of one model may go on in different threads at once. It can be
    pickled and copied, with its model.

    Attributes:
        model, batch_size: what it was opened with.
        steps: how many it has taken, since it was opened or reset as a whole.
    """

    def __init__(self, model: Model, batch_size: int, static: dict[str, Any], known: Constants | None = None) -> None:
        self.model = model
        self.batch_size = whole_number(model.name, "batch_size", batch_size)
        self.steps = 0
        names = model.input_names
        if not isinstance(static, dict):
            raise OptionError(f"static must be a dictionary of arrays by inputs' names; got {type(static).__name__}")
        unknown = [name for name in static if name not in names]
        if unknown or len(static) == len(names):
            raise OptionError(
                f"model {model.name!r} has the inputs {', '.join(map(repr, names))}; static holds some of them, by "
                f"name, and not all. Got {', '.join(map(repr, static))}"
            )
        self._streamed = [tensor for tensor in model.inputs if tensor.history.operation.name not in static]
        self._static = self._fitted_static(static)
        inputs = [
            Value(self._static[name], constant=True)
            if name in static
            else Value(np.zeros((self.batch_size, *_step_shape(tensor)), tensor.dtype), timed=True)
            for name, tensor in zip(names, model.inputs, strict=True)
        ]
        self._inputs = [value for value in inputs if value.timed]
        self._plan = Plan(model, self.batch_size, inputs, known)
        self._outputs = self._plan.shown
        self._single = isinstance(model._packed(self._outputs), np.ndarray)  # one output, in no structure
        self._states = stream_state.named(self._plan.calls)
        self._versions = [(layer, int(layer.version[0])) for layer in model.flat_layers().values() if layer.weights]
        self._program = Program(
            self._plan.steps,
            [value.array for value in self._inputs],
            self._outputs,
            [(layer.version, version) for layer, version in self._versions],
        )
        self._native_step = self._program.step
        self._fingerprint: bytes | None = None
        self._static_programs: dict[tuple[Any, ...], Program] = {}  # of `begin_again`, by shapes of static inputs
        self._sources = np.arange(batch_size) if static else np.zeros(batch_size, np.intp)  # equal: constants are

    # ---- Steps ----

    def step(self, x_t: Any, out: Any = None) -> Any:
        """One step of every sequence.

        Args:
            x_t: (B,...), as an input of `predict` without its time axis; of several streamed inputs a list, or a
                dictionary by their names. Numbers are converted as by `predict`.
            out: arrays that take the outputs, in their structure; then the layers of the closed list allocate nothing.

        Returns:
            What `predict` returns on all steps so far; an output with a time axis without it, as its newest step.

        Raises:
            ShapeError, DtypeError, OptionError: x_t or out does not fit; the stream is as it was.
            UnsupportedError: the model has other weights now.
        """
        found = self._native_step(x_t, out)
        if found is None:
            found = self._fitted_step(x_t, out)
        self.steps += 1
        if out is not None:
            return out
        return found if self._single else self.model._packed(found)

    def _fitted_step(self, x_t: Any, out: Any) -> Any:
        """A step of what is not exactly as the program takes it: to be converted, or refused by what does not fit."""
        self._check_weights()
        if out is not None:
            self._check_out(out)
        arrays = [  # aligned, and of the dtype itself, where two C types are as long
            np.array(array, value.array.dtype)
            for array, value in zip(self._arranged(x_t, 1), self._inputs, strict=True)
        ]
        found = self._native_step(arrays if len(arrays) > 1 else arrays[0], None)
        if found is None:  # all else fits
            self._check_weights()
        if out is not None:
            for result, array in zip(self._flat(out), self._flat(found), strict=True):
                result[...] = array
        return found

    def _flat(self, outputs: Any) -> list[Any]:
        """The arrays of the outputs; what is in the place of the only one must be an array itself."""
        return [outputs] if self._single else flatten(outputs)

    def run(self, chunk: Any) -> Any:
        """Several steps at once, with the numbers of stepping through them, to the bit.

        Args:
            chunk: (B,n,...), n from 1 on; of several streamed inputs a list, or a dictionary by their names.

        Returns:
            Each output with a time axis at these steps, (B,n,...), and the others after the last of them.

        Raises:
            as `step`.
        """
        self._check_weights()
        arrays = self._arranged(chunk, 2)
        lengths = {array.shape[1] for array in arrays}
        if len(lengths) > 1 or lengths == {0}:
            raise ShapeError(f"a chunk holds the same number of steps of each input, from 1 on; got {sorted(lengths)}")
        found = self._run(arrays)
        self.steps += lengths.pop()
        return self.model._packed([np.array(array) for array in found])

    def _run(self, arrays: list[Array]) -> list[Array]:
        """The outputs, flat, of a chunk that fits."""
        found: dict[Value, Any] = dict(zip(self._inputs, arrays, strict=True))

        def read(value: Value) -> Array:
            array: Array = found.get(value, value.array)
            return array

        after: list[tuple[Array, Array]] = []
        for call in self._plan.calls:
            outputs, state = call.run(read, "run", call.own_state)
            masks = call.run_masks(read, len(outputs))
            found |= zip(call.outputs, outputs, strict=True)
            found |= {value: mask for value, mask in zip(call.masks, masks, strict=True) if value is not None}
            if call.own_state is not None:
                after += zip(flatten(call.state), flatten(state), strict=True)
            after += call.held_after(outputs)
        for old, new in after:
            np.copyto(old, new)
        for call in self._plan.calls:  # whose newest step may be one of a step before the chunk's last
            if call.own_clock is not None and call.clock is not None:
                only_where_fresh(call.own_clock, call.clock)
        return [read(value) for value in self._plan.outputs]

    # ---- State ----

    @property
    def state(self) -> dict[str, Array]:
        """A copy of every state by its layer and letter, as "encoder/lstm/c", (B,H); to set, a dictionary of all."""
        return {name: state.now.copy() for name, state in self._states.items()}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        stream_state.put(self._states, state)

    def reset(self, rows: Any = None) -> None:
        """Begins anew: all sequences, or some of them.

        Args:
            rows: which, (B) bool or a list of their numbers; None is all, and then `steps` begins anew too.

        Raises:
            ShapeError, DtypeError, OptionError: rows is something else.
        """
        index: Any = ... if rows is None else self._rows(rows)
        for state in self._states.values():
            state.now[index] = state.first[index]
        if rows is None:
            self.steps = 0

    def fork(self, rows: Any = None) -> Stream:
        """A stream of its own that goes on from here: with all rows, or with some of them.

        What follows from static inputs is not computed again.

        Args:
            rows: row k of the fork goes on from where row rows[k] is; a list of row numbers, in any order, also
                several times, or (B) bool, those to go on with. None is all.

        Raises:
            ShapeError, DtypeError, OptionError: rows is something else, or names none.
            UnsupportedError: the model has other weights now.
        """
        self._check_weights()
        index: Any = slice(None)
        if rows is not None:
            index = np.arange(self.batch_size)[self._rows(rows)]
            if not len(index):
                raise OptionError("a stream has one row or more; fork was given none")
        static = {name: array[index] for name, array in self._static.items()}
        B = self.batch_size if rows is None else len(index)
        other = Stream(self.model, B, static, self._plan.constants(lambda value: value.array[index]))
        for mine, its in zip(self._states.values(), other._states.values(), strict=True):
            np.copyto(its.now, mine.now[index])
        other.steps, other._sources = self.steps, self._sources[index]
        other._fingerprint = self._fingerprint if rows is None else None
        return other

    def reorder(self, rows: Any) -> None:
        """Row k goes on from where row rows[k] was; only rows that change are copied.

        Args:
            rows: (B) row numbers, also several times: as of the hypotheses of a beam.

        Raises:
            ShapeError, DtypeError, OptionError, UnsupportedError: as `fork`.
        """
        index = self._rows(rows)
        if index.dtype == bool or len(index) != self.batch_size:
            raise ShapeError(f"reorder takes a row number for each of the {self.batch_size} rows; got {rows!r}")
        self._reorder(index)

    def _reorder(self, index: Array) -> None:
        (changed,) = (index != np.arange(self.batch_size)).nonzero()
        if not len(changed):
            return
        came_from = index[changed]
        if (self._sources[changed] != self._sources[came_from]).any():  # what is constant is another too
            self.__dict__.update(self.fork(index).__dict__)
            return
        for state in self._states.values():
            state.now[changed] = state.now[came_from]

    def _take(self, rows: Array, other: Stream) -> None:
        """These rows go on from where those of another are, a fork of them."""
        for mine, its in zip(self._states.values(), other._states.values(), strict=True):
            mine.now[rows] = its.now

    def to_bytes(self) -> bytes:
        """The state and `steps`, to go on in another process: see `from_bytes`; the format is in `stream_state`."""
        return stream_state.to_bytes(self._states, self.fingerprint, self.batch_size, self.steps)

    @classmethod
    def from_bytes(cls, model: Model, blob: bytes, static: dict[str, Any] | None = None) -> Stream:
        """A stream that goes on where the one that made the bytes was.

        Args:
            model: the same: of equal config and weights.
            static: as it was opened with.

        Raises:
            OptionError: the bytes are not of a stream, are damaged, or are of another model or other static inputs.
        """
        header, arrays = stream_state.from_bytes(blob)
        stream = cls(model, header.batch_size, static or {})
        if header.fingerprint != stream.fingerprint.hex():
            raise OptionError(
                f"these bytes are of a stream of another model than {model.name!r}: its config, its weights or the "
                "static inputs are others. Pass the model that they were made with"
            )
        stream.state, stream.steps = arrays, header.steps
        return stream

    def __reduce__(self) -> tuple[Any, ...]:
        return Stream.from_bytes, (self.model, self.to_bytes(), self._static)

    @property
    def fingerprint(self) -> bytes:
        """Tells this model, with its weights and static inputs, from others."""
        self._check_weights()
        if self._fingerprint is None:
            self._fingerprint = stream_state.fingerprint(self.model, self._static)
        return self._fingerprint

    # ---- What comes in ----

    def _arranged(self, x: Any, axes: int) -> list[Array]:
        """An array for each streamed input, of a step or of a chunk.

        Args:
            axes: before those of a step's numbers: 1 for the rows, 2 for rows and steps.
        """
        names = [tensor.history.operation.name for tensor in self._streamed]
        if isinstance(x, dict):
            parts = [] if x.keys() != set(names) else [x[name] for name in names]
            came = f"a dictionary of {', '.join(map(repr, x)) or 'nothing'}"
        else:
            parts = list(x) if isinstance(x, (list, tuple)) and len(names) > 1 else [x]
            came = f"{len(parts)}"
        if len(parts) != len(names):
            count = f"{len(names)} streamed input{'s' if len(names) > 1 else ''}"
            raise ShapeError(f"this stream has {count}, {', '.join(map(repr, names))}; got {came}")
        return [
            self._fitted(part, (*[None] * (axes - 1), *_step_shape(tensor)), tensor)
            for part, tensor in zip(parts, self._streamed, strict=True)
        ]

    def _fitted_static(self, static: dict[str, Any]) -> dict[str, Array]:
        """Copies of the static inputs, in the model's order."""
        tensors = zip(self.model.input_names, self.model.inputs, strict=True)
        return {
            name: self._fitted(static[name], tensor.shape[1:], tensor).copy()
            for name, tensor in tensors
            if name in static
        }

    def _fitted(self, x: Any, shape: tuple[int | None, ...], tensor: Tensor) -> Array:
        """x as an array of this shape after the rows, in the input's dtype."""
        array = fitted(x, Tensor((self.batch_size, *shape), tensor.dtype, tensor.name))
        if len(array) != self.batch_size:
            raise ShapeError(
                f"input {tensor.name!r}: this stream has {self.batch_size} rows (batch_size); got {len(array)}"
            )
        return array

    def _check_out(self, out: Any) -> None:
        results = self._flat(out)
        if len(results) != len(self._outputs):
            raise ShapeError(f"out must be {len(self._outputs)} arrays, one for each output; got {len(results)}")
        for k, (result, array) in enumerate(zip(results, self._outputs, strict=True)):
            if type(result) is not np.ndarray or result.dtype != array.dtype or not result.flags.writeable:
                came = getattr(result, "dtype", type(result).__name__)
                raise DtypeError(f"out[{k}] must be a writeable array of {array.dtype}; got {came}")
            if result.shape != array.shape:
                raise ShapeError(f"out[{k}] must be of shape {array.shape}; got {result.shape}")

    def _rows(self, rows: Any) -> Array:
        given, B = np.asarray(rows), self.batch_size
        if given.dtype == bool:
            if given.shape != (B,):
                raise ShapeError(f"rows must be (B,) bool, here ({B},), or a list of row numbers; got {given.shape}")
            return given
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise DtypeError(f"rows must be (B,) bool, or a list of row numbers; got {rows!r}")
        if given.size and not 0 <= given.min() <= given.max() < B:
            raise OptionError(f"rows are numbered from 0 to {B - 1}; got {given.tolist()}")
        return given.astype(np.intp)

    def _check_weights(self) -> None:
        for layer, version in self._versions:
            if layer.version[0] != version:
                raise UnsupportedError(
                    f"layer {layer.name!r} was given other weights after this stream was opened. Open another with "
                    "model.stream(); to go on from here under the new weights, hand it this one's state"
                )


def _step_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of one step of an input, without the rows."""
    sizes = tuple(size for size in tensor.shape[2:] if size is not None)
    if len(sizes) != tensor.ndim - 2:
        raise UnsupportedError(
            f"input {tensor.name!r} of shape {tensor.shape} has no time axis, or an unknown size beside it, and cannot "
            "be streamed. If it is no sequence, name it in static"
        )
    return sizes
