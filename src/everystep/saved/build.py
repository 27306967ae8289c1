"""A model from a config that nobody vouches for: within bounds, without numbers, and refused with its reason."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from everystep.errors import EverystepError, FileError, GraphError
from everystep.layers.weighted import without_numbers
from everystep.models import Model
from everystep.models.keras2_config import is_keras2, keras3_config
from everystep.models.reader import from_serialized
from everystep.saved.known_objects import refuse_unknown

MOST = 3000  # layers and calls of a config: models are put together in a time that grows with their square


def built_model(config: dict[str, Any], version: str, where: str, numbers: bool = False) -> Model:
    """The model of a config.

    Args:
        config: {"class_name", "config", ...}, of Keras 2 or 3.
        version: of the Keras that wrote it.
        where: it is from, for messages.
        numbers: whether its weights are drawn; else they take no memory, until others are read.

    Raises:
        FileError: it is no config, or too large. UnsupportedError: a layer, by its path, or an option, is not
            supported. GraphError: its calls form no graph, or it does not know its inputs.
    """
    if _size(config) > MOST:
        raise FileError(f"{where} has {_size(config)} layers and calls of layers; at most {MOST} are read")
    try:
        if version[:2] in ("1.", "2.") or is_keras2(config):
            config = keras3_config(config, version)
        with nullcontext() if numbers else without_numbers():
            model = from_serialized(config)
        refuse_unknown(config)
        if not model.built:
            raise GraphError(f"model {model.name!r} does not know its inputs: build it before it is saved")
    except EverystepError as error:
        raise type(error)(f"{where}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FileError(f"{where} is not the config of a model: {type(error).__name__}: {error}") from error
    return model


def _size(config: Any) -> int:
    """How many layers and calls of layers a config holds."""
    if isinstance(config, dict):
        lists = [config[key] for key in ("layers", "inbound_nodes") if isinstance(config.get(key), list)]
        lists += [config["config"]] if isinstance(config.get("config"), list) else []  # a Sequential of Keras 2.0
        return sum(map(len, lists)) + sum(map(_size, config.values()))
    return sum(map(_size, config)) if isinstance(config, list) else 0
