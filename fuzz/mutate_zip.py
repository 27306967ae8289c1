"""A file of members that are changed, or of a zip that is."""

from __future__ import annotations

import io
import warnings
import zipfile

import mutate_hdf5
import mutate_json
from choices import Choices
from seeds import LEGACY, Members

NAMES = ["config.json", "metadata.json", "model.weights.h5", "../x", "/x", "assets/x", "model.weights.npz", "x/"]


def fuzzed(seeds: list[Members], choices: Choices) -> bytes:
    """A .keras file, or an .h5: one of the seeds with as many changes as there are choices for, at most 8."""
    seed = choices.one_of(seeds)
    if LEGACY in seed:
        return legacy(seed[LEGACY], choices)
    members = list(seed.items())
    method = choices.one_of([zipfile.ZIP_STORED] * 6 + [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    damage = choices.below(16)
    for _ in range(8):
        if not choices.left:
            break
        kind, index = choices.below(12), choices.below(len(members)) if members else 0
        if not members:
            break
        name, data = members[index]
        if kind < 6:
            members = [(n, mutate_json.mutated(d, choices) if n == "config.json" else d) for n, d in members]
        elif kind < 10:
            members = [(n, mutate_hdf5.mutated(d, choices) if n == "model.weights.h5" else d) for n, d in members]
        elif kind == 10:
            members[index] = (choices.one_of(NAMES), data) if choices.below(2) else (name, members[0][1])
        elif choices.below(2):
            del members[index]
        else:
            members.append((choices.one_of(NAMES), data))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in members:
            archive.writestr(name, data)
    return mutate_hdf5.bytes_changed(file.getvalue(), choices) if damage == 1 else file.getvalue()


def legacy(data: bytes, choices: Choices) -> bytes:
    """An .h5 file, changed in its config or elsewhere."""
    for _ in range(8):
        if not choices.left:
            break
        data = mutate_hdf5.mutated(data, choices) if choices.below(2) else mutate_hdf5.config_changed(data, choices)
    return data
