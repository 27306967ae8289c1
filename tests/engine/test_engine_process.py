"""The engine inside a process: its floating-point modes, forks, other Python threads, Python's lock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_cases import EVERY_CELL, FEATURES, Case, assert_same_bits, case, numbers, oracle_numbers
from forks import in_child

from everystep import engine
from everystep.cells import CELLS


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = engine.engine_info()["num_threads"]
    engine.set_num_threads(2)
    yield
    engine.set_num_threads(before)


def everything(call: Case, arriving: dict[str, Any]) -> list[Any]:
    found = call.run_all()
    return [*numbers(found).values(), *call.gradients(arriving, found.record).values()]


# ---- Floating-point modes ----

libm = ctypes.CDLL("libm.so.6")
# What <fenv.h> and the processor call them, on x86-64.
FLUSH, DAZ, EXCEPTION_FLAGS, AT = 0x8000, 0x0040, 0x3F, 28  # AT: where fenv_t holds the register
ROUNDING = {"to nearest": 0, "down": 0x2000, "up": 0x4000, "to zero": 0x6000}
MODES = {f"round {name}": bits for name, bits in ROUNDING.items()} | {"flush": FLUSH | DAZ, "flush up": FLUSH | 0x4000}


def modes() -> int:
    """This thread's MXCSR register, without the flags that any operation may raise."""
    environment = ctypes.create_string_buffer(32)
    libm.fegetenv(environment)
    return int.from_bytes(environment.raw[AT : AT + 4], "little") & ~EXCEPTION_FLAGS


@contextlib.contextmanager
def with_modes(bits: int) -> Iterator[None]:
    environment = ctypes.create_string_buffer(32)
    libm.fegetenv(environment)
    before = environment.raw
    register = int.from_bytes(before[AT : AT + 4], "little") & ~0xE040 | bits
    environment[AT : AT + 4] = register.to_bytes(4, "little")
    libm.fesetenv(environment)
    try:
        yield
    finally:
        libm.fesetenv(before)


def subnormal_case(cell: str, dtype: Any, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Case:
    """A state that fades through the subnormal numbers: gates that let half of it pass, candidates next to 0."""
    call = case(rng, *shape, dtype, cell=cell, has=("bias", "mask", "resets", "reset_states"))
    tiny, H, gates = float(np.finfo(dtype).tiny), shape[3], CELLS[cell].gates
    v = {name: value.astype(np.float64) for name, value in call.arrays.items()}
    for name in ("x", *call.starts, *(f"reset_{s}" for s in call.letters)):
        v[name] *= (1e3 if name in call.starts else 30) * tiny
    candidate = gates.index("g") if "g" in gates else 0
    v["bias"][..., candidate * H : (candidate + 1) * H] = 0
    return call.with_(**{name: value.astype(dtype) for name, value in v.items()})


x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the register is x86-64's")


@x86
@EVERY_CELL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 40, 4, 9), (8, 30, 16, 64), (1, 8, 20, 330)], ids=str)
def test_the_callers_modes_change_no_bit(shape: tuple[int, int, int, int], dtype: Any, cell: str) -> None:
    """Also where the pool's threads are at work. The run is known to meet subnormals: NumPy's own does."""
    rng = np.random.default_rng(1)
    call = subnormal_case(cell, dtype, rng, shape)
    letter, tiny = call.letters[-1], np.finfo(dtype).tiny
    state = oracle_numbers(call.oracle())[letter]
    assert ((state != 0) & (np.abs(state) < tiny)).any()
    arriving = call.arriving(rng)
    d = "d_cells" if letter == "c" else "d_h"
    arriving[d] = (arriving[d].astype(np.float64) * 10 * float(tiny)).astype(dtype)
    wanted = everything(call, arriving)
    ours = numbers(call.run_all())[letter]  # all that a step computes is flushed
    assert not ((ours != 0) & (np.abs(ours) < tiny))[call.options["mask"]].any()
    for name, bits in MODES.items():
        with with_modes(bits):
            before = modes()
            found = everything(call, arriving)
            after = modes()
        assert after == before, name
        for ours, theirs in zip(found, wanted, strict=True):
            assert_same_bits(ours, theirs, name)


@x86
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_callers_modes_in_the_other_functions(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    tiny = np.finfo(dtype).tiny
    x = (rng.normal(size=(40, 50)) * tiny).astype(dtype)
    x[:, ::2] = rng.normal(size=(40, 25))
    matrix = rng.normal(size=(50, 70)).astype(dtype)

    def all_of_them() -> list[Any]:
        values = [engine.activate(name, x) for name in engine.engine_info()["activations"]]
        return [*values, engine.product(x, engine.pack_matrix(matrix))]

    wanted = all_of_them()
    for name, bits in MODES.items():
        with with_modes(bits):
            before = modes()
            found = all_of_them()
            assert modes() == before, name
        for ours, theirs in zip(found, wanted, strict=True):
            assert_same_bits(ours, theirs, name)


# ---- Forks and threads ----

LONG_ROWS, LONG_UNITS = (8, 60, 16, 64), (1, 16, 20, 330)


@EVERY_CELL
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("shape", [LONG_ROWS, LONG_UNITS], ids=str)
def test_a_fork_after_use_works(shape: tuple[int, int, int, int], cell: str) -> None:
    """In the child's child as well, and in the parent afterwards."""
    rng = np.random.default_rng(3)
    call = case(rng, *shape, np.float32, cell=cell, has=("bias",))
    wanted = call.run(sequences=False).h.tobytes()
    assert in_child(lambda: call.run(sequences=False).h.tobytes()) == wanted
    assert in_child(lambda: in_child(lambda: call.run(sequences=False).h.tobytes())) == wanted
    assert call.run(sequences=False).h.tobytes() == wanted


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_during_use_works() -> None:
    """While another Python thread is in the engine with the pool."""
    rng = np.random.default_rng(4)
    call = case(rng, *LONG_ROWS, np.float32, has=("bias",))
    wanted, done = call.run(sequences=False).h.tobytes(), threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            call.run()

    other = threading.Thread(target=keep_busy)
    other.start()
    try:
        for _ in range(10):
            assert in_child(lambda: call.run(sequences=False).h.tobytes()) == wanted
    finally:
        done.set()
        other.join()


def test_calls_from_many_python_threads() -> None:
    """One has the pool, the others do their own work: the same bits, whoever has it."""
    rng = np.random.default_rng(5)
    shapes = (LONG_ROWS, LONG_UNITS, (2, 5, 3, 4))
    calls = [case(rng, *shape, np.float32, cell=cell, has=FEATURES) for shape in shapes for cell in CELLS]
    arriving = [call.arriving(rng) for call in calls]
    wanted = [everything(call, d) for call, d in zip(calls, arriving, strict=True)]
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for n in range(9):
                at = (first + n) % len(calls)
                for ours, theirs in zip(everything(calls[at], arriving[at]), wanted[at], strict=True):
                    assert_same_bits(ours, theirs)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


@pytest.mark.parametrize("backward", [False, True])
def test_other_python_threads_go_on(backward: bool) -> None:
    """Python's lock is free during the work: another thread wakes up again and again in the middle of one call."""
    engine.set_num_threads(1)
    call = case(np.random.default_rng(6), 16, 200, 32, 128, np.float64, has=("bias",))
    record = call.run_all().record
    arriving = call.arriving(np.random.default_rng(7))
    stamps: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.002):
            stamps.append(time.perf_counter())

    other = threading.Thread(target=tick)
    other.start()
    inside = 0
    for _ in range(50):  # a busy machine may not run the other thread during a call; a held lock never lets it
        start = time.perf_counter()
        if backward:
            call.gradients(arriving, record)
        else:
            call.run()
        end = time.perf_counter()
        inside += sum(start + 0.2 * (end - start) < stamp < end - 0.2 * (end - start) for stamp in stamps)
        stamps.clear()
        if inside >= 3:
            break
    done.set()
    other.join()
    assert inside >= 3


# Prints how many threads each call adds, the pool being made anew in a child of fork.
USES_THE_POOL = """
import os
import numpy as np
from everystep import engine
from everystep.cells import CELLS

engine.set_num_threads(3)
cell = CELLS[{cell!r}]
G, S = len(cell.gates), len(cell.states)
for B, T, I, H in {shapes}:
    packed = engine.pack(cell.name, np.ones((I, G * H)), np.ones((H, G * H)))
    x, states = np.ones((B, T, I)), [np.ones((B, H))] * S
    if os.fork() == 0:
        before = len(os.listdir("/proc/self/task"))
        engine.run(packed, x, states)
        print(len(os.listdir("/proc/self/task")) - before, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@EVERY_CELL
def test_the_shapes_of_these_tests_use_the_pool(cell: str) -> None:
    """A process has as many threads more after its first call as the pool has made; a short call makes none."""
    wakes = {LONG_ROWS: 2, (13, 30, 16, 64): 2, LONG_UNITS: 2, (1, 1, 8, 8): 0}
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    script = USES_THE_POOL.format(cell=cell, shapes=list(wakes))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert [int(line) for line in found.stdout.split()] == list(wakes.values())
