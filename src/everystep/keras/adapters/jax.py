"""The engine inside JAX: two foreign calls that XLA makes, and their rules for differentiation and vmap.

`run` has the signature of `everystep.keras.loop.run`, its activations given by name. Its gradient is the engine's own;
what nobody differentiates by, such as the data that a model is trained on, has none computed for it.
Under `vmap` the mapped axis joins the batch, and the result is one call; where weights are mapped, and for gradients,
whose weights differ from row to row of the mapped axis, the calls are made one after the other.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero, custom_vjp_primal_tree_values

from everystep.cells import CELLS, Cell
from everystep.engine import Outputs, activation_code
from everystep.errors import DifferentiationError, DtypeError, OptionError, ShapeError

Tensor = Any  # a jax.Array or a tracer of one
T = TypeVar("T")
Each = tuple[T, ...]  # one for each of the runs that are made together

OLDEST_JAXLIB = (0, 7, 2)  # the one whose headers the XLA module is compiled against


class Options(NamedTuple):
    """What is known when a call is traced: hashable, and no array."""

    cell: str
    activation: str
    recurrent_activation: str
    backwards: bool
    sequences: bool
    cells: bool
    gates: bool

    def attributes(self) -> dict[str, int]:
        """What a foreign call is told of this run, beside its arrays."""
        return {
            "cells": list(CELLS).index(self.cell),
            "activations": activation_code("activation", self.activation),
            "recurrent_activations": activation_code("recurrent_activation", self.recurrent_activation),
            "backwards": self.backwards,
        }


class Inputs(NamedTuple):
    """The arrays of a run, in the order of `enum Input` in engine/bind/xla_module.cc; None for what it goes without."""

    x: Tensor  # (B,T,I)
    h0: Tensor  # (B,H)
    c0: Tensor | None  # (B,H); None, as reset_c, for a cell whose only state is h
    kernel: Tensor  # (I,GH)
    recurrent_kernel: Tensor  # (H,GH)
    bias: Tensor | None  # (GH) or (2,GH), see Cell.biases
    mask: Tensor | None  # (B,T) bool
    resets: Tensor | None  # (B,T) bool
    reset_h: Tensor | None  # (B,H)
    reset_c: Tensor | None  # (B,H)
    dropout: Tensor | None  # (G,B,I)
    recurrent_dropout: Tensor | None  # (G,B,H)


FLAGS = ("mask", "resets")  # what has no gradient
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
BATCH_SECOND = ("dropout", "recurrent_dropout")  # (G,B,...): every other array of a run that is no weight starts with B


@jax.tree_util.register_static  # so that it passes from the forward rule to the backward rule as it is
class Wanted(frozenset[str]):
    """The names of those inputs of a run that are differentiated by."""

    @classmethod
    def among(cls, primals: Inputs) -> Wanted:
        """primals: each array with whether it is perturbed."""
        arrays = {name: v for name, v in primals._asdict().items() if v is not None and name not in FLAGS}
        return cls(name for name, v in arrays.items() if v.perturbed)


class Results(NamedTuple):
    """What a forward call writes, in the order of `enum Output`; None for what was not asked for."""

    h: Tensor | None  # (B,T,H)
    c: Tensor | None  # (B,T,H)
    gates: Tensor | None  # (B,T,G,H)
    tape: Tensor | None  # (B,T,taped,H)
    last_h: Tensor  # (B,H)
    last_c: Tensor | None  # (B,H)


def computes_in(dtype: str) -> str:
    """What JAX makes of this dtype: float64 is float32 unless jax_enable_x64 is on."""
    return str(jax.dtypes.canonicalize_dtype(dtype))


@cache
def unavailable() -> str | None:
    """Why the engine cannot run here; None if it can."""
    version = importlib.metadata.version("jaxlib")
    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < OLDEST_JAXLIB:
        return f"jaxlib {version} is older than {'.'.join(map(str, OLDEST_JAXLIB))}"
    if jax.default_backend() != "cpu":
        return f"JAX computes on {jax.default_backend()}; the engine runs on a CPU"
    return None


def run(
    cell: str,
    x: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    *,
    mask: Tensor | None = None,
    resets: Tensor | None = None,
    reset_states: Sequence[Tensor] | None = None,
    dropout: Tensor | None = None,
    recurrent_dropout: Tensor | None = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    sequences: bool = True,
    cells: bool = False,
    gates: bool = False,
) -> Outputs:
    """Runs whole sequences on the engine; see `everystep.keras.loop.run` for the arguments and what comes back.

    Raises:
        ShapeError, DtypeError: an array does not fit the others.
        OptionError: `cells` of a cell that has one state.
        DifferentiationError: when a derivative of its gradient is taken.
    """
    options, inputs = _prepare(**locals())  # all the arguments, by name
    return _run((options,), (inputs,))[0]


def run_together(calls: Sequence[dict[str, Any]]) -> list[Outputs]:
    """Several runs that do not wait for each other, such as the two directions of a bidirectional layer.

    Args:
        calls: the arguments of `run` for each, by name; of one dtype and one batch size.
    """
    options, inputs = zip(*(_prepare(**{**(run.__kwdefaults__ or {}), **call}) for call in calls), strict=True)
    alike = {(one.x.shape[0], one.x.dtype.name) for one in inputs}
    if len(alike) > 1:
        raise ShapeError(f"runs are made together of one batch size and dtype; got {sorted(alike)}")
    return list(_run(options, inputs))


def _prepare(
    cell: str,
    x: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    *,
    mask: Tensor | None,
    resets: Tensor | None,
    reset_states: Sequence[Tensor] | None,
    dropout: Tensor | None,
    recurrent_dropout: Tensor | None,
    **options: Any,
) -> tuple[Options, Inputs]:
    """The two halves of a run's arguments, checked."""
    of = CELLS[cell]
    if options["cells"] and len(of.states) == 1:
        raise OptionError(f"a {cell} has no cell state: its only state is its output")
    h0, c0 = _pair("states", of, states)
    reset_h, reset_c = (None, None)
    if resets is not None:
        reset_h, reset_c = (h0, c0) if reset_states is None else _pair("reset_states", of, reset_states)
    weights = (kernel, recurrent_kernel, bias)
    inputs = Inputs(x, h0, c0, *weights, mask, resets, reset_h, reset_c, dropout, recurrent_dropout)
    _check(of, inputs)
    return Options(cell, **options), inputs


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(options: Each[Options], inputs: Each[Inputs]) -> Each[Outputs]:
    return _outputs(options, _forward(options, inputs, record=False))


def _run_forward(options: Each[Options], primals: Each[Inputs]) -> tuple[Each[Outputs], Any]:
    inputs = custom_vjp_primal_tree_values(primals)
    wanted = [Wanted.among(one) for one in primals]
    found = _forward(options, inputs, record=True)
    return _outputs(options, found), (inputs, wanted, [(one.h, one.c, one.tape) for one in found])


def _run_backward(options: Each[Options], kept: Any, d: Each[Outputs]) -> tuple[Each[Inputs]]:
    inputs, wanted, recorded = kept
    arriving = []
    # What nobody differentiates is not there: an array of zeros would be read.
    given = jax.tree.map(lambda v: None if isinstance(v, SymbolicZero) else v, d)
    for of, one in zip(options, given, strict=True):
        d_last_h, d_last_c = (*one.states, None)[:2]
        d_h: Tensor | None = one.h
        if not of.sequences:  # then h is the last h once more
            d_h, d_last_h = None, _sum(d_last_h, one.h)
        arriving.append((d_h, one.cells, one.gates, d_last_h, d_last_c))
    read = tuple((*i, *r, *a) for i, r, a in zip(inputs, recorded, arriving, strict=True))
    return (_backward(options, inputs, wanted, read),)


_run.defvjp(_run_forward, _run_backward, symbolic_zeros=True)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, where None stands for 0."""
    return b if a is None else a if b is None else a + b


def _outputs(options: Each[Options], found: Each[Results]) -> Each[Outputs]:
    def outputs(of: Options, one: Results) -> Outputs:
        h: Tensor = one.h if of.sequences else one.last_h
        return Outputs(
            h=h,
            states=(one.last_h,) if one.last_c is None else (one.last_h, one.last_c),
            cells=one.c if of.cells else None,
            gates=one.gates if of.gates else None,
        )

    return tuple(outputs(*each) for each in zip(options, found, strict=True))


def _pair(name: str, cell: Cell, states: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """h and c; None for c of a cell that has one state."""
    if len(states) != len(cell.states):
        raise ShapeError(f"{name} must be {len(cell.states)} arrays ({', '.join(cell.states)}); got {len(states)}")
    h, c = (*states, None)[:2]
    return h, c


def _check(cell: Cell, inputs: Inputs) -> None:
    """Raises unless every array has the shape and dtype that the foreign call, which trusts us, reads it with."""
    if inputs.x.ndim != 3 or inputs.h0.ndim != 2:
        raise ShapeError(f"x must be (B,T,I) and h0 (B,H); got {inputs.x.shape} and {inputs.h0.shape}")
    (B, T, I), H, G = inputs.x.shape, inputs.h0.shape[1], len(cell.gates)
    shapes = {"x": (B, T, I), **cell.weight_shapes(I, H), "mask": (B, T), "resets": (B, T)}
    shapes |= {"dropout": (G, B, I), "recurrent_dropout": (G, B, H)}
    for name, array in inputs._asdict().items():
        if array is None:
            continue
        shape, dtype = shapes.get(name, (B, H)), "bool" if name in FLAGS else inputs.x.dtype.name
        if array.shape != shape:
            raise ShapeError(f"{name} must be of shape {shape}; got {array.shape}")
        if array.dtype.name != dtype or dtype not in ("bool", "float32", "float64"):
            raise DtypeError(f"{name} must be {dtype}, and x float32 or float64; got {array.dtype.name}")


# ---- The two calls ----


def _forward(options: Each[Options], inputs: Each[Inputs], record: bool) -> Each[Results]:
    asked = tuple(_asked(of, arrays, record) for of, arrays in zip(options, inputs, strict=True))

    @custom_vmap
    def call(inputs: Each[Inputs]) -> list[Tensor]:
        batch = inputs[0].x.shape[0]  # B, or what vmap has folded into it
        shapes = [None if shape is None else (batch, *shape[1:]) for one in asked for shape in one]
        return _call("everystep_run", inputs, shapes, options)

    @call.def_vmap
    def call_mapped(size: int, mapped: list[Any], inputs: Each[Inputs]) -> tuple[list[Tensor], list[bool]]:
        if any(getattr(one, name) for one in mapped[0] for name in WEIGHTS):
            found = _one_by_one(call, mapped, inputs)
        else:
            B = inputs[0].x.shape[1 if mapped[0][0].x else 0]
            folded = tuple(_fold(size, *one) for one in zip(mapped[0], inputs, strict=True))
            found = [v.reshape(size, B, *v.shape[1:]) for v in call(folded)]
        return found, [True] * len(found)

    found = _spread(_no_derivative(call)(inputs), [shape for one in asked for shape in one])
    return tuple(Results(*found[k : k + len(Results._fields)]) for k in range(0, len(found), len(Results._fields)))


def _asked(options: Options, inputs: Inputs, record: bool) -> Results:
    """The shapes of what a run writes."""
    (B, T, _), H, cell = inputs.x.shape, inputs.h0.shape[1], CELLS[options.cell]
    two = inputs.c0 is not None
    return Results(
        h=(B, T, H) if options.sequences or record else None,
        c=(B, T, H) if options.cells or (record and two) else None,
        gates=(B, T, len(cell.gates), H) if options.gates else None,
        tape=(B, T, cell.taped, H) if record else None,
        last_h=(B, H),
        last_c=(B, H) if two else None,
    )


def _backward(options: Each[Options], inputs: Each[Inputs], wanted: Sequence[Wanted], read: Each[Any]) -> Each[Inputs]:
    """The gradients that are wanted, and None for the others, which are not computed."""
    shapes = [
        [v.shape if name in of else None for name, v in one._asdict().items()]
        for of, one in zip(wanted, inputs, strict=True)
    ]
    written = [shape for one in shapes for name, shape in zip(Inputs._fields, one, strict=True) if name not in FLAGS]

    @custom_vmap
    def call(read: Each[Any]) -> list[Tensor]:
        return _call("everystep_run_backward", read, written, options)

    @call.def_vmap
    def call_mapped(size: int, mapped: Any, read: Each[Any]) -> tuple[list[Tensor], list[bool]]:
        found: list[Tensor] = _one_by_one(call, mapped, read)
        return found, [True] * len(found)

    found = _spread(_no_derivative(call)(read), [shape for one in shapes for shape in one])
    return tuple(Inputs(*found[k : k + len(Inputs._fields)]) for k in range(0, len(found), len(Inputs._fields)))


def _call(target: str, read: Each[Any], shapes: Any, options: Each[Options]) -> list[Tensor]:
    """A foreign call; returns the results that have a shape, in their order."""
    _register()
    dtype = read[0][0].dtype
    results = [jax.ShapeDtypeStruct((0,) if shape is None else shape, dtype) for shape in shapes]
    nothing = jnp.zeros((0,), dtype)
    arguments = [nothing if v is None else v for arrays in read for v in arrays]
    each = [of.attributes() for of in options]
    attributes = {name: np.array([one[name] for one in each], np.int64) for name in each[0]}
    found = jax.ffi.ffi_call(target, results)(*arguments, **attributes)
    return [v for v, shape in zip(found, shapes, strict=True) if shape is not None]


def _spread(found: list[Tensor], shapes: list[Any]) -> list[Tensor | None]:
    """The results again with None where there is no shape."""
    left = iter(found)
    return [None if shape is None else next(left) for shape in shapes]


@cache
def _register() -> None:
    from everystep import _xla

    for name, target in _xla.targets().items():
        jax.ffi.register_ffi_target(name, target, platform="cpu")


# ---- vmap ----


def _fold(size: int, mapped: Inputs, inputs: Inputs) -> Inputs:
    """Every array that has a batch axis, with the mapped axis, (N,B,...), folded into it, (NB,...)."""

    def fold(name: str, is_mapped: bool, v: Tensor) -> Tensor:
        if v is None or name in WEIGHTS:
            return v
        if not is_mapped:
            v = jnp.broadcast_to(v, (size, *v.shape))
        if name in BATCH_SECOND:  # (N,G,B,...)
            v = jnp.moveaxis(v, 0, 1)
            return v.reshape(v.shape[0], size * v.shape[2], *v.shape[3:])
        return v.reshape(size * v.shape[1], *v.shape[2:])

    return Inputs(*(fold(*each) for each in zip(Inputs._fields, mapped, inputs, strict=True)))


def _one_by_one(call: Callable[..., Any], mapped: Any, *args: Any) -> Any:
    """call(*args) for each row of the mapped axis, in a loop."""
    leaves, tree = jax.tree.flatten(args)
    flags = jax.tree.leaves(mapped)
    assert len(flags) == len(leaves)

    def one(rows: list[Tensor]) -> Any:
        left = iter(rows)
        return call(*jax.tree.unflatten(tree, [next(left) if f else v for f, v in zip(flags, leaves, strict=True)]))

    return jax.lax.map(one, [v for f, v in zip(flags, leaves, strict=True) if f])


# ---- Derivatives ----


def _no_derivative(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, raising when a derivative of it is taken: the gradient of a run is computed, not differentiated."""
    guarded = jax.custom_jvp(call)

    @guarded.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise DifferentiationError(
            "everystep's engine has first derivatives by reverse mode only, and a derivative of its gradient, or of a "
            "run that is being recorded for one, was asked for. Use Keras's own layers for that: "
            "everystep.keras.without_engine(model)."
        )

    return guarded
