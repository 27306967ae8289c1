"""Keras 3 with its recurrent layers replaced by everystep's: same arguments, same weights, every state in reach.

Code written for `tensorflow.keras` or `keras` works with the name replaced by `everystep.keras`: every public
name of Keras 3 is here, and is Keras's own but for the recurrent layers, what wraps one, and what loads a model.
"""

from typing import Any

from everystep.keras.namespace import alias_modules, check_keras, choose_backend, replaced_in

check_keras()
choose_backend()

import keras  # noqa: E402  (its backend is chosen when it is imported)

from everystep.keras import layers, models  # noqa: E402
from everystep.keras.containers import Sequential  # noqa: E402
from everystep.keras.convert import with_engine, without_engine  # noqa: E402
from everystep.keras.route import routes  # noqa: E402

saving = replaced_in(keras.saving, load_model=models.load_model)
alias_modules()

__all__ = ["Sequential", "layers", "models", "routes", "saving", "with_engine", "without_engine"]
__all__.extend(name for name in dir(keras) if name not in __all__ and name != "src" and not name.startswith("_"))


def __getattr__(name: str) -> Any:
    return getattr(keras, name)


def __dir__() -> list[str]:
    return __all__
