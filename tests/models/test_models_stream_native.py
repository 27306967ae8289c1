"""Arrays that are exactly as a stream takes them go through the native program; all others give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from streams import STREAMED, B, Case, same
from topologies import H, T

from everystep import Input, Model, engine
from everystep.errors import OptionError, UnsupportedError
from everystep.layers import LSTM, Activation, Dense, Embedding

I = 4


def natively(stream: Any) -> Any:
    """The stream, which fails where a step is not the native program's."""

    def not_native(x_t: Any, out: Any) -> Any:
        raise AssertionError("this step went the way of what must be converted")

    stream._fitted_step = not_native
    return stream


def small(batch_size: int = B) -> tuple[Any, Any]:
    x = Input((None, I))
    model = Model(x, Dense(I)(LSTM(H)(x)))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model, rng.normal(size=(batch_size, T, I)).astype(np.float32)


@pytest.mark.parametrize("topology", STREAMED)
@pytest.mark.parametrize("kind", [list, tuple])
def test_inputs_in_a_list_go_the_native_way(topology: Any, kind: Callable[[Any], Any]) -> None:
    case = Case(topology)
    native, other = natively(case.open()), case.open()
    order = [tensor.name for tensor in case.model.inputs if tensor.name not in case.static_names]
    out: Any = None
    for t in range(T):
        part = case.part(np.s_[:, t])
        x_t = [part[name] for name in order]
        found = native.step(kind(x_t) if len(x_t) > 1 else x_t[0], out=out)
        same(found, other.step(part))
        if isinstance(found, np.ndarray) or all(isinstance(one, np.ndarray) for one in found):
            out = found  # not in a structure of structures: from now on into these
    assert native.steps == T


def unaligned(array: Any) -> Any:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


class Sub(np.ndarray):
    """Another class than NumPy's own array."""


LAYOUTS: dict[str, tuple[Callable[[Any], Any], bool]] = {  # whether it must go the native way
    "contiguous": (np.ascontiguousarray, True),
    "of a sequence": (lambda a: np.repeat(a[:, None], 3, axis=1)[:, 1], True),
    "Fortran": (np.asfortranarray, True),
    "backwards": (lambda a: a[::-1].copy()[::-1], True),
    "every other": (lambda a: np.repeat(a, 2, axis=1)[:, ::2], True),
    "read-only": (lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape), True),
    "one number for all": (lambda a: np.broadcast_to(a[:1, :1], a.shape), True),
    "unaligned": (unaligned, False),
    "float64": (lambda a: a.astype(np.float64), False),
    "big-endian": (lambda a: a.astype(">f4"), False),
    "a class of its own": (lambda a: a.view(Sub), False),
    "a list": (lambda a: a.tolist(), False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_what_comes_in(layout: str) -> None:
    make, native = LAYOUTS[layout]
    model, x = small()
    stream, other = model.stream(B), natively(model.stream(B))
    if native:
        natively(stream)
    for t in range(T):
        x_t = make(np.ascontiguousarray(x[:, t]))
        same(stream.step(x_t), other.step(np.array(x_t, np.float32, order="C")))


def test_layouts_of_what_comes_out() -> None:
    model, x = small()
    outs = {
        "contiguous": (np.empty((B, I), np.float32), True),
        "Fortran": (np.empty((I, B), np.float32).T, True),
        "a column of it": (np.empty((B, 3, I), np.float32)[:, 1], True),
        "backwards": (np.empty((B, I), np.float32)[::-1, ::-1], True),
        "unaligned": (unaligned(np.empty((B, I), np.float32)), False),
    }
    for name, (out, native) in outs.items():
        stream, other = model.stream(B), model.stream(B)
        if native:
            natively(stream)
        for t in range(T):
            assert stream.step(x[:, t], out=out) is out, name
            same(out, other.step(x[:, t]))
    big = np.full((B + 2, I), 9, np.float32)
    model.stream(B).step(x[:, 0], out=big[1:-1])
    assert (big[[0, -1]] == 9).all()


def test_what_comes_in_may_take_what_comes_out() -> None:
    model, x = small()
    stream, other = natively(model.stream(B)), natively(model.stream(B))
    both = x[:, 0].copy()
    for _ in range(T):
        expected = other.step(both.copy())
        assert stream.step(both, out=both) is both
        same(both, expected)


def test_numbers_of_another_name_and_the_same_size() -> None:
    """Two of C's types are as long, and NumPy holds them for equal."""
    ids = Input((None,), dtype="int64")
    model = Model(ids, Activation("linear")(Embedding(5, 3)(ids)))
    stream, other = model.stream(2), natively(model.stream(2))
    for c_type in ("l", "q"):
        same(stream.step(np.array([1, 4], c_type)), other.step(np.array([1, 4], np.int64)))


def test_what_a_call_raises_comes_through() -> None:
    x, ids = Input((None, I)), Input((None,), dtype="int64")
    model = Model([x, ids], [LSTM(H)(x), Embedding(5, 3)(ids)])
    stream = natively(model.stream(1))
    x_t, out = np.ones((1, I), np.float32), [np.full((1, H), 9, np.float32), np.full((1, 3), 9, np.float32)]
    with pytest.raises(OptionError, match="has ids from 0 to 4"):
        stream.step([x_t, np.array([5])], out=out)
    assert all((array == 9).all() for array in out)
    assert stream.steps == 0
    stream.step([x_t, np.array([4])], out=out)
    assert stream.steps == 1


def test_other_weights_end_the_native_way_too() -> None:
    model, x = small()
    stream = model.stream(B)
    stream.step(x[:, 0])
    model.layers[-1].set_weights(model.layers[-1].get_weights())
    with pytest.raises(UnsupportedError, match="was given other weights"):
        stream.step(x[:, 1])
    natively(model.stream(B)).step(x[:, 1])


# ---- The program alone ----


def test_a_program() -> None:
    a, b, y, z = (np.zeros((2, 3), np.float32) for _ in range(4))
    made: list[int] = []
    calls = [
        engine.bound_activation("relu", a, y),
        lambda: made.append(1),
        engine.bound_activation("linear", y, z),
        engine.bound_activation("tanh", b, b),
    ]
    version = np.ones(1, np.int64)
    step = engine.Program(calls, [a, b], [z, b], [(version, 1)]).step
    x = [np.array([[-1, 2, 3], [4, -5, 6]], np.float32), np.ones((2, 3), np.float32)]
    wanted = [np.maximum(x[0], 0), engine.activate("tanh", x[1])]
    same(step(x, None), wanted)
    out = tuple(np.empty_like(one) for one in x)
    assert step(tuple(x), out) is out
    same(out, wanted)
    assert len(made) == 2
    for refused in (
        (x[0], None), (x[:1], None), ([*x, x[0]], None), ([x[0], None], None), ([x[0], x[1][:1]], None),
        ([x[0], x[1].astype(np.float64)], None), ([x[0], x[1][..., None]], None), (dict(enumerate(x)), None),
        (x, out[0]), (x, out[:1]), (x, [out[0], np.frombuffer(bytes(24), np.float32).reshape(2, 3)]), (x, [out[0], 1]),
        ([x[0], np.zeros((2, 3), "datetime64[s]")], None), ([x[0], np.zeros((2, 3), object)], None),
    ):  # fmt: skip
        assert step(*refused) is None
    version += 1
    assert step(x, None) is None
    assert len(made) == 2
    with pytest.raises(TypeError, match="step takes x and out; got 1"):
        step(x)  # type: ignore[call-arg]


def test_rounds_of_a_program_go_on() -> None:
    rng = np.random.default_rng(4)
    packed = engine.pack("gru", *(rng.normal(size=shape).astype(np.float32) for shape in ((I, 3 * H), (H, 3 * H))))
    x, h, other = np.ones((1, I), np.float32), np.zeros((1, H), np.float32), np.zeros((1, H), np.float32)
    program = engine.Program([engine.bound_step(packed, x, (h,))], [x], [h])
    assert 0 < program.timed(5) < 1
    for _ in range(5):
        engine.step(packed, x, (other,), out=(other,))
    same(h, other)

    def refuse() -> None:
        raise OptionError("no")

    with pytest.raises(OptionError, match="no"):
        engine.Program([refuse], [x], [h]).timed(1)


@pytest.mark.parametrize("n", [40, 40_000])
def test_subnormals_are_zero_in_the_engine_alone(n: int) -> None:
    """Short and long, its calls have the engine's own modes, and Python's between them those of the caller."""
    tiny = np.full(n, 1e-39, np.float32)
    x, y, z = (np.zeros(n, np.float32) for _ in range(3))
    calls = [engine.bound_activation("tanh", x, y), partial(np.multiply, x, np.float32(0.5), z)]
    for _ in range(2):
        found, halves = engine.Program(calls * 2, [x], [y, z]).step(tiny, None)
        assert not found.any()
        assert (halves > 0).all()
