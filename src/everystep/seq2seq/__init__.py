"""Sequences to sequences: a model to train, and the text that goes in and comes out.

`encoder_decoder` and `Text.batches` need Keras (the extra `keras`), `Text` the library tokenizers (the extra `text`).
`Text.encode` and `Text.decode` need no Keras: they go with a saved model to where there is none.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {  # imported when they are first used
    "Text": "everystep.seq2seq.text",
    "encoder_decoder": "everystep.seq2seq.model",
}

__all__ = ["Text", "encoder_decoder"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
