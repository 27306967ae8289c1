"""Files that try to run code, to read other files or to fill the memory: each is refused with an error of its own.

Every load here has 256 MiB of address space beyond what the process has.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_files import assert_refused, members_of, write

import everystep
from everystep import layers, load_model
from everystep.errors import EverystepError, UnsupportedError

KERNEL = "layers/lstm/cell/vars/0"
RECORD = b"PK\x01\x02"  # of a member in the zip's directory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = everystep.Sequential(
        [everystep.Input((3, 2)), layers.LSTM(4, name="rec"), layers.Dense(4, name="one"), layers.Dense(4, name="two")]
    )
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_file_that_all_others_are_made_of_loads(path: Path) -> None:
    write(path, members_of(path), zipfile.ZIP_DEFLATED)
    assert load_model(path).predict(np.ones((1, 3, 2))).shape == (1, 4)


# ---- The zip ----

EXTRA = [
    ("../evil.txt", r"has a member '../evil.txt'; a .keras file has metadata.json, config.json, model.weights.h5"),
    ("/tmp/evil.txt", r"has a member '/tmp/evil.txt'"),
    ("model.weights.npz", r"has a member 'model.weights.npz'"),
    ("assets/layers/string_lookup/vocabulary.txt", r"has an asset, 'assets/.*', which a layer would open"),
    ("config.json", "has 'config.json' twice"),
]


@pytest.mark.parametrize(("name", "message"), EXTRA)
def test_members_that_do_not_belong(path: Path, name: str, message: str) -> None:
    write(path, [*members_of(path).items(), (name, b"{}")])
    assert_refused(path, message)


@pytest.mark.parametrize("name", ["metadata.json", "config.json", "model.weights.h5"])
def test_a_member_that_is_missing(path: Path, name: str) -> None:
    write(path, {key: value for key, value in members_of(path).items() if key != name})
    assert_refused(path, f"has no {name}: is it a .keras file")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"'config.json' holds 134217728 bytes, and may hold 8388608"),
        ("model.weights.h5", r"'model.weights.h5' would expand \d+ bytes to 134217728, more than 100 times"),
    ],
)
def test_a_bomb(path: Path, name: str, message: str) -> None:
    write(path, members_of(path) | {name: bytes(1 << 27)}, zipfile.ZIP_DEFLATED)
    assert_refused(path, message)


def patched(path: Path, place: int, form: str, value: int) -> None:
    """Writes a number into the zip's record of its last member, at an offset."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.rindex(RECORD) + place, value)
    path.write_bytes(data)


def test_a_bomb_that_says_it_is_small(path: Path) -> None:
    write(path, members_of(path) | {"model.weights.h5": bytes(1 << 29)}, zipfile.ZIP_DEFLATED)
    patched(path, 24, "<L", 1000)
    assert_refused(path, "is damaged: Bad CRC-32 for file 'model.weights.h5'")


def test_a_member_that_says_it_is_larger(path: Path) -> None:
    size = len(members_of(path)["model.weights.h5"])
    patched(path, 24, "<L", size + 8)
    assert_refused(path, rf"'model.weights.h5' holds {size} bytes, and says {size + 8}")


def test_members_that_are_encrypted_or_compressed_otherwise(path: Path) -> None:
    members = members_of(path)
    write(path, members, zipfile.ZIP_BZIP2)
    assert_refused(path, "compressed by method 12; supported are none and deflate")
    write(path, members)
    patched(path, 8, "<H", 1)
    assert_refused(path, "'model.weights.h5' is encrypted")


def test_a_file_that_is_cut_off_or_no_zip(path: Path) -> None:
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-30], b"", b"PK\x05\x06"):
        path.write_bytes(data)
        assert_refused(path, "is not a .keras file, or is damaged")


def test_a_flipped_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b'"class_name"') + 3] ^= 1
    path.write_bytes(data)
    assert_refused(path, "Bad CRC-32 for file 'config.json'")


# ---- The config ----


def with_config(path: Path, change: Callable[[Any], Any]) -> None:
    members = members_of(path)
    config = json.loads(members["config.json"])
    changed = change(config)
    write(path, members | {"config.json": json.dumps(config if changed is None else changed).encode()})


CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None, "closure": None}}
LAYERS = [
    ("Lambda", "keras.layers", {"function": CODE}, r"layer 'bad' is a Lambda \(keras.layers\), which is not supported"),
    ("TFSMLayer", "keras.layers", {"filepath": "/tmp/evil"}, r"layer 'bad' is a TFSMLayer"),
    ("TorchModuleWrapper", "keras.layers", {"module": "gASVHgAAAA=="}, r"layer 'bad' is a TorchModuleWrapper"),
    ("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"}, r"layer 'bad' is a StringLookup"),
    ("Own", "antigravity", {}, r"layer 'bad' is an Own \(antigravity\)"),
    ("system", "os", {"command": "true"}, r"layer 'bad' is a system \(os\)"),
    ("LSTM", "antigravity", {"units": 4}, r"layer 'bad' is of a class named LSTM that is not Keras's own"),
    ("get_file", "keras.utils", {"origin": "http://localhost"}, r"layer 'bad' is a get_file \(keras.utils\)"),
]


@pytest.mark.parametrize(("kind", "module", "options", "message"), LAYERS, ids=[one[0] + one[1] for one in LAYERS])
def test_layers_that_run_code_or_open_files(path: Path, kind: str, module: str, options: Any, message: str) -> None:
    def change(config: Any) -> None:
        entry = {"module": module, "class_name": kind, "config": {"name": "bad", **options}, "registered_name": kind}
        config["config"]["layers"].append(entry)

    with_config(path, change)
    assert_refused(path, message, UnsupportedError)
    assert "antigravity" not in sys.modules


FUNCTION = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
OTHER = {"module": "antigravity", "class_name": "Own", "config": {}, "registered_name": "Own"}


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("activation", CODE, "layer 'rec': activation is a Python function or object, '__lambda__'"),
        ("activation", FUNCTION, "layer 'rec': activation is a Python function or object, 'system'"),
        ("recurrent_activation", OTHER, "layer 'rec': recurrent_activation is a Python function or object, 'Own'"),
        ("kernel_initializer", OTHER, "initializer 'Own' is not one of"),
        ("kernel_regularizer", OTHER, "the config names Own of antigravity, which everystep does not know"),
        ("bias_constraint", FUNCTION, "the config names function of os"),
        ("bias_constraint", {"l": [{"deep": CODE}]}, "the config names __lambda__ of None"),
        ("seed", OTHER | {"module": "keras.random"}, "the config names Own of keras.random"),
        ("dtype", OTHER | {"config": {"name": "float32"}}, "the config names Own of antigravity"),
    ],
)
def test_functions_and_objects_in_a_layer(path: Path, argument: str, value: Any, message: str) -> None:
    with_config(path, lambda config: config["config"]["layers"][1]["config"].update({argument: value}))
    assert_refused(path, message, UnsupportedError)
    assert "antigravity" not in sys.modules


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"0" + b"}" * levels


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (deep(101), "config.json of '.*' is nested deeper than 100"),
        (deep(1_000_000), "is nested deeper than 100"),
        (b'{"module": "keras", "module": "os"}', "is not valid: the key 'module' is there twice"),
        (b"[]", "holds a list, not an object"),
        (b"\xff\xfe", "is not valid: 'utf-8' codec"),
        (b'{"module": ', "is not valid: Expecting value"),
        (b'{"module": ' + b"9" * 10_000 + b"}", "is not valid: Exceeds the limit"),
        (b'{"module": "keras", "class_name": "Sequential"}', "is not the config of a model: KeyError: 'config'"),
        (b'{"module": "keras", "class_name": "Sequential", "config": 3}', "is not the config of a model: "),
    ],
)
def test_configs_that_are_none(path: Path, config: bytes, message: str) -> None:
    write(path, members_of(path) | {"config.json": config})
    assert_refused(path, message)


@pytest.mark.parametrize("units", [10**9, 10**15, 10**18, 10**30])
def test_a_config_of_a_layer_larger_than_any_memory(path: Path, units: int) -> None:
    with_config(path, lambda config: config["config"]["layers"][1]["config"].update(units=units))
    assert_refused(path, "must be of shape|is not the config of a model: ValueError")


def test_a_config_of_more_layers_than_there_is_time_for(path: Path) -> None:
    with_config(path, lambda config: config["config"].update(layers=config["config"]["layers"][:1] * 30_000))
    assert_refused(path, "has 30000 layers and calls of layers; at most 3000 are read")


# ---- The weights ----


def with_weights(path: Path, change: Callable[[h5py.File], None]) -> None:
    members = members_of(path)
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        change(weights)
    write(path, members | {"model.weights.h5": file.getvalue()})


def replaced(*args: Any, **options: Any) -> Callable[[h5py.File], None]:
    """Puts another dataset in the place of the kernel, which is (2,16) float32."""

    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, *args, **options)

    return change


def linked(link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file[KERNEL] = link

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 16), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (2, 16))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def loop(file: h5py.File) -> None:
    file["layers/lstm/cell/layers"] = file["layers"]


def twice(file: h5py.File) -> None:
    file.copy(file["layers"], file, "_layer_checkpoint_dependencies")


def bushes(file: h5py.File) -> None:
    """Twenty groups, each in the one before under two names: a million paths."""
    group = file.create_group("layers/more")
    for _ in range(20):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


W = np.ones((2, 16), np.float32)
HUGE = (1 << 40, 16)
HDF5: list[tuple[str, Callable[[h5py.File], Any], str]] = [
    ("external link", linked(h5py.ExternalLink("/etc/hostname", "/x")), r"is a link to elsewhere \(ExternalLink\)"),
    ("soft link", linked(h5py.SoftLink("/layers/dense/vars/0")), r"is a link to elsewhere \(SoftLink\)"),
    ("virtual", virtual, "is a virtual dataset, whose data lies in other files"),
    ("external", replaced((2, 16), "f4", external=[("/etc/hostname", 0, 128)]), "has its data in another file"),
    ("gzip", replaced(data=W, compression="gzip"), "in chunks or through a filter; it must be in one piece. h5repack"),
    ("lzf", replaced(data=W, compression="lzf"), "in chunks or through a filter"),
    ("chunks", replaced((2, 16), "f4", chunks=(1, 4), maxshape=(None, None)), "in chunks or through a filter"),
    ("shape", replaced(data=W.T), r"must be of shape \(2, 16\); it is \(16, 2\)"),
    ("scalar", replaced(data=np.float32(1)), r"must be of shape \(2, 16\); it is \(\)"),
    ("empty", replaced(data=h5py.Empty("f4")), r"must be of shape \(2, 16\); it is None"),
    ("huge", replaced(HUGE, "f4", chunks=(1, 16)), "in chunks or through a filter"),
    ("huge in one piece", replaced(HUGE, "f4"), r"must be of shape \(2, 16\); it is \(1099511627776, 16\)"),
    ("never written", replaced((2, 16), "f4"), "takes 128 bytes, which the file does not have"),
    ("wide", replaced(data=W.astype("f8")), "must be float32; it is float64"),
    ("object", replaced((2, 16), h5py.string_dtype()), "must be float32; it is object"),
    ("vlen", replaced((2, 16), h5py.vlen_dtype("f4")), "must be float32; it is object"),
    ("reference", replaced((2, 16), h5py.ref_dtype), "must be float32; it is object"),
    ("compound", replaced((2, 16), [("a", "f4")]), r"must be float32; it is \[\('a', '<f4'\)\]"),
    ("type", linked(np.dtype("f4")), "is neither a group nor a dataset"),
    ("missing", lambda file: file.pop(KERNEL), f"has no {KERNEL!r}, kernel of layer 'rec'"),
    ("unknown", lambda file: file.create_dataset("layers/x/vars/0", data=W), "has 'layers/x/vars/0', and the config"),
    ("of no layer", lambda file: file.create_dataset("x", data=W), "has 'x', and the config has no weight there"),
    ("twice", twice, r"it has '\w+/.*' twice: '\w+/.*' is the same place in another Keras"),
    ("loop", loop, "more than 30000 objects, or deeper than 64"),
    ("bushes", bushes, "more than 30000 objects, or deeper than 64"),
]


@pytest.mark.parametrize(("change", "message"), [one[1:] for one in HDF5], ids=[one[0] for one in HDF5])
def test_weights_that_are_not_plain_arrays_of_the_model(path: Path, change: Any, message: str) -> None:
    with_weights(path, lambda file: change(file) and None)
    assert_refused(path, f"model.weights.h5 of '.*': .*{message}")


def test_a_huge_weight_that_config_and_file_agree_on(path: Path) -> None:
    """Neither takes more than a few bytes, and both say (4, 2**40)."""

    def change(file: h5py.File) -> None:
        for number, shape in enumerate([(4, 1 << 40), (1 << 40,)]):
            del file[f"layers/dense_1/vars/{number}"]
            file.create_dataset(f"layers/dense_1/vars/{number}", shape, "f4")

    with_config(path, lambda config: config["config"]["layers"][3]["config"].update(units=1 << 40))
    with_weights(path, change)
    assert_refused(path, r"'layers/dense_1/vars/0' takes 17592186044416 bytes, which the file does not have")


def test_weights_that_share_their_data(path: Path) -> None:
    """Many weights in the bytes of one: the file is small, and the model would be large."""
    model = everystep.Sequential([everystep.Input((100,)), *(layers.Dense(100) for _ in range(40))])
    model.save(path)

    def change(file: h5py.File) -> None:
        for number in range(1, 40):
            del file[f"layers/dense_{number}/vars/0"]
            file[f"layers/dense_{number}/vars/0"] = file["layers/dense/vars/0"]
        with h5py.File(small, "w") as copy:
            file.copy(file["layers"], copy)  # without what is no longer linked

    small = io.BytesIO()
    with_weights(path, change)
    write(path, members_of(path) | {"model.weights.h5": small.getvalue()})
    assert_refused(path, r"the weights take 1616000 bytes, and the file has \d+: they share data")


def test_weights_that_are_cut_off_or_no_hdf5(path: Path) -> None:
    members = members_of(path)
    whole = members["model.weights.h5"]
    for data in (whole[: len(whole) // 2], whole[:-100], b"", b"PK\x05\x06", whole[:200]):
        write(path, members | {"model.weights.h5": data})
        assert_refused(path, "is not an HDF5 file, or is damaged|which the file does not have")


def test_damaged_bytes_are_refused_or_change_no_more_than_numbers(path: Path) -> None:
    """Two bytes of the weights' file at a time take any value: the load ends in an error of ours, or in a model."""
    rng, members = np.random.default_rng(0), members_of(path)
    whole = members["model.weights.h5"]
    messages = []
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(whole), 2):
            data[place] = rng.integers(256)
        write(path, members | {"model.weights.h5": bytes(data)})
        try:
            load_model(path)
        except EverystepError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all("model.weights.h5 of" in message for message in messages)
