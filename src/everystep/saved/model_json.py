"""A model without its weights, as the JSON that Keras's `to_json` writes."""

from __future__ import annotations

import json

from everystep.errors import OptionError
from everystep.models import Model
from everystep.saved.build import built_model
from everystep.saved.keras_archive import written_config
from everystep.saved.safe_json import parse


def model_from_json(text: str) -> Model:
    """A model, with new weights, from what `to_json` of Keras 2.0 to 2.15, of tf.keras, of Keras 3 or of ours returns.

    Raises:
        FileError: it is no JSON of a model. UnsupportedError: a layer, by its path, or an option, is not supported.
    """
    if not isinstance(text, str):
        raise OptionError(f"model_from_json takes the text that to_json returns; got {type(text).__name__}")
    config = parse(text.encode(), "the JSON")
    return built_model(config, str(config.get("keras_version", "")), "the JSON", numbers=True)


def model_to_json(model: Model) -> str:
    """The model's config, which `keras.models.model_from_json` of Keras 3 reads."""
    return json.dumps(written_config(model.serialized()))
