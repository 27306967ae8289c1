"""Files of weights alone, as Keras 3 writes them."""

from __future__ import annotations

import os
from os import PathLike

from everystep.errors import GraphError, OptionError
from everystep.models import Model
from everystep.saved.keras_archive import written_weights
from everystep.saved.replaced import replaced
from everystep.saved.weight_groups import weight_groups


def save_weights(model: Model, path: str | PathLike[str]) -> None:
    """Writes a model's weights; see `Model.save_weights`."""
    path = os.fspath(path)
    if not path.endswith(".weights.h5"):
        raise OptionError(f"weights are saved as a .weights.h5 file, as in Keras 3; got the path {path!r}")
    if not model.built:
        raise GraphError(f"model {model.name!r} has no weights yet, to be saved: call it on its inputs first")
    data = written_weights(weight_groups(model))
    with replaced(path) as unfinished, open(unfinished, "wb") as file:
        file.write(data)
