"""A trace's other forms: labelled by xarray, as a file, as a table. All have the trace's own numbers."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

from everystep import Input, Model
from everystep.errors import DependencyError, FileError, OptionError
from everystep.layers import GRU, LSTM, RNN, Attention, Bidirectional, GRUCell, Masking, SimpleRNN, SimpleRNNCell
from everystep.states.trace import Trace

T, I, H = 5, 3, 4


@pytest.fixture(params=["float32", "float64"])
def trace(request: Any) -> Trace:
    """Everything that there is to label: masks, resets, attention, both directions, stacks, calls, models in models."""
    d = dict(dtype=request.param)
    x, resets = Input((None, I), name="x", **d), Input((None,), dtype="bool", name="resets")
    p = Input((None, H), **d)
    inner = Model(p, SimpleRNN(2, return_sequences=True, name="simple", **d)(p), name="inner")
    a, *states = LSTM(H, return_sequences=True, return_state=True, name="a", **d)(Masking(1.5, **d)(x), resets=resets)
    b = LSTM(H, return_sequences=True, name="b", **d)(a, initial_state=states)
    c = Attention(name="attention", **d)([b, a])
    both = Bidirectional(GRU(H // 2, return_sequences=True, name="gru", **d), name="both")(c)
    shared = GRU(H, return_sequences=True, name="shared", **d)
    stack = RNN([GRUCell(2, name="one", **d), SimpleRNNCell(3, name="two", **d)], name="stack", **d)(
        inner(shared(shared(both)))
    )
    model = Model([x, resets], stack, name="model")
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.get_weights()])
    array = rng.normal(size=(3, T, I))
    array[0, 3:] = array[2, 1] = 1.5
    return model.trace([array, rng.random((3, T)) < 0.2])


def same(one: Trace, other: Trace) -> None:
    assert list(one) == list(other)
    assert one.title == other.title
    assert one.rows == other.rows
    for name in one:
        assert one.arrays(name).keys() == other.arrays(name).keys()
        for what, array in one.arrays(name).items():
            assert other.arrays(name)[what].dtype == array.dtype
            np.testing.assert_array_equal(other.arrays(name)[what], array)
    assert one.timeline() == other.timeline()


def test_xarray(trace: Trace) -> None:
    tree = trace.to_xarray()
    assert tree.attrs["title"] == "trace of model 'model'"
    for name in trace:
        data = tree[name]
        for what, array in trace.arrays(name).items():
            np.testing.assert_array_equal(data[what].values, array)
            assert data[what].attrs["long_name"]
            assert data[what].attrs["units"] == "1"
        (start,) = [s.start for s in trace.timeline() if name in s.layers] or [T]
        np.testing.assert_array_equal(data.time, np.arange(T) + start)
        np.testing.assert_array_equal(data.step, np.arange(T))
    a = tree["a"]
    assert a.gates.dims == ("row", "time", "gate", "unit")
    assert a.mask.dims == a.resets.dims == ("row", "time")
    assert a.initial_c.dims == ("row", "unit")
    assert dict(a.sizes) == {"row": 3, "time": T, "gate": 4, "unit": H}
    np.testing.assert_array_equal(a.gates.sel(gate="f", unit=2), trace["a"].gate("f")[:, :, 2])
    assert a.gate_name.sel(gate="f") == "forget gate"
    assert a.c.attrs["long_name"] == "cell state c after each step"
    assert tree["attention"].weights.dims == ("row", "time", "key_time", "head")
    np.testing.assert_array_equal(tree["attention"].key_time, np.arange(T))
    assert tree["both/backward_gru"].attrs["direction"] == "backward"
    assert tree["both/forward_gru"].attrs["direction"] == "forward"
    assert set(tree["stack"].children) == {"one", "two"}


def test_a_file_has_it_all_without_the_model(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "trace.nc"
    trace.save(path)
    loaded = Trace.load(str(path))
    same(trace, loaded)
    assert loaded.to_xarray().identical(trace.to_xarray())
    assert not loaded["a"].h.flags.writeable
    assert loaded["both/backward_gru"].backwards
    with pytest.raises(OptionError, match="there is no layer 'c' with states"):
        _ = loaded["c"]
    again = tmp_path / "again.nc"
    loaded.save(again)
    same(trace, Trace.load(again))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again.nc", "trace.nc"]


def test_xarray_reads_the_file(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "trace.nc"
    trace.save(path)
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        xarray.testing.assert_identical(tree.load(), trace.to_xarray())


def test_arrays_are_read_when_they_are_asked_for(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "trace.nc"
    trace.save(path)
    loaded = Trace.load(path)
    with h5py.File(path, "r+") as file:
        file["a/h"][...] = 7
        del file["b/gates"]
    assert (loaded["a"].h == 7).all()
    np.testing.assert_array_equal(loaded["b"].h, trace["b"].h)


def test_a_frame_has_a_line_for_each_unit(trace: Trace) -> None:
    frame = trace.to_frame()
    assert frame.index.names == ["layer", "row", "time", "unit"]
    assert len(frame) == sum(trace[name].h.size for name in trace if name != "attention")
    for name in trace:
        if name == "attention":
            continue
        layer, its = trace[name], frame.loc[name]
        np.testing.assert_array_equal(its["h"], layer.h.reshape(-1))
        np.testing.assert_array_equal(its["mask"].astype(bool), np.repeat(layer.mask.reshape(-1), layer.units))
        for letter in layer.gate_names:
            np.testing.assert_array_equal(its[f"gate_{letter}"], layer.gate(letter).reshape(-1))
        assert its["c"].isna().all() == (layer.kind != "LSTM")
    start = trace.timeline()[1].start
    assert frame.loc[("b", 2, start + 1, 3), "c"] == trace["b"].c[2, 1, 3]
    assert frame.loc[("b", 2, start + 1, 3), "gate_o"] == trace["b"].gate("o")[2, 1, 3]


@pytest.mark.parametrize("shape", [(0, T, I), (2, 0, I)], ids=["no rows", "no steps"])
def test_nothing_is_saved_as_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = Input((None, I))
    trace = Model(x, LSTM(H, name="a")(x)).trace(np.ones(shape))
    trace.save(tmp_path / "empty.nc")
    same(trace, Trace.load(tmp_path / "empty.nc"))
    assert trace.to_frame().empty


def test_files_that_are_no_traces(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no file"):
        Trace.load(tmp_path / "none.nc")
    text = tmp_path / "text.nc"
    text.write_text("no trace")
    with pytest.raises(FileError, match="is no NetCDF file that can be read"):
        Trace.load(text)
    other = tmp_path / "other.nc"
    xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(other, engine="h5netcdf")
    with pytest.raises(FileError, match="is no trace that everystep wrote"):
        Trace.load(other)
    x = Input((T, I))
    Model(x, LSTM(H, name="a")(x)).trace(np.ones((1, T, I))).save(tmp_path / "damaged.nc")
    with h5py.File(tmp_path / "damaged.nc", "r+") as file:
        file["a"].attrs["everystep_site"] = '{"name": "a"}'
    with pytest.raises(FileError, match="group 'a' is no layer of a trace"):
        Trace.load(tmp_path / "damaged.nc")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x = Input((T, I))
    trace = Model(x, LSTM(H, name="a")(x)).trace(np.ones((1, T, I)))
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("xarray", "h5netcdf"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", lambda name: without(name))
    for call in (trace.to_xarray, trace.to_frame, lambda: trace.save(tmp_path / "a.nc")):
        with pytest.raises(DependencyError, match=r"pip install 'everystep\[states\]'"):
            call()
    assert trace["a"].h.shape == (1, T, H)
