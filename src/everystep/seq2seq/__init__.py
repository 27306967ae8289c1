"""Sequences to sequences: a model to train, and the text that goes in and comes out. Names are imported when first used.

`encoder_decoder` needs Keras (the extra `keras`), `Text` the library tokenizers (the extra `text`), and its `batches`
both; `Text.encode` and `Text.decode` go with a saved model to where there is no Keras.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "encoder_decoder": "everystep.seq2seq.model",
}

__all__ = ["encoder_decoder"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
