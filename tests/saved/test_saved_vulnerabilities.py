"""Published vulnerabilities of loading Keras models, each tried with a file made here: see docs/safe_loading.md.

Every file is refused with an error that names what it did; meanwhile nothing is run, imported, unpickled or opened, and
memory is bounded. Where Keras 2's files can hold the attack too, it is tried in one of those.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_files import assert_refused, members_of, write
from watch import Bait, watched

import everystep
from everystep import layers, load_model
from everystep.errors import EverystepError, FileError, UnsupportedError

Entry = dict[str, Any]
KERNEL = "layers/lstm/cell/vars/0"


class Files:
    """Makes a hostile file of a good one, .keras or .h5, in which one thing is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keras = folder / "model.keras"
        self.h5 = folder / "model.h5"
        self.sentinel = folder / "executed"
        self.bait = Bait(folder / "secret")
        model = everystep.Sequential([everystep.Input((3, 2)), layers.LSTM(4, name="rec"), layers.Dense(4, name="one")])
        model.save(self.keras)
        load_model(self.keras)  # what is imported at the first load
        self.write_h5([])
        load_model(self.h5)

    def write_keras(self, *entries: Entry, change: Callable[[Entry], Any] | None = None) -> Path:
        """A .keras file with further layers, or with its config changed."""
        members = members_of(self.keras)
        config = json.loads(members["config.json"])
        config["config"]["layers"] += entries
        if change:
            change(config)
        write(self.keras, members | {"config.json": json.dumps(config).encode()})
        return self.keras

    def write_h5(self, entries: list[Entry], replace: Callable[[h5py.File], Any] | None = None) -> Path:
        """A file as Keras 2 wrote it: an LSTM, whose input is known, and further layers."""
        rec = {"name": "rec", "units": 4, "batch_input_shape": [None, 3, 2], "dtype": "float32"}
        config = {"name": "model", "layers": [{"class_name": "LSTM", "config": rec}, *entries]}
        with h5py.File(self.h5, "w") as file:
            file.attrs["keras_version"], file.attrs["backend"] = "2.9.0", "tensorflow"
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
            weights = file.create_group("model_weights")
            weights.attrs["layer_names"] = [b"rec"]
            group = weights.create_group("rec")
            names = [f"rec/lstm_cell/{name}:0" for name in ("kernel", "recurrent_kernel", "bias")]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, shape in zip(names, [(2, 16), (4, 16), (16,)], strict=True):
                group[name] = np.ones(shape, np.float32)
            if replace:
                replace(file)
        return self.h5

    def refused(self, path: Path, message: str, error: type[EverystepError] = UnsupportedError) -> None:
        with watched(path) as seen:
            assert_refused(path, message, error)
        assert seen == [f"open ('/proc/self/statm', 'r', {os.O_RDONLY | os.O_CLOEXEC})"]  # by the test itself
        assert not self.sentinel.exists()
        assert not self.bait.taken()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    """Each of the attacks below, done: the watch and the bait notice."""
    with watched(tmp_path / "allowed") as seen:
        marshal.loads(marshal.dumps(1))
        pickle.loads(pickle.dumps(Files))
        exec("1")
        (tmp_path / "other").touch()
    assert [any(each.startswith(kind) for each in seen) for kind in ("marshal", "pickle", "exec")] == [True] * 3
    bait = Bait(tmp_path / "secret")
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        data = file.create_dataset("x", (12,), "u1", external=[(str(bait.path), 0, 12)])
    with h5py.File(tmp_path / "evil.h5") as file:
        data = file["x"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(OSError):  # a pipe cannot be read from a place in it; it is opened all the same
                data[()]
    assert bait.taken()
    assert not Bait(tmp_path / "another").taken()


def layer(kind: str, module: str = "keras.layers", **config: Any) -> Entry:
    return {"module": module, "class_name": kind, "config": {"name": "bad", **config}, "registered_name": None}


def function(module: str, name: str) -> Entry:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


def bytecode(sentinel: Path) -> str:
    """What Keras stores of a lambda: its code, which here makes a file."""
    code = compile(f"lambda x: open({str(sentinel)!r}, 'w')", "evil", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def both(files: Files, entry: Entry, message: str) -> None:
    """The layer in a .keras file and in one of Keras 2."""
    files.refused(files.write_keras(entry), message)
    files.bait = Bait(files.folder / "secret_2")
    entry = {"class_name": entry["class_name"], "config": {**entry["config"], "dtype": "float32"}}
    files.refused(files.write_h5([entry]), message)


def test_cve_2024_3660_code_of_a_lambda_layer(files: Files) -> None:
    code = [bytecode(files.sentinel), None, None]
    entry = layer("Lambda", function=code, function_type="lambda", output_shape=code, output_shape_type="lambda")
    both(files, entry, "layer 'bad' is a Lambda .*it holds Python code, and no code of a file is run")


@pytest.mark.parametrize("place", ["layer", "model", "argument", "call", "compile_config", "initializer", "policy"])
def test_cve_2025_1550_any_module_and_function(files: Files, place: str) -> None:
    """A config that names a module and what to call in it, wherever a config may name one."""
    popen = {"module": "subprocess", "class_name": "Popen", "registered_name": None,
             "config": {"args": ["touch", str(files.sentinel)], "name": "bad"}}  # fmt: skip
    system = function("os", "system")

    def change(config: Entry) -> None:
        rec = config["config"]["layers"][1]["config"]
        if place == "layer":
            config["config"]["layers"].append(popen)
        elif place == "model":
            config |= popen
        elif place == "argument":
            rec["activation"] = popen
        elif place == "call":
            config["config"]["layers"][1]["inbound_nodes"] = [{"args": [str(files.sentinel), popen], "kwargs": {}}]
        elif place == "compile_config":
            config["compile_config"] = {"loss": system, "optimizer": popen, "metrics": [popen]}
        elif place == "initializer":
            rec["kernel_initializer"] = popen
        else:
            rec["dtype"] = popen | {"config": {**popen["config"], "name": "float32"}}

    path = files.write_keras(change=change)
    if place == "compile_config":  # of training, which is not read
        with watched(path) as seen:
            assert load_model(path).predict(np.ones((1, 3, 2))).shape == (1, 4)
        assert [each for each in seen if "Popen" in each or "system" in each or "subprocess" in each] == []
        assert not files.sentinel.exists()
        return
    files.refused(path, "Popen")


def test_cve_2025_1550_in_the_calls_of_a_functional_model(files: Files) -> None:
    x = everystep.Input((3, 2), name="x")
    everystep.Model(x, layers.LSTM(4, name="rec")(x)).save(files.keras)

    def change(config: Entry) -> None:
        call = config["config"]["layers"][1]["inbound_nodes"][0]
        call["kwargs"]["mask"] = layer("Popen", "subprocess", args=["touch", str(files.sentinel)])

    files.refused(files.write_keras(change=change), "'rec' is called on a constant.*Popen")


def test_cve_2025_8747_functions_of_keras_itself(files: Files) -> None:
    """Keras's own get_file, as the function of a Lambda or as a layer: it fetches what the file says."""
    arguments = {"origin": f"file://{files.bait.path}", "fname": str(files.sentinel), "cache_dir": str(files.folder)}
    entry = layer("Lambda", function=function("keras.utils", "get_file"), arguments=arguments)
    both(files, entry, "layer 'bad' is a Lambda")
    files.bait = Bait(files.folder / "secret_3")
    fetch = layer("get_file", "keras.utils", **arguments)
    files.refused(
        files.write_keras(change=lambda config: config["config"]["layers"].__setitem__(3, fetch)), "a get_file"
    )


def test_cve_2025_9905_code_in_a_file_of_keras_2(files: Files) -> None:
    """Keras did not look at safe_mode when it read .h5; here no format has a mode in which code is run."""
    entry = {"class_name": "Lambda", "config": {"name": "bad", "function": [bytecode(files.sentinel), None, None],
             "function_type": "lambda", "module": "__main__", "dtype": "float32"}}  # fmt: skip
    nested = {"class_name": "Sequential", "config": {"name": "inner", "layers": [entry]}}
    files.refused(files.write_h5([nested]), "layer 'inner/bad' is a Lambda .*no code of a file is run")


def test_cve_2025_9906_a_config_that_turns_safety_off(files: Files) -> None:
    """Keras's own enable_unsafe_deserialization first, and after it a Lambda. There is nothing to turn off here."""
    off = layer("Lambda", function=function("keras.config", "enable_unsafe_deserialization"))
    code = {
        "class_name": "__lambda__",
        "config": {"value": bytecode(files.sentinel), "defaults": None, "closure": None},
    }
    files.refused(files.write_keras(off | {"name": "off"}, layer("Lambda", function=code)), "layer 'bad' is a Lambda")


def test_cve_2025_49655_a_pickled_torch_module(files: Files) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {files.sentinel}",)

    module = base64.b64encode(pickle.dumps(Evil())).decode()
    both(files, layer("TorchModuleWrapper", module=module), "is a TorchModuleWrapper .*nothing of a file is unpickled")


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_cve_2025_12058_a_vocabulary_that_is_a_path(files: Files, kind: str) -> None:
    entry = layer(kind, vocabulary=str(files.bait.path), vocabulary_dtype="string")
    both(files, entry, f"layer 'bad' is an? {kind} .*a model's file opens no other file")


def test_cve_2026_0897_a_shape_larger_than_the_memory(files: Files) -> None:
    """A few bytes that say they are 64 TiB: in chunks that were never written, and in one piece."""
    for options in ({"chunks": (1, 16), "compression": "gzip"}, {}):

        def replace(file: h5py.File, options: Any = options) -> None:
            for path in (KERNEL, "model_weights/rec/rec/lstm_cell/kernel:0"):
                if path in file:
                    del file[path]
                    file.create_dataset(path, (1 << 40, 16), "f4", **options)

        members = members_of(files.keras)
        data = io.BytesIO(members["model.weights.h5"])
        with h5py.File(data, "r+") as file:
            replace(file)
        write(files.keras, members | {"model.weights.h5": data.getvalue()})
        message = "in chunks or through a filter" if options else r"must be of shape \(2, 16\)"
        files.refused(files.keras, message, FileError)
        files.bait = Bait(files.folder / f"secret {len(options)}")
        files.refused(files.write_h5([], replace), message, FileError)
        files.bait = Bait(files.folder / f"secret {len(options)} more")


def test_cve_2026_1462_a_saved_model_of_tensorflow(files: Files) -> None:
    files.bait.taken()
    folder = files.folder / "evil"
    folder.mkdir()
    files.bait = Bait(folder / "saved_model.pb")
    entry = layer("TFSMLayer", filepath=str(folder), call_endpoint="serve")
    both(files, entry, "layer 'bad' is a TFSMLayer .*it opens a TensorFlow SavedModel")


@pytest.mark.parametrize("kind", ["external", "link", "virtual"])
def test_cve_2026_1669_weights_that_lie_in_another_file(files: Files, kind: str) -> None:
    bait = str(files.bait.path)
    messages = {"external": "has its data in another file", "link": "is a link to elsewhere", "virtual": "is a virtual"}

    def replace(file: h5py.File) -> None:
        for path in (KERNEL, "model_weights/rec/rec/lstm_cell/kernel:0"):
            if path not in file:
                continue
            del file[path]
            if kind == "external":
                file.create_dataset(path, (2, 16), "f4", external=[(bait, 0, 128)])
            elif kind == "link":
                file[path] = h5py.ExternalLink(bait, "/x")
            else:
                layout = h5py.VirtualLayout((2, 16), "f4")
                layout[:] = h5py.VirtualSource(bait, "x", (2, 16))
                file.create_virtual_dataset(path, layout)

    members = members_of(files.keras)
    data = io.BytesIO(members["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        replace(file)
    write(files.keras, members | {"model.weights.h5": data.getvalue()})
    files.refused(files.keras, messages[kind], FileError)
    files.bait = Bait(files.folder / "secret_2")
    bait = str(files.bait.path)
    files.refused(files.write_h5([], replace), messages[kind], FileError)


def test_cve_2026_12570_a_shape_that_the_config_has_too(files: Files) -> None:
    """1 TiB of weights that were never written, for a layer that is as large as they say."""
    units = 1 << 36

    def replace(file: h5py.File, path: str) -> None:
        for name, shape in (("0", (4, units)), ("1", (units,))):
            if f"{path}/{name}" in file:
                del file[f"{path}/{name}"]
            file.create_dataset(f"{path}/{name}", shape, "f4")

    def enlarge(config: Entry) -> None:
        config["config"]["layers"][-1]["config"]["units"] = units

    files.write_keras(change=enlarge)
    members = members_of(files.keras)
    data = io.BytesIO(members["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        replace(file, "layers/dense/vars")
    write(files.keras, members | {"model.weights.h5": data.getvalue()})
    files.refused(files.keras, r"vars/0' takes \d+ bytes, which the file does not have", FileError)

    def replace_h5(file: h5py.File) -> None:
        weights = file["model_weights"]
        weights.attrs["layer_names"] = [b"rec", b"one"]
        weights.create_group("one").attrs["weight_names"] = [b"0", b"1"]
        replace(file, "model_weights/one")

    files.bait = Bait(files.folder / "secret_2")
    dense = {"class_name": "Dense", "config": {"name": "one", "units": units, "dtype": "float32"}}
    files.refused(files.write_h5([dense], replace_h5), "'model_weights/one/0' takes", FileError)


@pytest.mark.parametrize("ending", ["weights.h5", "h5"])
def test_cve_2026_9335_a_link_in_weights_alone(files: Files, ending: str) -> None:
    """Keras looked at links where it loaded models, and not in load_weights."""
    model, path = load_model(files.keras), files.folder / f"weights.{ending}"
    if ending == "h5":
        files.write_h5([])
        path, place = files.h5, "model_weights/rec/rec/lstm_cell/kernel:0"
    else:
        model.save_weights(path)
        place = KERNEL
    with h5py.File(path, "r+") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(files.bait.path), "/x")
    before = model.get_weights()
    with watched(path) as seen, pytest.raises(FileError, match="is a link to elsewhere"):
        model.load_weights(path)
    assert not seen
    assert not files.bait.taken()
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_cve_2026_12481_and_12484_a_config_outside_of_a_file(files: Files) -> None:
    """`from_config` ran what `load_model` refused: a lambda's code, and a pickled module."""
    lambda_ = layer("Lambda", function={"class_name": "__lambda__", "config": {"code": bytecode(files.sentinel)}})
    torch = layer("TorchModuleWrapper", module="keras.src.utils.torch_utils", module_={"pickle": "gASVAA=="})
    model = load_model(files.keras)
    everystep.models.model_from_json(model.to_json())  # what is imported the first time
    for entry in (lambda_, torch):
        config = model.get_config()
        config["layers"].append(entry)
        text = json.dumps({"module": "keras", "class_name": "Sequential", "config": config})
        with watched(files.keras) as seen:
            with pytest.raises(UnsupportedError, match=entry["class_name"]):
                everystep.Sequential.from_config(config)
            with pytest.raises(UnsupportedError, match=entry["class_name"]):
                everystep.models.model_from_json(text)
        assert not seen
        assert not files.sentinel.exists()
