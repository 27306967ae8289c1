"""Every kind of operation, by the name of Keras's class: a literal table, nothing is looked up elsewhere."""

from __future__ import annotations

from everystep.layers.operations.activating import ACTIVATING
from everystep.layers.operations.elementwise import ELEMENTWISE
from everystep.layers.operations.kind import Kind
from everystep.layers.operations.products import PRODUCTS
from everystep.layers.operations.reductions import REDUCTIONS
from everystep.layers.operations.shaping import SHAPING
from everystep.layers.operations.slicing import SLICING

KINDS: dict[str, Kind] = {**ELEMENTWISE, **ACTIVATING, **REDUCTIONS, **SHAPING, **SLICING, **PRODUCTS}
BY_CLASS = {(kind.module, name): name for name, kind in KINDS.items()}  # (module, class name) in a config -> its kind
