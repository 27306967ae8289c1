"""A stream's state by name, and as bytes.

The bytes: MAGIC, VERSION (2 bytes), the header's length (4 bytes), the header, the states one after the other, and the
CRC-32 of all that (4 bytes); numbers are little-endian. The header is JSON: the fingerprint, batch_size, steps, and
name, dtype and shape of each state.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.tensor import DTYPES, Array
from everystep.models.model import Model
from everystep.models.stream_call import Call, Held

MAGIC, VERSION = b"everystep stream", 1
_LENGTHS, _CHECK = struct.Struct("<HI"), struct.Struct("<I")
_DTYPES = {dtype.str: dtype for dtype in (np.dtype(name).newbyteorder("<") for name in DTYPES)}  # as a header has them


class Header(NamedTuple):
    fingerprint: str
    batch_size: int
    steps: int
    states: list[tuple[str, str, list[int]]]  # name, dtype, shape


def named(calls: Iterable[Call]) -> dict[str, Held]:
    """Every state by its call and letter, "encoder/lstm/c"; a second call of one layer is "encoder/lstm:2"."""
    states: dict[str, Held] = {}
    taken: set[str] = set()
    for call in calls:
        all_held = call.all_held()
        if not all_held:
            continue
        name, number = call.name, 1
        while name in taken:
            number += 1
            name = f"{call.name}:{number}"
        taken.add(name)
        for held in all_held:
            states[f"{name}/{held.name}"] = held
    return states


def put(states: dict[str, Held], given: dict[str, Any]) -> None:
    """Takes numbers for all states, or for none if one does not fit."""
    if not isinstance(given, dict) or given.keys() != states.keys():
        came = ", ".join(map(repr, given)) if isinstance(given, dict) else type(given).__name__
        raise OptionError(f"state must be a dictionary of {', '.join(map(repr, states))}; got {came or 'none'}")
    for name, (_, now, _) in states.items():
        new = given[name]
        if not isinstance(new, np.ndarray) or new.dtype != now.dtype:
            raise DtypeError(f"state {name!r} must be {now.dtype}; got {getattr(new, 'dtype', type(new).__name__)}")
        if new.shape != now.shape:
            raise ShapeError(f"state {name!r} must be of shape {now.shape}; got {new.shape}")
    for name, (_, now, _) in states.items():
        np.copyto(now, given[name])


def fingerprint(model: Model, static: dict[str, Array]) -> bytes:
    """SHA-256 of a model's config and weights, and of static inputs."""
    found = hashlib.sha256(json.dumps(model.serialized(), sort_keys=True, default=str).encode())
    for name, array in [*model.named_weights.items(), *static.items()]:
        found.update(json.dumps([name, _little(array).dtype.str, array.shape]).encode())
        found.update(_little(array).tobytes())
    return found.digest()


def to_bytes(states: dict[str, Held], fingerprint: bytes, batch_size: int, steps: int) -> bytes:
    arrays = {name: _little(held.now) for name, held in states.items()}
    entries = [(name, array.dtype.str, list(array.shape)) for name, array in arrays.items()]
    header = json.dumps(Header(fingerprint.hex(), batch_size, steps, entries)._asdict()).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    blob = MAGIC + _LENGTHS.pack(VERSION, len(header)) + header + data
    return blob + _CHECK.pack(zlib.crc32(blob))


def from_bytes(blob: bytes) -> tuple[Header, dict[str, Array]]:
    """The header and the states.

    Raises:
        OptionError: the bytes are none of a stream, or damaged. DtypeError: they are no bytes.
    """
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise DtypeError(f"a stream's state is bytes, as to_bytes returns them; got {type(blob).__name__}")
    blob = bytes(blob)
    start = len(MAGIC) + _LENGTHS.size
    if blob[: len(MAGIC)] != MAGIC or len(blob) < start + _CHECK.size:
        raise OptionError("these are not the bytes of a stream's state, or only their beginning")
    version, length = _LENGTHS.unpack_from(blob, len(MAGIC))
    if version != VERSION:
        raise OptionError(f"these bytes are of version {version} of a stream's state; this everystep reads {VERSION}")
    body = blob[: -_CHECK.size]
    if _CHECK.unpack(blob[-_CHECK.size :])[0] != zlib.crc32(body):
        _damaged("their check sum is another, as if they were cut or changed")
    try:
        header = Header(**json.loads(body[start : start + length]))
        entries = [(str(name), _DTYPES[dtype], [int(n) for n in shape]) for name, dtype, shape in header.states]
    except (ValueError, TypeError, AttributeError, KeyError):
        _damaged("their header is not one")
    if not all(isinstance(n, int) and n >= 0 for n in (header.batch_size, header.steps)):
        _damaged("their header is not one")
    arrays: dict[str, Array] = {}
    at = start + length
    for name, dtype, shape in entries:
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or at + size > len(body):
            _damaged(f"state {name!r}, {dtype} of shape {shape}, does not fit in them")
        arrays[name] = np.frombuffer(body[at : at + size], dtype).reshape(shape).astype(dtype.newbyteorder("="))
        at += size
    if at != len(body):
        _damaged(f"{len(body) - at} bytes are left over")
    return header, arrays


def _little(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _damaged(reason: str) -> NoReturn:
    raise OptionError(f"these bytes of a stream's state are damaged: {reason}")
