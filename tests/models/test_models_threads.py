"""One model in many threads and processes: the same bits, and one copy of the weights that nobody writes to."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forks import in_child
from topologies import TOPOLOGIES, H, I, Names, data, fed, nested, random_weights

import everystep
from everystep.layers.structure import flatten

K = Names(everystep, "float32")
FORK = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """work(0), work(1), ... at once, from one moment on; the first failure comes through."""
    failures: list[BaseException] = []
    together = threading.Barrier(count)

    def go(number: int) -> None:
        try:
            together.wait()
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def case(topology: Any, seed: int, rows: int = 3) -> tuple[Any, Any]:
    """A model and what its `predict` takes."""
    rng = np.random.default_rng(seed)
    model = topology(K)
    random_weights(model, rng)
    return model, fed(model, data(model, rng, rows))


def bits(returned: Any) -> list[bytes]:
    return [array.tobytes() for array in flatten(returned)]


def deep(k: Names) -> Any:
    """Large enough for the engine's own threads to share the work."""
    x = k.Input((None, 16))
    return k.Model(x, k.Dense(5)(k.GRU(70)(k.LSTM(90, return_sequences=True)(x))))


def any_length(k: Names) -> Any:
    x = k.Input((None, I))
    return k.Model(x, k.Dense(2)(k.GRU(H)(k.LSTM(H, return_sequences=True)(x))))


# ---- Threads ----


@pytest.mark.parametrize("topology", [*TOPOLOGIES, deep], ids=lambda f: f.__name__)
def test_threads_that_all_are_the_first(topology: Any) -> None:
    """The weights are packed on first use, here in all threads at once."""
    model, x = case(topology, 3)
    expected = bits(pickle.loads(pickle.dumps(model)).predict(x))

    def work(number: int) -> None:
        for _ in range(3):
            assert bits(model.predict(x)) == expected

    in_threads(6, work)


def test_each_thread_gets_its_own_rows() -> None:
    """Different batches, of different sizes and lengths, at once: nothing of one call shows in another."""
    model, _ = case(deep, 4)
    rng = np.random.default_rng(5)
    inputs = [rng.normal(size=(1 + n % 5, 3 + n, 16)).astype(np.float32) for n in range(8)]
    expected = [bits(model.predict(x)) for x in inputs]

    def work(number: int) -> None:
        for n in range(24):
            at = (number + n) % len(inputs)
            assert bits(model.predict(inputs[at], batch_size=1 + n % 3)) == expected[at]

    in_threads(6, work)


def test_streams_and_predictions_of_one_model_at_once() -> None:
    """Each thread has a stream with data of its own, some begin anew or fork, while others predict."""
    model, _ = case(any_length, 6)
    x = np.random.default_rng(7).normal(size=(6, 1, 40, I)).astype(np.float32)
    expected = [bits([model.predict(sequence[:, : t + 1]) for t in range(40)]) for sequence in x]

    def work(number: int) -> None:
        stream = model.stream()
        for n in range(4):
            stream.reset()
            found = [stream.step(x[number][:, t]) for t in range(20)]
            stream = stream.fork()
            found += [stream.step(x[number][:, t]) for t in range(20, 40)]
            assert bits(found) == expected[number]
            assert bits(model.predict(x[n])) == expected[n][-1:]

    in_threads(6, work)


def test_the_weights_are_shared_and_never_written_to() -> None:
    model, x = case(nested, 8)
    weights = [weight for layer in model.flat_layers().values() for weight in layer._weights.values()]
    before, places = bits(weights), [weight.ctypes.data for weight in weights]
    model.predict(x)
    packed = {name: layer._packed for name, layer in model.flat_layers().items() if hasattr(layer, "_packed")}
    streams = []

    def work(number: int) -> None:
        model.predict(x)
        stream = model.stream(batch_size=1 + number)
        stream.run(np.ones((1 + number, 2, *model.inputs[0].shape[2:]), np.float32))
        streams.append(stream)

    in_threads(4, work)
    now = [weight for layer in model.flat_layers().values() for weight in layer._weights.values()]
    assert [weight.ctypes.data for weight in now] == places
    assert bits(now) == before
    for name, layer in model.flat_layers().items():
        assert getattr(layer, "_packed", None) is packed.get(name), name
    assert all(stream.model is model for stream in streams)


# ---- Processes ----


def from_child(work: Callable[[], list[bytes]]) -> list[bytes]:
    """What `work` returns in a child made by fork."""
    return list(pickle.loads(in_child(lambda: pickle.dumps(work()))))


@FORK
@pytest.mark.parametrize("topology", [deep, nested], ids=lambda f: f.__name__)
def test_a_fork_after_use(topology: Any) -> None:
    model, x = case(topology, 9)
    expected = bits(model.predict(x))
    for _ in range(3):
        assert from_child(lambda: bits(model.predict(x))) == expected
    assert bits(model.predict(x)) == expected


@FORK
def test_a_fork_while_other_threads_predict() -> None:
    model, x = case(deep, 10)
    expected, done = bits(model.predict(x)), threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            model.predict(x)

    others = [threading.Thread(target=keep_busy) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(8):
            assert from_child(lambda: bits(model.predict(x))) == expected
    finally:
        done.set()
        for other in others:
            other.join()


@FORK
def test_a_stream_goes_on_in_a_fork() -> None:
    """Child and parent each go on from the same state, and do not see each other."""
    model, _ = case(any_length, 11)
    x = np.random.default_rng(12).normal(size=(1, 8, I)).astype(np.float32)
    stream = model.stream()
    stream.run(x[:, :5])
    rest = [model.predict(x[:, : t + 1]) for t in range(5, 8)]
    assert from_child(lambda: bits([stream.step(x[:, t]) for t in range(5, 8)])) == bits(rest)
    assert bits([stream.step(x[:, t]) for t in range(5, 8)]) == bits(rest)


WORKERS = """
import multiprocessing, pickle, sys
import numpy as np

def predicted(job):
    model, x = job
    return model.predict(x).tobytes()

if __name__ == "__main__":
    with open(sys.argv[2], "rb") as file:
        model, batches, expected = pickle.load(file)
    model.predict(batches[0])
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        found = pool.map_async(predicted, [(model, x) for x in batches]).get(120)
    assert found == expected, "other bits in a worker"
    print("same")
"""


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]
)
def test_a_pool_of_processes(method: str, tmp_path: Any) -> None:
    """The model goes to each worker by pickle, however the worker was started."""
    model, _ = case(deep, 12)
    rng = np.random.default_rng(13)
    batches = [rng.normal(size=(4, 6, 16)).astype(np.float32) for _ in range(6)]
    (tmp_path / "workers.py").write_text(WORKERS)
    (tmp_path / "jobs").write_bytes(pickle.dumps((model, batches, [model.predict(x).tobytes() for x in batches])))
    command = [sys.executable, "-W", "ignore", str(tmp_path / "workers.py"), method, str(tmp_path / "jobs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stdout == "same\n", done.stderr
