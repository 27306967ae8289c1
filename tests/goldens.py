"""The files of saved/golden/goldens.zip, which Keras 2 made: see make_goldens.py beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).parent / "saved" / "golden" / "goldens.zip"
REAL = (
    *("stack", "encoder_decoder", "shared_and_nested", "wrappers", "operations", "convolutions", "shapes"),
    *("masks", "more_operations"),
)
OTHERWISE = ("masks_of_keras_2",)  # in Keras 3, as `keras3_changes` says
MIMICKED = ("keras_2_0", "keras_2_3", "cudnn")


def unpacked(folder: Path, name: str) -> Path:
    """A file of the goldens, put into a folder."""
    with zipfile.ZipFile(GOLDENS) as archive:
        return Path(archive.extract(name, folder))


def inputs_and_outputs(folder: Path, case: str) -> tuple[list[Any], list[Any]]:
    """What Keras 2 was given, and what it returned."""
    with np.load(unpacked(folder, f"{case}.npz")) as arrays:
        inputs, outputs = (
            [arrays[name] for name in sorted(arrays, key=lambda n: int(n[1:])) if name[0] == letter] for letter in "xy"
        )
    return inputs, outputs
