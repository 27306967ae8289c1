"""`everystep predict` writes what `Model.predict` returns, to the bit, in and out of each kind of file."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as parquet
import pytest
from cli_cases import I, last, ran, refused, rows, saved, sequences, states, two_inputs

import everystep

rng = np.random.default_rng(11)


def write_csv(path: Path, names: list[str], lines: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *lines])
    return path


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="") as file:
        names, *lines = csv.reader(file)
    return names, lines


def same(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


# ---- Arrays ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("B", [0, 1, 3, 7])
def test_npy_in_batches(B: int, dtype: str, tmp_path: Path) -> None:
    path, model = saved(last(dtype), tmp_path)
    x = rng.normal(size=(B, 5, I)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    ran("predict", path, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--batch-size", 3)
    same(np.load(tmp_path / "y.npy"), model.predict(x))
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "x.npy", "y.npy"}  # nothing unfinished is left


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_name_and_outputs_by_name(save: Any, tmp_path: Path) -> None:
    path, model = saved(two_inputs(), tmp_path)
    x, day = rng.normal(size=(5, 4, I)).astype(">f4"), rng.integers(0, 7, (5, 4))
    save(tmp_path / "x.npz", day=day, weather=x)
    ran("predict", path, tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--batch-size", 2)
    with np.load(tmp_path / "y.npz") as y:
        assert y.files == ["forecast"]
        same(y["forecast"], model.predict([x, day]))


def test_outputs_have_names(tmp_path: Path) -> None:
    path, model = saved(states(), tmp_path)
    x = rng.normal(size=(5, 4, I)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x)  # the one array of a model of one input, whatever it is called
    ran("predict", path, tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--batch-size", 2)
    with np.load(tmp_path / "y.npz") as y:
        assert y.files == ["forecast", "lstm.0", "lstm.1"]
        for name, expected in zip(y.files, model.predict(x), strict=True):
            same(y[name], expected)
    chosen = ("--output", "lstm.1", "--output", "lstm.0")
    ran("predict", path, tmp_path / "x.npz", "-o", tmp_path / "z.npz", *chosen)
    with np.load(tmp_path / "z.npz") as z:
        assert z.files == ["lstm.1", "lstm.0"]
        same(z["lstm.1"], model.predict(x)[2])
    ran("predict", path, tmp_path / "x.npz", "-o", tmp_path / "c.npy", "--output", "lstm.1")
    same(np.load(tmp_path / "c.npy"), model.predict(x)[2])
    assert "'nothing'; it has 'forecast', 'lstm.0', 'lstm.1'" in refused(
        "predict", path, tmp_path / "x.npz", "-o", tmp_path / "d.npz", "--output", "nothing"
    )
    assert "holds one array" in refused("predict", path, tmp_path / "x.npz", "-o", tmp_path / "d.npy")


# ---- Tables ----


def test_a_csv_file_is_one_sequence(tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(2500, I)).astype(np.float32)  # of several blocks
    write_csv(tmp_path / "x.csv", ["u", "v", "w"], x.tolist())
    ran("predict", path, tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    names, lines = read_csv(tmp_path / "y.csv")
    assert names == ["sequence", "step", "forecast_0", "forecast_1"]
    assert [line[:2] for line in lines] == [["0", str(t)] for t in range(2500)]
    same(np.array([line[2:] for line in lines], np.float32), model.predict(x[None])[0])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("batch", [1, 2, 256])
def test_sequences_by_a_column(suffix: str, batch: int, tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    lengths = {"JFK": 700, "EWR": 1, "LGA": 1300, "BOS": 1300}
    x = [rng.normal(size=(T, I)).astype(np.float32) for T in lengths.values()]
    ids = [name for name, T in lengths.items() for _ in range(T)]
    table = {"u": np.concatenate(x)[:, 0], "place": ids, "v": np.concatenate(x)[:, 1], "w": np.concatenate(x)[:, 2]}
    if suffix == "csv":
        write_csv(tmp_path / "x.csv", list(table), [*zip(*(list(map(str, c)) for c in table.values()), strict=True)])
    else:
        parquet.write_table(pa.table(table), tmp_path / "x.parquet", row_group_size=900)
    out = tmp_path / f"y.{suffix}"
    ran("predict", path, tmp_path / f"x.{suffix}", "-o", out, "--by", "place", "--batch-size", batch)
    expected = np.concatenate(model.predict(x))
    if suffix == "csv":
        names, lines = read_csv(out)
        found = {name: [line[k] for line in lines] for k, name in enumerate(names)}
    else:
        found = parquet.read_table(out).to_pydict()
    assert list(found) == ["place", "step", "forecast_0", "forecast_1"]
    assert found["place"] == ids
    assert [int(t) for t in found["step"]] == [t for T in lengths.values() for t in range(T)]
    for k in range(2):
        np.testing.assert_array_equal(np.array(found[f"forecast_{k}"], np.float32), expected[:, k])


def test_outputs_of_a_row_each(tmp_path: Path) -> None:
    path, model = saved(last(), tmp_path)
    x = rng.normal(size=(9, I))
    write_csv(tmp_path / "x.csv", ["id", "u", "v", "w"], [[t // 4, *row] for t, row in enumerate(x.tolist())])
    ran("predict", path, tmp_path / "x.csv", "-o", tmp_path / "y.csv", "--by", "id", "--batch-size", 2)
    names, lines = read_csv(tmp_path / "y.csv")
    assert names == ["id", "forecast_0", "forecast_1"]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    expected = model.predict([x[:4], x[4:8], x[8:]])
    same(np.array([line[1:] for line in lines], np.float32), expected)
    ran("predict", path, tmp_path / "x.csv", "-o", tmp_path / "y.npy", "--by", "id")
    same(np.load(tmp_path / "y.npy"), expected)


@pytest.mark.parametrize("given", [("--no-header",), ("--header",), ()])
def test_rows_of_a_table(given: tuple[str, ...], tmp_path: Path) -> None:
    path, model = saved(rows(), tmp_path)
    x = rng.normal(size=(6, I))
    numbers = "\n".join(",".join(map(str, row)) for row in x.tolist())
    (tmp_path / "x.csv").write_text(numbers + "\n")
    call = ("predict", path, tmp_path / "x.csv", "-o", tmp_path / "y.parquet", "--batch-size", 4, *given)
    if not given:
        assert "the first line holds numbers alone" in refused(*call)
        return
    ran(*call)
    found = parquet.read_table(tmp_path / "y.parquet")
    assert found.schema == pa.schema({"price": pa.float32()})
    same(found["price"].to_numpy(), model.predict(x)["--header" in given :, 0])


def test_a_file_for_each_input(tmp_path: Path) -> None:
    path, model = saved(two_inputs(), tmp_path)
    lengths = [3, 1, 5]
    x = [rng.normal(size=(T, I)).astype(np.float32) for T in lengths]
    day = [rng.integers(0, 7, T) for T in lengths]
    ids = np.repeat(["b", "a", "c"], lengths)
    flat = np.concatenate(x).tolist()
    write_csv(tmp_path / "x.csv", ["id", *"uvw"], [[k, *row] for k, row in zip(ids, flat, strict=True)])
    parquet.write_table(pa.table({"day": np.concatenate(day), "id": ids}), tmp_path / "day.parquet")
    both = ("--input", f"weather={tmp_path / 'x.csv'}", "--input", f"day={tmp_path / 'day.parquet'}")
    ran("predict", path, *both, "--by", "id", "-o", tmp_path / "y.parquet", "--batch-size", 1)
    found = parquet.read_table(tmp_path / "y.parquet")
    assert found["id"].to_pylist() == ids.tolist()
    expected = np.concatenate([model.predict([a[None], b[None]])[0] for a, b in zip(x, day, strict=True)])
    same(np.stack([found[f"forecast_{k}"].to_numpy() for k in range(2)], 1), expected)


def test_numbers_in_text_come_back_to_the_bit(tmp_path: Path) -> None:
    path, model = saved(sequences(), tmp_path)
    x = (rng.normal(size=(1, 40, I)) * 10.0 ** rng.integers(-30, 30, (1, 40, I))).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    ran("predict", path, tmp_path / "x.npy", "-o", tmp_path / "y.csv")
    _, lines = read_csv(tmp_path / "y.csv")
    same(np.array([line[2:] for line in lines], np.float32), model.predict(x)[0])


# ---- Larger than memory ----

BOUNDED = """
import resource, sys
import everystep.cli.commands as commands
import everystep, numpy
everystep.set_num_threads(1)
everystep.load_model(sys.argv[3]).predict(numpy.zeros((64, 1000, 3), "float32"))  # what is made once, is made
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[2]),) * 2)
if sys.argv[1] == "whole":
    everystep.load_model(sys.argv[3]).predict(numpy.load(sys.argv[4]))
else:
    commands.everystep(["predict", *sys.argv[3:]])
"""


def bounded(how: str, bound: int, *arguments: Any) -> str:
    """What standard error gets of the command where it may take so many bytes more than to begin with."""
    command = [sys.executable, "-c", BOUNDED, how, str(bound), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True).stderr


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_larger_than_the_memory(suffix: str, tmp_path: Path) -> None:
    """240 MB in and 160 MB out, where 96 MiB may be taken."""
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(20000, 1000, I)).astype(np.float32)
    source, result = tmp_path / f"x.{suffix}", tmp_path / f"y.{suffix}"
    (np.save if suffix == "npy" else np.savez)(source, x)
    assert bounded("batches", 96 << 20, path, source, "-o", result, "--batch-size", 64) == ""
    if suffix == "npy":
        assert "MemoryError" in bounded("whole", 96 << 20, path, source)
        y = np.load(result, mmap_mode="r")
        assert len(y) == len(x)
        same(np.asarray(y[-100:]), model.predict(x[-100:]))


def test_a_csv_file_larger_than_the_memory(tmp_path: Path) -> None:
    """36 MB of text in, where 16 MiB may be taken."""
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(600, 1000, I)).astype(np.float32)
    table = pa.table({"id": np.repeat(np.arange(600), 1000), **{n: x[..., k].ravel() for k, n in enumerate("uvw")}})
    pyarrow.csv.write_csv(table, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").stat().st_size > 20 << 20
    arguments = (path, tmp_path / "x.csv", "-o", tmp_path / "y.npy", "--by", "id", "--batch-size", 8)
    assert bounded("batches", 16 << 20, *arguments) == ""
    same(np.load(tmp_path / "y.npy"), model.predict(x))


GROWTH = """
import resource, sys
import everystep.cli.commands as commands
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
before = 0
for source, result in (("small.parquet", "small_y.parquet"), ("x.parquet", "y.parquet")):
    before = most()
    commands.everystep(["predict", sys.argv[1], source, "-o", result, "--by", "id"], standalone_mode=False)
print(most() - before)
"""


def test_a_parquet_file_larger_than_the_memory(tmp_path: Path) -> None:
    """96 MB of columns in and 128 MB out take 48 MiB more than a small file does. (Arrow reserves addresses freely.)"""
    path, model = saved(sequences(), tmp_path)
    x = rng.normal(size=(4000, 1000, I)).astype(np.float32)
    ids = np.repeat(np.arange(4000), 1000)
    table = pa.table({"id": ids, **{n: x[..., k].ravel() for k, n in enumerate("uvw")}})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=1 << 18)
    parquet.write_table(table.slice(0, 1 << 18), tmp_path / "small.parquet")
    command = [sys.executable, "-c", GROWTH, str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 48 << 20
    found = parquet.read_table(tmp_path / "y.parquet")
    y = np.stack([found[f"forecast_{k}"].to_numpy() for k in range(2)], 1)
    same(y, model.predict(x).reshape(-1, 2))


# ---- Refusals ----


def test_an_old_result_stays_unless_it_is_meant_to_go(tmp_path: Path) -> None:
    path, model = saved(last(), tmp_path)
    x = rng.normal(size=(2, 3, I)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.npy").write_text("mine")
    call = ("predict", path, tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert "exists already" in refused(*call)
    assert (tmp_path / "y.npy").read_text() == "mine"
    np.save(tmp_path / "bad.npy", x[..., :2])
    refused("predict", path, tmp_path / "bad.npy", "-o", tmp_path / "y.npy", "--force")
    assert (tmp_path / "y.npy").read_text() == "mine"
    ran(*call, "--force")
    same(np.load(tmp_path / "y.npy"), model.predict(x))
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "x.npy", "bad.npy", "y.npy"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u,v,w\n1,2,3\n4,x,6\n", "x.csv, line 3, column 'v': a number expected, got 'x'"),
        ("u,v,w\n1,2,3\n4,,6\n", "x.csv, line 3, column 'v': a number expected, got ''"),
        ("u,v,w\n1,2,1_0\n", "x.csv, line 2, column 'w': a number expected, got '1_0'"),
        ("u,v,w\n1,2,3\n4,5\n", "x.csv, line 3: 3 cells expected, got 2"),
        ("u,v,w\n1,2,3\n\n", "x.csv, line 3: 3 cells expected, got 0"),
        ("u,v\n1,2\n", "takes 3 columns of numbers; there are 2: 'u', 'v'"),
        ("u,v,v\n1,2,3\n", "two columns are called 'v'"),
        ("u,v,w\n", "has no lines of numbers"),
        ("", "has no first line"),
        ('u,v,w\n1,2,"3\n', "not a table of text"),
        ("u,v,w\n1,2,\xff\n", "not a table of text"),
    ],
)
def test_a_csv_file_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
    assert message in refused("predict", path, tmp_path / "x.csv", "-o", tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()


def test_a_whole_number_in_text_is_whole(tmp_path: Path) -> None:
    path, _ = saved(two_inputs(), tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((1, 2, I), np.float32))
    write_csv(tmp_path / "day.csv", ["a", "b"], [[1, "2.5"]])
    both = ("--input", f"weather={tmp_path / 'x.npy'}", "--input", f"day={tmp_path / 'day.csv'}")
    assert "line 2, column 'b': a whole number expected, got '2.5'" in refused(
        "predict", path, *both, "-o", tmp_path / "y.npy"
    )


def test_sequences_that_do_not_stand_together(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    write_csv(tmp_path / "x.csv", ["id", *"uvw"], [["a", 1, 2, 3], ["b", 1, 2, 3], ["a", 1, 2, 3]])
    call = ("predict", path, tmp_path / "x.csv", "-o")
    assert "sequence 'a' do not stand together" in refused(*call, tmp_path / "y.csv", "--by", "id", "--batch-size", 1)
    assert "has no column 'place'" in refused(*call, tmp_path / "y.csv", "--by", "place")
    write_csv(tmp_path / "x.csv", ["id", *"uvw"], [["a", 1, 2, 3], ["b", 1, 2, 3], ["b", 1, 2, 3]])
    for batch in (1, 256):
        assert "different lengths" in refused(*call, tmp_path / "y.npz", "--by", "id", "--batch-size", batch)


def test_a_parquet_file_that_is_wrong(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    call = ("predict", path, tmp_path / "x.parquet", "-o", tmp_path / "y.npy")
    (tmp_path / "x.parquet").write_text("u,v,w")
    assert "is not a Parquet file" in refused(*call)
    parquet.write_table(pa.table({"u": [1.0], "v": ["x"], "w": [2]}), tmp_path / "x.parquet")
    assert "column 'v': numbers expected, got string" in refused(*call)
    parquet.write_table(pa.table({"u": [1.0] * 2000, "v": [1] * 1500 + [None] * 500, "w": [1] * 2000}), call[2])
    assert "row 1500, column 'v': there is no number" in refused(*call)


def test_arrays_that_are_wrong(tmp_path: Path) -> None:
    path, _ = saved(sequences(), tmp_path)
    x = rng.normal(size=(4, 3, I)).astype(np.float32)
    file = tmp_path / "x.npy"
    call = ("predict", path, file, "-o", tmp_path / "y.npy")
    np.save(file, x)
    whole = file.read_bytes()
    for data in (whole[:-1], whole + b"0"):
        file.write_bytes(data)
        assert "is damaged" in refused(*call)
    file.write_bytes(b"no array")
    assert "is not an array as np.save writes it" in refused(*call)
    np.save(file, np.asfortranarray(x))
    assert "np.ascontiguousarray(x)" in refused(*call)
    np.save(file, np.array([{}]), allow_pickle=True)
    assert "holds object" in refused(*call)
    np.save(file, np.float32(1))
    assert "single number" in refused(*call)
    np.save(file, x[..., :2])
    assert "takes an array of shape" in refused(*call)


def test_archives_that_are_wrong(tmp_path: Path) -> None:
    path, _ = saved(two_inputs(), tmp_path)
    file = tmp_path / "x.npz"
    call = ("predict", path, file, "-o", tmp_path / "y.npy", "--batch-size", 2)
    file.write_bytes(b"PK no archive")
    assert "is not a .npz file" in refused(*call)
    np.savez(file, weather=np.zeros((3, 2, I)), month=np.zeros((3, 2), int))
    assert "has no array 'day'" in refused(*call)
    np.savez(file, weather=np.zeros((3, 2, I)), day=np.zeros((4, 2), int))
    assert "same number of rows; up to here there are 3 of 'weather', 4 of 'day'" in refused(*call)
    np.savez(file, weather=np.ones((3, 2, I)), day=np.zeros((3, 2), int))
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        data[archive.getinfo("weather.npy").header_offset + 250] ^= 1  # one bit of a number
    file.write_bytes(data)
    assert "weather.npy is not an array as np.save writes it: Bad CRC-32" in refused(*call)


def test_calls_that_are_wrong(tmp_path: Path) -> None:
    path, _ = saved(two_inputs(), tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((1, 2, I)))
    x, out = tmp_path / "x.npy", ("-o", tmp_path / "y.npy")
    assert "has the inputs weather, day" in refused("predict", path, x, *out, code=2)
    assert "no --input for day" in refused("predict", path, "--input", f"weather={x}", *out, code=2)
    assert "takes NAME=FILE" in refused("predict", path, "--input", f"wind={x}", *out)
    assert "Name one file" in refused("predict", path, *out, code=2)
    assert "there is no folder" in refused("predict", path, x, "-o", tmp_path / "no" / "y.npy")
    path, _ = saved(sequences(), tmp_path)
    assert "the file to write ends in .npy" in refused("predict", path, x, "-o", tmp_path / "y.txt")
    assert "an input file ends in .npy" in refused("predict", path, path, *out)
    assert "--by is for tables" in refused("predict", path, x, *out, "--by", "id", code=2)
    assert "are for .csv files" in refused("predict", path, x, *out, "--header", code=2)


def test_progress_goes_to_standard_error(tmp_path: Path) -> None:
    path, _ = saved(last(), tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((5, 2, I), np.float32))
    command = [sys.executable, "-m", "everystep", "predict", path, "x.npy", "-o", "y.npy"]
    done = subprocess.run([*command, "--progress", "--batch-size", "2"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "5/5" in done.stderr
    quiet = subprocess.run([*command, "--force"], cwd=tmp_path, capture_output=True, text=True)
    assert quiet.stderr == quiet.stdout == ""


def test_predict_shows_progress(capsys: Any, tmp_path: Path) -> None:
    _, model = saved(last(), tmp_path)
    x = np.zeros((5, 2, I), np.float32)
    shown = model.predict(x, batch_size=2, progress=True)
    out, err = capsys.readouterr()
    assert "5/5" in err
    assert out == ""
    same(shown, model.predict(x))
    assert capsys.readouterr() == ("", "")


def test_progress_without_tqdm_is_an_error(monkeypatch: Any, tmp_path: Path) -> None:
    _, model = saved(last(), tmp_path)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(everystep.errors.DependencyError, match="pip install tqdm"):
        model.predict(np.zeros((1, 2, I)), progress=True)


def test_dictionaries_of_inputs_and_outputs(tmp_path: Path) -> None:
    x, z = everystep.Input((None, I), name="x"), everystep.Input((None, I), name="z")
    layer = everystep.layers.LSTM(2)
    two = everystep.Model({"b": x, "a": z}, {"second": layer(z), "first": layer(x)})
    path, model = saved(two, tmp_path)
    one, other = rng.normal(size=(2, 3, 4, I)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=one, z=other)
    ran("predict", path, tmp_path / "in.npz", "-o", tmp_path / "y.npz", "--batch-size", 2)
    expected = model.predict({"b": one, "a": other})
    with np.load(tmp_path / "y.npz") as y:
        assert y.files == ["first", "second"]
        for name in y.files:
            same(y[name], expected[name])
    ran("predict", path, tmp_path / "in.npz", "-o", tmp_path / "y.npy", "--output", "second")
    same(np.load(tmp_path / "y.npy"), expected["second"])
