"""Files that once broke the loader, found by `make fuzz`: each is now refused with an error of everystep's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import assert_refused, members_of, write

import everystep
from everystep import layers, load_model
from everystep.errors import OptionError, UnsupportedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model whose mask is computed by operations: NotEqual, Any."""
    x = everystep.Input((4, 2), name="x")
    everystep.Model(x, layers.LSTM(2, name="rec")(layers.Masking()(x))).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def with_entry(path: Path, kind: str, change: Callable[[Any], None]) -> None:
    """Changes the entry of that class in the config."""
    members = members_of(path)
    config = json.loads(members["config.json"])
    change(next(entry for entry in config["config"]["layers"] if entry["class_name"] == kind))
    write(path, members | {"config.json": json.dumps(config).encode()})


def test_an_operation_on_a_string(path: Path) -> None:
    """It was loaded, and failed in NumPy when it was run."""
    with_entry(path, "NotEqual", lambda entry: entry["inbound_nodes"][0]["args"].__setitem__(1, "Functional"))
    assert_refused(path, "is called on the string 'Functional'", UnsupportedError)


def test_an_option_of_an_operation_that_is_none(path: Path) -> None:
    with_entry(path, "Any", lambda entry: entry["config"].update(keepdims="not_equal_1"))
    model = load_model(path)
    with pytest.raises(OptionError, match=r"operation 'any.*' \(Any\) cannot be computed .*'keepdims': 'not_equal_1'"):
        model.predict(np.ones((1, 4, 2)))


def test_an_address_in_the_weights_that_is_larger_than_an_integer_of_the_machine(path: Path) -> None:
    """HDF5 asked for bytes beyond 2**63, and Python's OverflowError came out."""
    members = members_of(path)
    data = bytearray(members["model.weights.h5"])
    assert data[49] == 0xFF  # of an address in the superblock: none
    data[49] = 0
    write(path, members | {"model.weights.h5": bytes(data)})
    assert_refused(path, "model.weights.h5 of .* is not an HDF5 file, or is damaged: .*too large")


@pytest.mark.parametrize("dtype", ["1" * 5000 + ",f4", "4096,4096f4", "f4,f4", ["f4"], {"a": "f4"}])
def test_a_dtype_of_an_input_that_only_numpy_knows(path: Path, dtype: Any) -> None:
    """NumPy reads numbers in a string for a dtype with Python's parser: a SyntaxError came out."""
    with_entry(path, "InputLayer", lambda entry: entry["config"].update(dtype=dtype))
    assert_refused(path, "dtype .* is not one of bool, int8", UnsupportedError)
