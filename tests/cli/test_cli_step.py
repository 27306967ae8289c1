"""`everystep step` answers each line at once with what the model returns on all lines so far, to the bit."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_cases import I, last, ran, refused, rows, saved, sequences, states, two_inputs

from everystep import Input, Model
from everystep.layers import LSTM

rng = np.random.default_rng(13)


def numbers(x: Any) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in x)


@contextmanager
def filter_of(*arguments: Any) -> Iterator[Any]:
    """The command as a process of its own, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "everystep", "step", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def ask(process: Any, line: str) -> str:
    """The answer to one line, waited for before another is written."""
    process.stdin.write(line)
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], 20)
    assert ready, "no answer comes"
    answer = process.stdout.readline()
    assert isinstance(answer, str)
    return answer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_answered_by_numbers(dtype: str, tmp_path: Path) -> None:
    path, model = saved(last(dtype), tmp_path)
    x = rng.normal(size=(20, I)).astype(dtype)
    for text in (numbers(x), numbers(x).replace(" ", ","), numbers(x).replace(" ", " , ").replace("\n", "\r\n")):
        lines = ran("step", path, input=text).splitlines()
        found = np.array([line.split() for line in lines]).astype(dtype)
        for t in range(20):
            np.testing.assert_array_equal(found[t], model.predict(x[None, : t + 1])[0])


def test_json_is_answered_by_json(tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(10, I)).astype(np.float32)
    text = "".join(json.dumps(row) + "\n" for row in x.tolist())
    by_name = "".join(json.dumps({"weather": row}) + "\n" for row in x.tolist())
    expected = model.predict(x[None])[0]
    for some in (text, by_name):
        answers = [json.loads(line) for line in ran("step", path, input=some).splitlines()]
        np.testing.assert_array_equal(np.array(answers, np.float32), expected)


def test_several_outputs_by_name(tmp_path: Path) -> None:
    path, model = saved(states(), tmp_path)
    x = rng.normal(size=(4, I)).astype(np.float32)
    for t, line in enumerate(ran("step", path, input=numbers(x)).splitlines()):
        answer = json.loads(line)
        assert list(answer) == ["forecast", "lstm.0", "lstm.1"]
        h, last_h, c = model.predict(x[None, : t + 1])
        np.testing.assert_array_equal(np.array(answer["forecast"], np.float32), h[0, -1])
        np.testing.assert_array_equal(np.array(answer["lstm.0"], np.float32), last_h[0])
        np.testing.assert_array_equal(np.array(answer["lstm.1"], np.float32), c[0])


def test_several_inputs_and_rows(tmp_path: Path) -> None:
    path, model = saved(two_inputs(), tmp_path)
    x, day = rng.normal(size=(3, 6, I)).astype(np.float32), rng.integers(0, 7, (3, 6))
    expected = model.predict([x, day])
    lines = [{"day": day[:, t].tolist(), "weather": x[:, t].tolist()} for t in range(6)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    answers = [json.loads(line) for line in ran("step", path, "--batch-size", 3, input=text).splitlines()]
    np.testing.assert_array_equal(np.array(answers, np.float32), expected.swapaxes(0, 1))
    one = "".join(json.dumps({"day": int(day[0, t]), "weather": x[0, t].tolist()}) + "\n" for t in range(6))
    answers = [json.loads(line) for line in ran("step", path, input=one).splitlines()]
    np.testing.assert_array_equal(np.array(answers, np.float32), expected[0])


def test_static_inputs(tmp_path: Path) -> None:
    x, h0, c0 = Input((None, I), name="weather"), Input((4,), name="h0"), Input((4,), name="c0")
    path, model = saved(Model([x, h0, c0], LSTM(4)(x, initial_state=[h0, c0])), tmp_path)
    x, h0, c0 = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 5, I), (1, 4), (1, 4)))
    np.save(tmp_path / "h0.npy", h0)
    np.save(tmp_path / "c0.npy", c0)
    static = ("--static", f"h0={tmp_path / 'h0.npy'}", "--static", f"c0={tmp_path / 'c0.npy'}")
    line = ran("step", path, *static, input=numbers(x[0])).splitlines()[-1]
    np.testing.assert_array_equal(np.array(line.split(), np.float32), model.predict([x, h0, c0])[0])


def test_the_state_is_kept_and_gone_on_from(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    x = rng.normal(size=(9, I)).astype(np.float32)
    whole = ran("step", path, input=numbers(x))
    state = ("--state", tmp_path / "state")
    parts = [ran("step", path, *state, input=numbers(part)) for part in (x[:2], x[2:2], x[2:])]
    assert "".join(parts) == whole
    assert parts[1] == ""
    assert "of 1 sequences side by side: pass --batch-size 1" in refused("step", path, *state, "--batch-size", 2)
    before = (tmp_path / "state").read_bytes()
    other, _ = saved(last(), tmp_path, "other.keras")
    assert "of another model" in refused("step", other, *state, input=numbers(x))
    (tmp_path / "state").write_bytes(before[:-9])
    assert "damaged" in refused("step", path, *state, input=numbers(x))
    assert (tmp_path / "state").read_bytes() == before[:-9]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 x", "got 'x'"),
        ("1 2", "of shape (any number of rows, 3); got (1, 2)"),
        ("1,,2", "got ''"),
        ("1 2 3_0", "got '3_0'"),
        ("", "it is empty"),
        ("[1, 2, 3", "Expecting"),
        ("[1, 2, [3]]", "inhomogeneous"),
        ('[1, 2, "3"]', "takes float32"),
        ("[1, 2, null]", "takes float32"),
        ("[[1, 2, 3]]", "of shape"),
        ("[1, 2, 1e39]", "float32 cannot hold"),
        (f"[1, 2, {10**400}]", "takes float32"),
        (f"[1, 2, {'9' * 5000}]", "limit"),
        ("[" * 100000, "recursion"),
        ('{"weather": [1, 2, 3], "weather": [1, 2, 3]}', "a name twice"),
        ('{"wind": [1, 2, 3]}', "the streamed inputs are 'weather'; the object has 'wind'"),
        ("{}", "the object has none"),
        ("1 2 \xff", "can't decode"),
        ("1 2 \0", "got '\\x00'"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_changes_nothing(line: str, message: str, tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    x = rng.normal(size=(3, I)).astype(np.float32)
    expected = ran("step", path, input=numbers(x))
    state = ("--state", tmp_path / "state")
    text = numbers(x[:2]).encode() + line.encode("latin-1") + b"\n" + numbers(x[2:]).encode()
    error = refused("step", path, *state, input=text)
    assert error.startswith("Error: line 3: ")
    assert message in error
    assert ran("step", path, *state, input=numbers(x[2:])) == expected.splitlines(keepends=True)[2]


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    assert "line 1 is longer than" in refused("step", path, input=b"1 " * (1 << 24))


def test_models_that_cannot_and_lines_for_several(tmp_path: Path) -> None:
    path, _ = saved(rows(), tmp_path)
    assert "layer 'price' cannot go one step at a time" in refused("step", path, input="1 2 3\n")
    path, _ = saved(two_inputs(), tmp_path)
    assert "line 1: 1 sequences of 2 inputs take a line of JSON" in refused("step", path, input="1 2 3\n")
    assert "by their names, 'weather', 'day'" in refused("step", path, input="[1, 2, 3]\n")
    assert "3 rows (batch_size); got 1" in refused(
        "step", path, "--batch-size", 3, input='{"weather": [[1, 2, 3]], "day": [1]}\n'
    )


def test_each_line_is_answered_before_the_next(tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(5, I)).astype(np.float32)
    with filter_of(path) as process:
        for t in range(5):
            answer = ask(process, numbers(x[t : t + 1]))
            np.testing.assert_array_equal(np.array(answer.split(), np.float32), model.predict(x[None])[0, t])
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_state(number: int, tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(2, I)).astype(np.float32)
    with filter_of(path, "--state", tmp_path / "state") as process:
        ask(process, numbers(x[:1]))
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert process.stderr.read() == ""
    answer = ran("step", path, "--state", tmp_path / "state", input=numbers(x[1:]))
    np.testing.assert_array_equal(np.array(answer.split(), np.float32), model.predict(x[None])[0, -1])


def test_a_reader_that_goes_ends_it_quietly(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    with filter_of(path, "--state", tmp_path / "state") as process:
        ask(process, "1 2 3\n")
        process.stdout.close()
        process.stdin.write("1 2 3\n")
        process.stdin.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == ""
    assert (tmp_path / "state").exists()


def test_a_signal_within_a_step_waits_for_its_end() -> None:
    from everystep.cli.interrupts import Interrupted, Interrupts

    done = False

    def work() -> None:
        nonlocal done
        with Interrupts() as interrupts, interrupts.held():
            signal.raise_signal(signal.SIGINT)
            done = True

    with pytest.raises(Interrupted):
        work()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
