"""A stream's step is predict on the prefix, to the bit; however it is cut, forked, reset, stored and set."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from streams import STREAMED, B, Case, copied, everything, same, stacks
from topologies import T, nested, states

from everystep import Input, Model
from everystep.errors import UnsupportedError
from everystep.layers import GRU, LSTM, RNN, Dense, LSTMCell, SimpleRNNCell
from everystep.layers.structure import flatten, pack
from everystep.models import Stream


@pytest.fixture(params=STREAMED, ids=lambda topology: topology.__name__)
def case(request: Any) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("topology", STREAMED)
def test_each_step_is_predict_on_the_prefix(topology: Any, dtype: str) -> None:
    case = Case(topology, dtype)
    stream = case.open()
    for t in range(T):
        found = stream.step(case.part(np.s_[:, t]))
        same(found, case.expected(t + 1))
        assert stream.steps == t + 1
    whole = case.model.predict({**case.x})
    assert [type(found), len(flatten(found))] == [type(whole), len(flatten(whole))]
    if isinstance(whole, dict):
        assert found.keys() == whole.keys()


def test_out_takes_the_outputs(case: Case) -> None:
    stream, other = case.open(), case.open()
    first = stream.step(case.part(np.s_[:, 0]))
    other.step(case.part(np.s_[:, 0]))
    kept, out = copied(first), pack(first, [np.full_like(array, 9) for array in flatten(first)])
    for t in range(1, T):
        found = stream.step(case.part(np.s_[:, t]), out=out)
        assert found is out
        same(out, other.step(case.part(np.s_[:, t])))
    same(first, kept)  # what was returned stays as it was


def test_any_cut_gives_the_same(case: Case) -> None:
    whole = case.expected(T, newest=False)
    newest = case.expected(T)
    timed = [a.ndim != b.ndim for a, b in zip(whole, newest, strict=True)]
    for cuts in ([0, T], [0, 1, T], [0, 2, 3, T]):
        stream, parts = case.open(), []
        for start, stop in itertools.pairwise(cuts):
            parts.append(flatten(stream.run(case.part(np.s_[:, start:stop]))))
            assert stream.steps == stop
        joined = [
            np.concatenate(v, axis=1) if its else v[-1] for v, its in zip(zip(*parts, strict=True), timed, strict=True)
        ]
        same(joined, whole)
    stepped = case.open()
    for t in range(T):
        stepped.step(case.part(np.s_[:, t]))
    same(list(stepped.state.values()), list(stream.state.values()))
    mixed = case.open()
    mixed.run(case.part(np.s_[:, : T - 1]))
    same(mixed.step(case.part(np.s_[:, T - 1])), newest)


def test_a_fork_goes_its_own_way(case: Case) -> None:
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    fork = stream.fork()
    assert fork.steps == 2
    fork.step(case.part(np.s_[:, 0]))
    same(stream.step(case.part(np.s_[:, 2])), case.expected(3))
    other = stream.fork()
    same(stream.step(case.part(np.s_[:, 3])), case.expected(4))
    same(other.step(case.part(np.s_[:, 3])), case.expected(4))


@pytest.mark.parametrize(
    ("rows", "new"),
    [(None, [True] * 3), ([0, 2], [True, False, True]), ([], [False] * 3), (np.array([False, True, True]),) * 2],
    ids=["all", "numbers", "none", "flags"],
)
def test_rows_that_are_reset_are_as_new(case: Case, rows: Any, new: Any) -> None:
    stream, fresh = case.open(), case.open()
    stream.run(case.part(np.s_[:, :2]))
    old = stream.fork()
    stream.reset(rows)
    assert stream.steps == (0 if rows is None else 2)
    for t in range(2, T):
        x_t = case.part(np.s_[:, t])
        found, as_new, as_before = (flatten(one.step(x_t)) for one in (stream, fresh, old))
        for a, b, c in zip(found, as_new, as_before, strict=True):
            np.testing.assert_array_equal(a, np.where(np.reshape(new, (-1, *[1] * (a.ndim - 1))), b, c))


def test_the_state_goes_round_by_name_and_as_bytes(case: Case) -> None:
    stream = case.open()
    stream.run(case.part(np.s_[:, :3]))
    state, blob = stream.state, stream.to_bytes()
    by_name = case.open()
    by_name.state = state
    for name, array in state.items():
        assert array.shape[0] == B
        array[:] = 7  # a copy
        assert not np.array_equal(stream.state[name], array)
    others = [by_name, Stream.from_bytes(case.model, blob, case.static), copy.deepcopy(stream)]
    others.append(pickle.loads(pickle.dumps(stream)))
    assert [other.steps for other in others] == [0, 3, 3, 3]
    assert others[1].to_bytes() == blob
    expected = case.expected(4)
    for other in [*others, stream]:
        same(other.step(case.part(np.s_[:, 3])), expected)


def test_states_have_names() -> None:
    x = Input((None, 2))
    shared = GRU(2, return_sequences=True, name="shared")
    p = Input((None, 2))
    inner = Model(p, LSTM(2, return_sequences=True, name="lstm")(p), name="inner")
    y = RNN([SimpleRNNCell(2, name="one"), LSTMCell(3, name="two")], name="rnn")(inner(shared(shared(x))))
    state = Model(x, y).stream(2).state
    names = ["shared/h", "shared:2/h", "inner/lstm/h", "inner/lstm/c", "rnn/one/h", "rnn/two/h", "rnn/two/c"]
    assert {name: array.shape for name, array in state.items()} == {
        name: (2, 3 if "two" in name else 2) for name in names
    }
    assert list(state) == names


def test_a_fixed_length_does_not_limit_a_stream() -> None:
    x = Input((3, 2))
    model = Model(x, Dense(1)(LSTM(4)(x)))
    values = np.random.default_rng(3).normal(size=(1, 20, 2)).astype("float32")
    stream = model.stream()
    found = [stream.step(values[:, t]) for t in range(20)]
    free = Input((None, 2))
    whole = Model(free, model.layers[-1](model.layers[1](free)))
    for t, y in enumerate(found):
        np.testing.assert_array_equal(y, whole.predict(values[:, : t + 1]))


def test_streams_of_one_model_in_threads() -> None:
    case = Case(everything)
    expected, failed = case.expected(T), []

    def go() -> None:
        for _ in range(5):
            stream = case.open()
            for t in range(T):
                found = stream.step(case.part(np.s_[:, t]))
            if not all(np.array_equal(a, b) for a, b in zip(flatten(found), expected, strict=True)):
                failed.append(found)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_other_weights_end_a_stream() -> None:
    case = Case(stacks)
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    blob, state = stream.to_bytes(), stream.state
    case.model.set_weights([weight + 1 for weight in case.model.get_weights()])
    for go_on in (
        lambda: stream.step(case.part(np.s_[:, 2])),
        lambda: stream.run(case.part(np.s_[:, 2:])),
        stream.fork,
        stream.to_bytes,
    ):
        with pytest.raises(
            UnsupportedError, match=r"layer 'lstm_cell.*' was given other weights after this stream was"
        ):
            go_on()
    del blob
    new = case.open()
    new.state = state
    new.step(case.part(np.s_[:, 2]))


@pytest.mark.parametrize("topology", [states, nested])
def test_one_row_alone_has_the_bits_of_the_batch(topology: Any) -> None:
    case = Case(topology)
    together, alone = case.open(), case.open(rows=1)
    for t in range(T):
        found, one = together.step(case.part(np.s_[:, t])), alone.step(case.part(np.s_[:1, t]))
        same(one, [array[:1] for array in flatten(found)])
