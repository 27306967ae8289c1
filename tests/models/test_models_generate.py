"""What generate makes is what predict says, token by token; a wide beam finds the best of all; rows are alone."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generators import (
    CLOSED_LIST,
    GENERATORS,
    E,
    V,
    embedded,
    language,
    log_probabilities,
    luong,
    one_hot,
    sequences,
    stacked,
    static_of,
)
from topologies import Names, random_weights

import everystep
from everystep.models import Stream, stream_again
from everystep.models.generation import beam, spares
from everystep.models.generation.decoder import Decoder
from everystep.models.generation.spares import Spares

B, START, END = 5, 1, 2
CLOSE = 1e-9  # sums of a few logarithms of float64 numbers of models with sums of some ten products
WAYS: dict[str, dict[str, Any]] = {
    "greedy": dict(method="greedy"),
    "beam": dict(method="beam", beam_width=3, length_penalty=0.6),
    "wide": dict(method="beam", beam_width=20),
}


def made(topology: Any, dtype: str = "float64", seed: int = 3) -> Any:
    """Of large weights, so that what comes next depends on what was before."""
    model = topology(Names(everystep, dtype))
    random_weights(model, np.random.default_rng(seed))
    model.set_weights([3 * weight for weight in model.get_weights()])
    return model


def of_row(static: Any, row: int) -> Any:
    return None if static is None else static[row : row + 1]


def rows_of(static: Any) -> Any:
    """A start for B rows."""
    return START if static is not None else [[START]] * B


def repeated(static: Any, row: int, count: int) -> Any:
    return None if static is None else np.repeat(static[row : row + 1], count, 0)


@pytest.fixture(params=GENERATORS, ids=lambda topology: topology.__name__)
def model(request: Any) -> Any:
    return made(request.param)


def test_greedy_is_the_largest_of_predict(model: Any) -> None:
    static, length = static_of(model, B), 7
    tokens, scores = model.generate(static, rows_of(static), max_length=length, return_scores=True)
    assert (tokens.shape, tokens.dtype, scores.dtype) == ((B, length), np.int64, np.float64)
    read = np.full((B, 1), START)
    total = np.zeros(B)
    for _ in range(length):
        each = np.stack(
            [log_probabilities(model, static, np.c_[read, np.full(B, token)])[:, -1] for token in range(V)], axis=1
        )
        read = np.c_[read, each.argmax(axis=1)]
        total += each.max(axis=1)
    np.testing.assert_array_equal(tokens, read[:, 1:])
    np.testing.assert_allclose(scores, total, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0, -1.0])
@pytest.mark.parametrize("end", [None, END])
def test_a_wide_beam_finds_the_best_of_all(model: Any, end: int | None, penalty: float) -> None:
    static, length = static_of(model, 2), 3
    tokens, scores = model.generate(
        static, START if static is not None else [[START], [3]], end, max_length=length, method="beam",
        beam_width=V**length, length_penalty=penalty, return_scores=True,
    )  # fmt: skip
    for row in range(2):
        best, its_score = (), -np.inf
        by_length: dict[int, list[tuple[int, ...]]] = {}
        for some in sequences(end, length):
            by_length.setdefault(len(some), []).append(some)
        for n, all_of_them in by_length.items():
            first = START if static is not None or not row else 3
            read = np.array([(first, *some) for some in all_of_them])
            found = log_probabilities(model, repeated(static, row, len(read)), read).sum(axis=1) / n**penalty
            if found.max() > its_score:
                best, its_score = all_of_them[int(found.argmax())], found.max()
        assert tuple(tokens[row, : len(best)].tolist()) == best
        assert set(tokens[row, len(best) :].tolist()) <= {end}
        assert abs(scores[row] - its_score) < CLOSE


@pytest.mark.parametrize("end", [None, END])
def test_a_beam_of_one_is_greedy(model: Any, end: int | None) -> None:
    static = static_of(model, B)
    given: dict[str, Any] = dict(static=static, start=rows_of(static), end=end, max_length=20, return_scores=True)
    tokens, scores = model.generate(**given)
    for penalty in (0.0, 1.5):
        its_tokens, its_scores = model.generate(**given, method="beam", beam_width=1, length_penalty=penalty)
        np.testing.assert_array_equal(its_tokens, tokens)
        n = lengths_of(tokens, end)
        np.testing.assert_array_equal(its_scores, scores / n**penalty)


def test_a_wider_beam_finds_no_worse_and_its_score_is_true(model: Any) -> None:
    static = static_of(model, B)
    given: dict[str, Any] = dict(static=static, start=rows_of(static), end=END, max_length=6, return_scores=True)
    tokens, scores = model.generate(**given, method="beam", beam_width=3, length_penalty=0.5)
    best = model.generate(**given, method="beam", beam_width=V**6, length_penalty=0.5)[1]
    assert (scores <= best + CLOSE).all()
    found = log_probabilities(model, static, np.c_[np.full(B, START), tokens])
    n = lengths_of(tokens, END)
    total = np.where(np.arange(tokens.shape[1]) < n[:, None], found, 0).sum(axis=1) / n**0.5
    np.testing.assert_allclose(scores, total, rtol=0, atol=CLOSE)


def lengths_of(tokens: np.ndarray, end: int | None) -> np.ndarray:
    """How many tokens each row has, `end` among them."""
    ended = tokens == (-1 if end is None else end)
    return np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, tokens.shape[1])


# ---- Batches ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("topology", CLOSED_LIST, ids=lambda topology: topology.__name__)
def test_a_batch_is_its_rows_one_by_one_to_the_bit(topology: Any, way: str, dtype: str) -> None:
    rows, rng = 17, np.random.default_rng(1)
    prompts = [rng.integers(0, V, n) for n in rng.integers(1, 5, rows)]
    how: dict[str, Any] = dict(end=END, max_length=25, return_scores=True, **WAYS[way])
    all_lengths = set()
    for seed in range(4, 10):
        model = made(topology, dtype, seed)
        static, lengths = static_of(model, rows), set()
        tokens, scores = model.generate(static, prompts, **how)
        for row in range(rows):
            alone, its_score = model.generate(of_row(static, row), [prompts[row]], **how)
            np.testing.assert_array_equal(alone[0], tokens[row, : alone.shape[1]])
            assert (tokens[row, alone.shape[1] :] == END).all()
            assert its_score[0] == scores[row]
            lengths.add(alone.shape[1])
        assert tokens.shape[1] == max(lengths)
        all_lengths |= lengths
    assert len(all_lengths) > 2  # rows do end at different times


def test_rows_that_ended_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as half of the rows that are stepped have ended, only the others go on."""
    sizes, step, most = list[int](), Decoder.step, 0

    def noted(decoder: Decoder, tokens: np.ndarray) -> None:
        sizes.append(decoder.rows)
        step(decoder, tokens)

    monkeypatch.setattr(Decoder, "step", noted)
    for seed in range(8):
        model, rows = made(stacked, seed=seed), 16
        static = static_of(model, rows)
        free = model.generate(static, START, max_length=12)
        sizes.clear()
        tokens = model.generate(static, START, END, max_length=12)
        n = lengths_of(free, END)
        expected, size = [rows], rows
        for t in range(1, int(n.max())):
            going = int((n > t).sum())
            size = going if 2 * going <= size else size
            expected.append(size)
        assert sizes == expected
        most = max(most, len(set(sizes)))
        for row in range(rows):
            np.testing.assert_array_equal(tokens[row, : n[row]], free[row, : n[row]])
            assert (tokens[row, n[row] :] == END).all()
    assert most > 2


@pytest.mark.parametrize("way", ["greedy", "sample"])
def test_a_lower_max_length_gives_the_beginning(way: str) -> None:
    """Also where most rows end with the last token that is made."""
    rows, few_go_on = 16, False
    for seed in range(8):
        model = made(stacked, seed=seed)
        given: dict[str, Any] = dict(static=static_of(model, rows), start=START, end=END, method=way)
        given |= dict(seed=5) if way == "sample" else {}
        tokens = model.generate(**given, max_length=12)
        for length in range(1, tokens.shape[1] + 1):
            np.testing.assert_array_equal(model.generate(**given, max_length=length), tokens[:, :length])
            going = (tokens[:, :length] != END).all(axis=1)
            few_go_on |= bool((lengths_of(tokens, END) == length).any() and 0 < going.mean() <= 0.5)
    assert few_go_on


def test_the_largest_numbers_come_in_order_the_first_of_equals_first() -> None:
    rng = np.random.default_rng(2)
    for m, count in ((3, 5), (40, 4), (40, beam.FEW), (40, beam.FEW + 1), (5, beam.FEW + 1)):
        x = rng.integers(0, 6, (7, m)).astype(float)
        places, numbers = beam.largest(x.copy(), count)
        found = min(m, count)
        expected = np.argsort(-x, axis=1, kind="stable")[:, :found]
        np.testing.assert_array_equal(places[:, :found], expected)
        np.testing.assert_array_equal(numbers[:, :found], np.take_along_axis(x, expected, 1))
        assert (numbers[:, found:] == -np.inf).all()


# ---- What goes in ----


@pytest.mark.parametrize("topology", [embedded, one_hot], ids=lambda topology: topology.__name__)
def test_prompts_are_read_as_if_stepped(topology: Any) -> None:
    model, rng = made(topology), np.random.default_rng(5)
    static, prompts = static_of(model, B), [rng.integers(0, V, n).tolist() for n in (3, 1, 3, 2, 1)]
    tokens = model.generate(static, prompts, max_length=6)
    for row, prompt in enumerate(prompts):
        read = np.array([prompt])
        for token in tokens[row]:
            each = [log_probabilities(model, of_row(static, row), np.c_[read, [v]])[0, -1] for v in range(V)]
            assert int(np.argmax(each)) == token
            read = np.c_[read, [token]]
    same_length = np.array([[3, 1], [0, 2]])
    a = model.generate(static[:2], same_length, max_length=6)
    np.testing.assert_array_equal(a, model.generate(static[:2], same_length.tolist(), max_length=6))
    np.testing.assert_array_equal(a, model.generate(static[:2], list(same_length.astype("uint8")), max_length=6))


def test_prompts_of_one_length_are_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = made(language), []
    run = Decoder.read
    monkeypatch.setattr(Decoder, "read", lambda self, tokens: (read.append(tokens.shape), run(self, tokens))[1])
    monkeypatch.setattr(Decoder, "step", lambda self, tokens: pytest.fail("a prompt is stepped"))
    model.generate(start=[[1, 2, 3], [1, 2], [3, 2, 1]], max_length=1)
    assert read == [(1, 2), (2, 3)]


def test_start_is_one_token_for_all_rows() -> None:
    model = made(embedded)
    static = static_of(model, B)
    expected = model.generate(static, [[START]] * B, max_length=5)
    for start in (START, np.int32(START), np.array(START)):
        np.testing.assert_array_equal(model.generate(static, start, max_length=5), expected)
    language_model = made(language)
    alone = language_model.generate(start=START, max_length=5)
    np.testing.assert_array_equal(alone, language_model.generate(start=[[START]], max_length=5))


def test_static_inputs_in_any_form() -> None:
    model = made(luong)
    static = static_of(model, B)
    expected = model.generate(static, START, max_length=5)
    for given in ({"source": static}, [static], (static,), {"source": static.astype("uint8")}):
        np.testing.assert_array_equal(model.generate(given, START, max_length=5), expected)
    np.testing.assert_array_equal(model.generate(static, START, max_length=5, feed={"target": "dense"}), expected)


@pytest.mark.parametrize("topology", [embedded, luong, stacked], ids=lambda topology: topology.__name__)
def test_static_sequences_of_different_lengths(topology: Any) -> None:
    model, rng = made(topology), np.random.default_rng(9)
    lengths = [3, 1, 4, 2]
    rows: list[Any] = [rng.integers(1, V, n) if topology is not stacked else rng.normal(size=(n, E)) for n in lengths]
    how: dict[str, Any] = dict(start=START, end=END, max_length=8)
    tokens = model.generate(rows, **how)
    np.testing.assert_array_equal(tokens, model.generate({"source": rows}, **how))
    for row, sequence in enumerate(rows):
        alone = model.generate(sequence[None], **how)
        np.testing.assert_array_equal(alone[0], tokens[row, : alone.shape[1]])


def test_no_rows_give_no_rows() -> None:
    model = made(embedded)
    tokens, scores = model.generate(np.zeros((0, 3), int), START, max_length=5, return_scores=True)
    assert (tokens.shape, scores.shape) == ((0, 0), (0,))
    assert made(language).generate(start=[], max_length=5, method="beam").shape == (0, 0)


def test_each_call_begins_anew() -> None:
    """Streams are kept for the next call, of other static inputs, lengths, rows and weights."""
    for topology in (embedded, luong):
        model = made(topology)
        short, long = static_of(model, 2, 1), static_of(model, 2, 2)
        long = np.c_[long, long]
        given = [short, long, long[:1], short, np.r_[short, short], long[::-1].copy()]
        how: dict[str, Any] = dict(start=START, end=END, max_length=9, return_scores=True)
        for change in (1.0, -0.5):
            model.set_weights([change * weight for weight in model.get_weights()])
            for static in given:
                for way in WAYS.values():
                    fresh = made(topology)
                    fresh.set_weights(model.get_weights())
                    for a, b in zip(
                        model.generate(static, **how, **way), fresh.generate(static, **how, **way), strict=True
                    ):
                        np.testing.assert_array_equal(a, b)


def test_what_is_held_before_the_first_step_is_of_this_calls_static_inputs() -> None:
    """After pooling there is no step of the first token alone: what comes then is the decoder's start."""
    k = Names(everystep)
    source, ids = k.Input((4,), name="source"), k.Input((None,), dtype="int32", name="ids")
    pooled = k.MaxPooling1D(2)(k.Embedding(V, 4)(ids))[:, :, :2]
    model = k.Model([source, ids], k.Dense(V)(k.GRU(4)(pooled, initial_state=source)))
    for seed in range(3):
        static = np.random.default_rng(seed).normal(size=(B, 4))
        found = model.generate(static, START, max_length=1, return_scores=True)
        anew = copy.deepcopy(model).generate(static, START, max_length=1, return_scores=True)
        for a, b in zip(found, anew, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("topology", [stacked, luong], ids=lambda topology: topology.__name__)
def test_the_static_inputs_are_read_once(topology: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are of other lengths than in the call before."""
    model, runs = made(topology), list[int]()
    encoder = next(layer for layer in model.layers if layer.name.startswith("encoder"))
    run = encoder.run
    computed, static_part = stream_again._computed, stream_again._static_part
    monkeypatch.setattr(encoder, "run", lambda *args, **options: (runs.append(1), run(*args, **options))[1])
    monkeypatch.setattr(stream_again, "_static_part", lambda *args: (runs.append(1), static_part(*args))[1])
    monkeypatch.setattr(stream_again, "_computed", lambda *args: computed(*args) and (runs.append(1) or True))
    static = static_of(model, B)
    model.generate(static, START, max_length=1)  # which tries, besides, which input can be fed
    for given in (static, static, static[:, :3], np.concatenate([static, static], axis=1)):
        runs.clear()
        model.generate(given, START, END, max_length=6, method="beam")
        assert len(runs) == 1  # by the layer's run, or as a bound call


def test_the_stream_of_all_rows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows leave again and again, and more streams were used than are kept."""
    rows, opened, used = 64, list[int](), list[int]()
    init, noted = Stream.__init__, Spares._noted
    monkeypatch.setattr(Stream, "__init__", lambda self, m, B, *args: (opened.append(B), init(self, m, B, *args))[1])
    monkeypatch.setattr(Spares, "_noted", lambda self, s: (used.append(s.batch_size), noted(self, s))[1])
    most = 0
    for seed in range(8):
        model = made(stacked, seed=seed)
        static = static_of(model, rows)
        for call in range(3):
            opened.clear()
            used.clear()
            model.generate(static, START, END, max_length=40, method="sample", seed=seed)
            assert (rows in opened) == (call == 0)
            assert len(model.graph.kept["spare streams"]) == min(spares.KEPT, len(used))
            most = max(most, len(used))
    assert most > spares.KEPT


def test_a_kept_stream_goes_to_one_thread() -> None:
    """Though another found it at the same time: here, between a look at it and taking it."""
    model = made(language)
    model.generate(start=START, max_length=1)
    mine, others = Spares(model, "ids"), Spares(model, "ids")
    ((name, stream),) = mine._kept
    taken = list[Any]()

    class Looked:
        @property
        def batch_size(self) -> int:
            if not taken:
                taken.append(None)
                taken[0] = others._taken(1)
            return stream.batch_size

    mine._kept[:] = [(name, Looked())]
    assert mine._taken(1) is None
    assert isinstance(taken[0], Looked)
    assert mine._kept == []


def test_models_that_generate_are_copied_pickled_and_saved(tmp_path: Path) -> None:
    """Without the streams that they keep."""
    model = made(embedded)
    static = static_of(model, B)
    size = len(pickle.dumps(model))
    tokens = model.generate(static, START, max_length=4)
    assert len(pickle.dumps(model)) == size
    model.save(tmp_path / "model.keras")
    for other in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        everystep.load_model(tmp_path / "model.keras"),
    ):
        np.testing.assert_array_equal(other.generate(static, START, max_length=4), tokens)


def test_a_call_that_is_broken_off_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(embedded)
    static = static_of(model, B)
    expected = [model.generate(static, START, END, max_length=9, **way) for way in WAYS.values()]
    step = Decoder.step
    for way, tokens in zip(WAYS.values(), expected, strict=True):
        for last in range(3):
            steps = iter(range(last))
            with monkeypatch.context() as patch:
                patch.setattr(Decoder, "step", lambda *args, left=steps: (next(left), step(*args)))
                with pytest.raises(StopIteration):
                    model.generate(static, START, END, max_length=9, **way)
            np.testing.assert_array_equal(model.generate(static, START, END, max_length=9, **way), tokens)


def test_threads_may_generate_at_once() -> None:
    model, rows = made(embedded), 40
    static = static_of(model, rows)
    expected = model.generate(static, START, END, max_length=30)
    found: dict[int, np.ndarray] = {}

    def some(row: int) -> None:
        for _ in range(5):
            found[row] = model.generate(static[row : row + 1], START, END, max_length=30)

    threads = [threading.Thread(target=some, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, tokens in found.items():
        np.testing.assert_array_equal(tokens[0], expected[row, : tokens.shape[1]])
    assert len(found) == 8


@pytest.mark.parametrize("count", [1, 4, 20])
def test_the_largest_are_the_same_whichever_way_they_are_found(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By sorting or one after the other; of equals the first."""
    x = np.random.default_rng(2).integers(0, 6, (3, 12)).astype(float)
    found = []
    for name, size in (("SMALL", 0), ("SMALL", 100), ("FEW", 100)):
        monkeypatch.setattr(beam, "SMALL", 0)
        monkeypatch.setattr(beam, name, size)
        found.append(beam.largest(x.copy(), count))
    for places, numbers in found:
        kept = min(count, 12)
        np.testing.assert_array_equal(places[:, :kept], np.argsort(-x, axis=1, kind="stable")[:, :kept])
        np.testing.assert_array_equal(numbers[:, :kept], -np.sort(-x, axis=1)[:, :kept])
        assert (numbers[:, kept:] == -np.inf).all()


@pytest.mark.parametrize("topology", [stacked, luong], ids=lambda topology: topology.__name__)
def test_static_inputs_of_several_lengths_in_turns(topology: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened or bound again for a length that came before; and all is as of a model that began."""
    model, opened = made(topology), list[int]()
    static = static_of(model, B)
    given = [static, static[:, :3], static[:, :2]]
    for _ in range(2):
        for some in given:
            found = model.generate(some, START, max_length=5)
            np.testing.assert_array_equal(found, copy.deepcopy(model).generate(some, START, max_length=5))
    init, program = Stream.__init__, stream_again.Program
    monkeypatch.setattr(Stream, "__init__", lambda self, *args: (opened.append(1), init(self, *args))[1])
    monkeypatch.setattr(stream_again, "Program", lambda *args: (opened.append(1), program(*args))[1])
    for some in given:
        model.generate(some, START, max_length=5)
    assert not opened
    model.generate(static[:, :1], START, max_length=5)
    assert opened
