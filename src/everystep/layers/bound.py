"""A layer's step on arrays that stay: found and checked once, then made again and again, allocating nothing.

`bound_step` and `bound_mask` know the layers whose step is a few calls of the engine or of NumPy with an `out`. They
return None for others, which a stream steps with `Layer.step`, to the same bits. B batch, T time steps.
"""

from __future__ import annotations

from functools import partial, singledispatch
from typing import Any, NamedTuple

import numpy as np

from everystep import engine
from everystep.engine import Array, Bound, PackedMatrix, Program
from everystep.layers.activation import Activation
from everystep.layers.activations import ALONG_LAST_AXIS
from everystep.layers.attention import MASKED, OneHead
from everystep.layers.bidirectional import Bidirectional
from everystep.layers.bound_run import bound_both_ways, bound_run, is_flags
from everystep.layers.concatenate import Concatenate
from everystep.layers.conv1d import Conv1D
from everystep.layers.dense import Dense
from everystep.layers.dropout import Identity
from everystep.layers.embedding import Embedding
from everystep.layers.masking import Masking
from everystep.layers.operation import Operation
from everystep.layers.operations import Function
from everystep.layers.operations.elementwise import quiet
from everystep.layers.operations.kind import result_dtype
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten
from everystep.layers.together import Found

__all__ = ["Bound", "BoundStep", "Program", "bound_mask", "bound_step"]


NOT_BOUND = ("sparsemax", "glu")  # activations that take memory of their own at each step


class BoundStep(NamedTuple):
    """What is returned, in arrays that stay, and the calls that write it there, in their order."""

    outputs: Any
    calls: list[Bound]


@singledispatch
def bound_step(operation: Operation, call: dict[str, Any], state: Any) -> BoundStep | None:
    """`operation.step` on arrays that stay; or, of what carries nothing, `operation.run` on arrays without a time axis.

    Args:
        call: the arguments by name, as `Layer.advance` hands them to `step`; of an operation that is no layer, its
            arguments in a tuple.
        state: the states, which the calls write over; () of what carries nothing, and of a recurrent layer's `run`.
    """
    return None


@singledispatch
def bound_mask(layer: Operation, inputs: Any, mask: Any) -> BoundStep | None:
    """`layer.compute_mask` of a layer that makes a mask, on arrays that stay."""
    return None


# ---- Recurrent layers ----


@bound_step.register
def _(layer: Recurrent, call: dict[str, Any], state: Any) -> BoundStep | None:
    if not state:
        return _bound_run(bound_run(layer, call))
    x_t, mask, resets = call["sequences"], call.get("mask"), call.get("resets")
    B = x_t.shape[0]
    if any(flags is not None and not is_flags(flags, B) for flags in (mask, resets)) or not x_t.flags.c_contiguous:
        return None
    given, cells = iter(flatten(call.get("initial_state"))), layer.cells
    calls, found = [], Found(x_t, [], [], [])
    for cell, states in zip(cells, state if layer.stacked else [state], strict=True):
        initial = cell.first_states(B) if call.get("initial_state") is None else [next(given) for _ in states]
        gates = np.empty((B, len(cell.spec.gates), cell.units), layer.dtype) if layer.return_gates else None
        calls.append(
            engine.bound_step(
                x_t=found.h,
                states=states,
                mask=mask,
                resets=resets,
                reset_states=None if resets is None else initial,
                gates=gates,
                **cell.functions,
            )
        )
        c = states[1] if layer.return_cell_sequences and len(states) > 1 else None
        found = found.above(engine.Outputs(states[0], states, c, gates))
    if layer.zero_output_for_mask and mask is not None:
        h = np.empty_like(found.h)
        calls += [partial(h.fill, 0), partial(np.copyto, h, found.h, where=mask[:, None])]
        found = found._replace(h=h)
    return BoundStep(layer.outputs_of(found), calls)


@bound_step.register
def _(layer: Bidirectional, call: dict[str, Any], state: Any) -> BoundStep | None:
    return _bound_run(bound_both_ways(layer, call))


def _bound_run(found: tuple[Any, list[Bound]] | None) -> BoundStep | None:
    return None if found is None else BoundStep(*found)


# ---- Layers that carry nothing, or a few steps ----


@bound_step.register
def _(layer: Dense, call: dict[str, Any], state: Any) -> BoundStep | None:
    x = call["inputs"]
    if not x.flags.c_contiguous or layer.activation in NOT_BOUND:
        return None
    return _activated_product(x, layer.packed, layer.named_weights.get("bias"), layer.activation)


@bound_step.register
def _(layer: Conv1D, call: dict[str, Any], state: Any) -> BoundStep | None:
    x_t, w = call["inputs"], layer.window
    if layer.own_clock or layer.groups > 1 or layer.activation in NOT_BOUND or x_t.ndim != 2 or not state:
        return None
    before, steps = state[0], np.empty((len(x_t), w.span, x_t.shape[1]), layer.dtype)
    taps = np.empty((len(x_t), w.size, x_t.shape[1]), layer.dtype)
    rows = taps.reshape(len(x_t), -1)
    product = _activated_product(rows, layer.packed[0], layer.named_weights.get("bias"), layer.activation)
    calls: list[Bound] = [
        partial(np.copyto, steps[:, :-1], before),
        partial(np.copyto, steps[:, -1], x_t),
        partial(np.copyto, taps, steps[:, :: w.dilation]),
        partial(np.copyto, before, steps[:, 1:]),
    ]
    return BoundStep(product.outputs, calls + product.calls)


def _activated_product(x: Array, matrix: PackedMatrix, bias: Array | None, name: str) -> BoundStep:
    """As `activations.activated_product`."""
    y = np.empty((*x.shape[:-1], matrix.columns), x.dtype)
    if name not in ALONG_LAST_AXIS:
        return BoundStep(y, [engine.bound_product(x, matrix, bias, name, y)])
    return BoundStep(y, [engine.bound_product(x, matrix, bias, "linear", y), *_along_last_axis(name, y, y)])


@bound_step.register
def _(layer: Activation, call: dict[str, Any], state: Any) -> BoundStep | None:
    x = call["inputs"]
    if not x.flags.c_contiguous or layer.activation in NOT_BOUND:
        return None
    y = np.empty_like(x)
    if not x.shape[-1]:
        return None
    if layer.activation in ALONG_LAST_AXIS:
        return BoundStep(y, _along_last_axis(layer.activation, x, y))
    return BoundStep(y, [engine.bound_activation(layer.activation, x, y)])


def _along_last_axis(name: str, x: Array, y: Array) -> list[Bound]:
    """softmax or log_softmax of x, step by step as `activations.activate`; y may be x."""
    log = name == "log_softmax"
    exponentials = np.empty_like(y) if log else y
    one, spread = np.empty((*x.shape[:-1], 1), x.dtype), np.empty_like(x)  # a number for each row; and along it, as
    along: Any = dict(axis=-1, keepdims=True, out=one)  # NumPy takes memory to broadcast in a ufunc, not in copyto
    calls: list[Bound] = [
        partial(np.maximum.reduce, x, **along),
        partial(np.copyto, spread, one),
        partial(np.subtract, x, spread, y),
        engine.bound_activation("exponential", y, exponentials),
        partial(np.add.reduce, exponentials, **along),
    ]
    if log:
        return [*calls, partial(np.log, one, one), partial(np.copyto, spread, one), partial(np.subtract, y, spread, y)]
    return [*calls, partial(np.copyto, spread, one), partial(np.divide, y, spread, y)]


@bound_step.register
def _(layer: Identity, call: dict[str, Any], state: Any) -> BoundStep:
    return BoundStep(call["inputs"], [])


@bound_step.register
def _(layer: Concatenate, call: dict[str, Any], state: Any) -> BoundStep:
    inputs, axis = call["inputs"], layer.axis_of(call["inputs"])
    y = layer.apply(inputs)
    parts = np.split(y, np.cumsum([x.shape[axis] for x in inputs])[:-1], axis)
    return BoundStep(y, [partial(np.copyto, part, x) for part, x in zip(parts, inputs, strict=True)])


@bound_step.register
def _(layer: Embedding, call: dict[str, Any], state: Any) -> BoundStep | None:
    ids, rows = call["inputs"], layer.named_weights["embeddings"]
    if ids.dtype.kind not in "iu" or not ids.size:
        return None
    y = np.empty((*ids.shape, layer.output_dim), layer.dtype)
    wide = np.empty(ids.shape, np.intp)
    unsigned = wide.reshape(-1).view(np.uintp)  # as which what is below 0 is large

    def look_up() -> None:
        np.copyto(wide, ids, casting="unsafe")
        if np.maximum.reduce(unsigned) >= layer.input_dim:
            layer.apply(ids)  # which says what is wrong
        rows.take(wide, axis=0, out=y, mode="clip")  # with "raise" it would write to an array of its own first

    return BoundStep(y, [look_up])


@bound_step.register
def _(layer: Masking, call: dict[str, Any], state: Any) -> BoundStep:
    x = call["inputs"]
    y = np.empty_like(x)
    seen, calls = _seen(x, layer.mask_value)
    return BoundStep(y, [*calls, partial(y.fill, 0), partial(np.copyto, y, x, where=seen[..., None])])


@bound_step.register
def _(layer: OneHead, call: dict[str, Any], state: Any) -> BoundStep | None:
    query, value, key = call["inputs"][0], call["inputs"][1], call["inputs"][-1]
    of_query, of_value = (call.get("mask") or [None, None])[:2]
    masks = [one for one in (of_query, of_value) if one is not None]
    stepped = query.ndim == 2 and value.ndim == 3 and not call.get("use_causal_mask")
    if not stepped or not value.size or any(mask.dtype != bool for mask in masks):
        return None
    (B, S), dtype = value.shape[:2], value.dtype
    scores, found = np.empty((B, 1, S), dtype), np.empty((B, 1, value.shape[2]), dtype)
    calls = layer.bound_scores(query[:, None], key, scores)
    if of_value is not None:
        unseen, lower = np.empty((B, 1, S), bool), np.empty_like(scores)
        calls += [
            partial(np.logical_not, of_value[:, None], unseen),
            partial(np.subtract, scores, np.asarray(MASKED, dtype), lower),
            partial(np.copyto, scores, lower, where=unseen),  # which is faster than to subtract there alone
        ]
    calls += [*_along_last_axis("softmax", scores, scores), partial(np.matmul, scores, value, found)]
    if of_query is not None:
        left_out = np.empty((B, 1), bool)
        calls += [
            partial(np.logical_not, of_query[:, None], left_out),
            partial(np.copyto, found[:, 0], np.zeros((), dtype), where=left_out),
        ]
    outputs = (found[:, 0], scores[:, 0]) if call.get("return_attention_scores") else found[:, 0]
    return BoundStep(outputs, calls)


@bound_step.register
def _(function: Function, call: Any, state: Any) -> BoundStep | None:
    given, stepped = function.as_sequences(list(call))
    y = function.about.run(*given, **function.options)
    newest = y[:, 0] if stepped and not function.takes_newest else y
    if function.kind in ("ZerosLike", "OnesLike") or any(np.may_share_memory(y, x) for x in flatten(given)):
        return BoundStep(newest, [])  # the same always, or a view
    if function.kind in ("Any", "All", "Concatenate"):
        return BoundStep(newest, [partial(function.about.run, *given, **function.options, out=y)])
    ufunc, arrays = function.about.ufunc, [x for x in given if isinstance(x, np.ndarray)]
    # NumPy chooses by the dtypes of the arrays what it computes in, so they must be the one that `run` brings them to.
    if ufunc is None or any(x.dtype != result_dtype(*given) for x in arrays):
        return None
    dtype = arrays[0].dtype
    if y.dtype != bool and (y.dtype != dtype or not all(x.flags.c_contiguous for x in arrays)):
        return None
    return BoundStep(newest, [partial(quiet, ufunc, *given, out=y)])


# ---- Masks ----


@bound_mask.register
def _(layer: Masking, inputs: Any, mask: Any) -> BoundStep:
    return BoundStep(*_seen(inputs, layer.mask_value))


@bound_mask.register
def _(layer: Embedding, inputs: Any, mask: Any) -> BoundStep:
    seen = np.empty(inputs.shape, bool)
    return BoundStep(seen, [partial(np.not_equal, inputs, 0, seen)])


@bound_mask.register
def _(layer: Concatenate, inputs: Any, mask: Any) -> BoundStep | None:
    each = list(zip(inputs, mask, strict=True))
    by_row = all(one is None or one.ndim + 1 == value.ndim for value, one in each)
    if not by_row or layer.axis_of(inputs) not in (-1, inputs[0].ndim - 1) or not all(v.shape[-1] for v in inputs):
        return None
    seen = np.ones(inputs[0].shape[:-1], bool)  # as it stays where one has no mask
    if any(one is None for one in mask):
        return BoundStep(seen, [])
    others: list[Bound] = [partial(np.logical_or, seen, one, seen) for one in mask[1:]]
    return BoundStep(seen, [partial(np.not_equal, mask[0], 0, seen), *others])


def _seen(x: Array, mask_value: float) -> tuple[Array, list[Bound]]:
    """Whether any number along the last axis of x is another than the mask value."""
    differs, seen = np.empty(x.shape, bool), np.empty(x.shape[:-1], bool)
    return seen, [
        partial(np.not_equal, x, mask_value, differs),
        partial(np.logical_or.reduce, differs, axis=-1, out=seen),
    ]
