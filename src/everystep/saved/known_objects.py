"""Objects that a config names besides layers. We only keep them, but `to_keras()` and `save` hand them on."""

from __future__ import annotations

from typing import Any

from everystep.errors import UnsupportedError
from everystep.layers.activations import REGISTERED
from everystep.layers.initializers import NAMES as INITIALIZERS
from everystep.layers.operations import BY_CLASS
from everystep.layers.operations.constants import CONSTANTS
from everystep.layers.registered import registered_class
from everystep.models.keras2_calls import MASK_OF
from everystep.models.reader import FUNCTIONAL, LAYERS, SEQUENTIAL

KNOWN = {
    *LAYERS,
    *FUNCTIONAL,
    *SEQUENTIAL,
    *BY_CLASS,
    *((None, kind) for kind in CONSTANTS),
    *(("keras.initializers", kind) for kind in INITIALIZERS),
    *(("keras.regularizers", kind) for kind in ("L1", "L2", "L1L2", "OrthogonalRegularizer")),
    *(("keras.constraints", kind) for kind in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")),
    ("keras", "DTypePolicy"),
    (None, "__keras_tensor__"),
    (None, MASK_OF),
    (None, "__numpy__"),  # an array of numbers, as Rescaling has
}
UNREAD = ("compile_config", "build_config")  # of training, and of what the graph says too


def refuse_unknown(config: Any) -> None:
    """Raises UnsupportedError where a config names a class or a function that is not one of `KNOWN`."""
    if isinstance(config, dict):
        _check(config)
        config = [inner for key, inner in config.items() if key not in UNREAD]
    if isinstance(config, list):
        for inner in config:
            refuse_unknown(inner)


def _check(entry: dict[str, Any]) -> None:
    named = [key for key in ("class_name", "registered_name", "module") if key in entry]
    kind = (entry.get("module"), entry.get("class_name"))
    if (
        not named
        or kind in KNOWN
        or registered_class(entry)
        or (kind[1] == "function" and entry.get("config") in REGISTERED)
    ):
        return
    raise UnsupportedError(
        f"the config names {kind[1]} of {kind[0] or entry.get('registered_name')}, which everystep does not know: it "
        "reads layers, initializers, regularizers and constraints of Keras's own"
    )
