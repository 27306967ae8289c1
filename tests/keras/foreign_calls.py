"""The engine's foreign calls in what JAX has traced: which arrays a gradient reads and writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from everystep.keras.adapters.jax import FLAGS, Inputs

READ = (*Inputs._fields, "h", "c", "tape", "d_h", "d_c", "d_gates", "d_last_h", "d_last_c")
WRITTEN = tuple(name for name in Inputs._fields if name not in FLAGS)
CALL = re.compile(r"custom_call @everystep_run_backward\(.*: \((.*)\) -> \((.*)\)$", re.MULTILINE)


class Gradient(NamedTuple):
    """A foreign call for the gradient of one run."""

    arriving: frozenset[str]  # of h, c, gates, last_h, last_c: those whose gradients it is given
    written: frozenset[str]  # the inputs whose gradients it is to compute


def gradients_in(function: Callable[..., Any], *args: Any) -> list[Gradient]:
    """Those that a call of the function makes, in their order."""
    found = []
    for match in CALL.finditer(jax.jit(function).lower(*args).as_text()):
        types = [re.findall(r"tensor<([^>]*)>", group) for group in match.groups()]
        runs = len(types[1]) // len(WRITTEN)
        assert [len(names) * runs for names in (READ, WRITTEN)] == [len(each) for each in types]
        for k in range(runs):
            read, written = (
                [n for n, shape in zip(names, each[k * len(names) :], strict=False) if not re.match("0x[a-z]", shape)]
                for names, each in zip((READ, WRITTEN), types, strict=True)
            )
            found.append(Gradient(frozenset(n[2:] for n in read if n.startswith("d_")), frozenset(written)))
    return found
