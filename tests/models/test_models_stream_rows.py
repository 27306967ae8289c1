"""Rows of a stream taken by themselves: forks of some rows, rows reordered, and streams used again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streams import STREAMED, B, Case, same
from topologies import Names, T, encoder_decoder, one_lstm

import everystep
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import LSTM
from everystep.layers.structure import map_leaves
from everystep.models import Stream
from everystep.models.stream_again import begin_again, go_on_from

SOME = [2, 0, 0, 1]


@pytest.fixture(params=STREAMED, ids=lambda topology: topology.__name__)
def case(request: Any) -> Case:
    return Case(request.param)


def of_rows(outputs: Any, rows: Any) -> Any:
    return map_leaves(lambda array: array[rows], outputs)


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [(SOME, SOME), ([1], [1]), (np.array([False, True, True]), [1, 2])],
    ids=["many", "one", "flags"],
)
def test_a_fork_of_rows_goes_on_from_them(case: Case, rows: Any, numbers: list[int]) -> None:
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    fork = stream.fork(rows)
    assert [fork.batch_size, fork.steps, stream.batch_size] == [len(numbers), 2, B]
    for t in range(2, T):
        whole = stream.step(case.part(np.s_[:, t]))
        same(fork.step(case.part(np.s_[numbers, t])), of_rows(whole, numbers))
    again = fork.fork([len(numbers) - 1])
    same(list(again.state.values()), [array[numbers[-1:]] for array in stream.state.values()])
    fork.reset()
    same(fork.run(case.part(np.s_[numbers])), of_rows(case.expected(T, newest=False), numbers))


@pytest.mark.parametrize("rows", [[2, 2, 0], [0, 1, 2], [1, 2, 0], [0, 0, 0]], ids=str)
def test_rows_change_places(case: Case, rows: list[int]) -> None:
    stream, other = case.open(), case.open()
    for one in (stream, other):
        one.run(case.part(np.s_[:, :2]))
    stream.reorder(rows)
    assert stream.steps == 2
    for t in range(2, T):
        whole = other.step(case.part(np.s_[:, t]))
        same(stream.step(case.part(np.s_[rows, t])), of_rows(whole, rows))
    stream.reset([1])
    as_new = case.open().step(case.part(np.s_[:, 0]))
    found = stream.step(case.part(np.s_[rows, 0]))
    same(of_rows(found, [1]), of_rows(as_new, rows[1:2]))


def test_a_fork_of_rows_is_the_stream_of_their_static_inputs() -> None:
    case = Case(encoder_decoder)
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    fork = stream.fork(SOME)
    static = {name: array[SOME] for name, array in case.static.items()}
    back = Stream.from_bytes(case.model, fork.to_bytes(), static)
    same(back.step(case.part(np.s_[SOME, 2])), fork.step(case.part(np.s_[SOME, 2])))
    with pytest.raises(OptionError, match="of another model"):
        Stream.from_bytes(case.model, fork.to_bytes(), {name: array[[0, 0, 0, 1]] for name, array in static.items()})


def test_what_is_constant_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(encoder_decoder)
    stream = case.open()
    encoder = next(layer for layer in case.model.layers if isinstance(layer, LSTM))
    monkeypatch.setattr(encoder, "run", lambda *args, **options: pytest.fail("the encoder runs again"))
    with pytest.raises(pytest.fail.Exception, match="the encoder runs again"):
        case.open()
    stream.fork(SOME).fork([0, 3])
    stream.reorder([1, 1, 0])


@pytest.mark.parametrize("way", ["fork", "reorder"])
@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([3, 0, 0], OptionError, r"rows are numbered from 0 to 2; got \[3, 0, 0\]"),
        ([-1, 0, 0], OptionError, "rows are numbered from 0 to 2"),
        ([0.5, 1, 2], DtypeError, r"rows must be \(B,\) bool, or a list of row numbers; got \[0.5, 1, 2\]"),
        (np.array([True]), ShapeError, r"rows must be \(B,\) bool, here \(3,\)"),
        (1, DtypeError, "a list of row numbers; got 1"),
    ],
)
def test_other_rows_are_refused(way: str, rows: Any, error: Any, message: str) -> None:
    stream = Case(encoder_decoder).open()
    with pytest.raises(error, match=message):
        getattr(stream, way)(rows)


def test_rows_that_make_no_stream_are_refused() -> None:
    case = Case(encoder_decoder)
    stream = case.open()
    for none in ([], np.zeros(B, bool)):
        with pytest.raises(OptionError, match="one row or more; fork was given none"):
            stream.fork(none)
    for rows in ([0, 1], np.ones(B, bool)):
        with pytest.raises(ShapeError, match="reorder takes a row number for each of the 3 rows; got"):
            stream.reorder(rows)
    case.model.set_weights([2 * weight for weight in case.model.get_weights()])
    with pytest.raises(UnsupportedError, match="other weights"):
        stream.fork([0])


# ---- Streams that are used again ----


def test_a_stream_begins_again_on_other_static_inputs(case: Case) -> None:
    used = case.open()
    used.run(case.part(np.s_[:, :3]))
    static = {name: array[::-1].copy() for name, array in case.static.items()}
    stream, fresh = begin_again(used, static), case.model.stream(B, static)
    assert stream is used
    assert stream.steps == 0
    assert stream.fingerprint == fresh.fingerprint
    for t in range(T):
        same(stream.step(case.part(np.s_[:, -t])), fresh.step(case.part(np.s_[:, -t])))
    for one in (stream, fresh):
        one.reset([0, 2])
    same(stream.step(case.part(np.s_[:, 0])), fresh.step(case.part(np.s_[:, 0])))


def test_a_stream_goes_on_from_anothers_rows(case: Case) -> None:
    stream = case.open()
    stream.run(case.part(np.s_[:, :2]))
    used = stream.fork([0] * len(SOME))
    used.step(case.part(np.s_[[0] * len(SOME), 2]))
    assert go_on_from(used, stream, np.array(SOME))
    fork = stream.fork(SOME)
    assert [used.steps, used.fingerprint] == [2, fork.fingerprint]
    for t in range(2, T):
        same(used.step(case.part(np.s_[SOME, t])), fork.step(case.part(np.s_[SOME, t])))
    used.reorder([1, 0, 3, 2])
    fork.reorder([1, 0, 3, 2])
    same(used.step(case.part(np.s_[SOME, 0])), fork.step(case.part(np.s_[SOME, 0])))


def test_static_inputs_of_other_lengths() -> None:
    """Where only their last states are read, the stream is used again, else it is opened anew; all of it to the bit."""
    case = Case(encoder_decoder)
    used = case.open()
    longer = {"ids": np.concatenate([case.x["ids"], case.x["ids"][:, :2]], axis=1)}
    assert begin_again(used, longer) is used
    same(used.step(case.part(np.s_[:, 0])), case.model.stream(B, longer).step(case.part(np.s_[:, 0])))
    k = Names(everystep)
    ids, x = k.Input((None,), dtype="int32", name="ids"), k.Input((None, 4), name="x")
    over = k.Attention()([x, k.Embedding(5, 4)(ids)])
    model = k.Model([ids, x], over)
    short, long = (np.arange(n)[None] % 5 for n in (3, 4))
    used = model.stream(1, {"ids": short})
    again = begin_again(used, {"ids": long})
    assert again is not used
    x_t = np.ones((1, 4))
    same(again.step(x_t), model.stream(1, {"ids": long}).step(x_t))
    assert not go_on_from(again, used, np.array([0]))
    same(again.step(x_t), model.stream(1, {"ids": long}).step(x_t))


def test_streams_of_other_weights_are_not_used_again() -> None:
    case = Case(one_lstm)
    used, other = case.open(), case.open()
    case.model.set_weights([2 * weight for weight in case.model.get_weights()])
    with pytest.raises(UnsupportedError, match="other weights"):
        begin_again(used, {})
    with pytest.raises(UnsupportedError, match="other weights"):
        go_on_from(used, other, np.arange(B))
