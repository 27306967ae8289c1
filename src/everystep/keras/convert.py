"""The same model with everystep's recurrent layers, or with Keras's own.

Each layer's serialized config is rewritten, class by class, and deserialized; then every variable is copied.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional, functional_like_constructor
from keras.src.saving.serialization_lib import SafeModeScope

from everystep.errors import OptionError, UnsupportedError
from everystep.keras.bidirectional import Bidirectional
from everystep.keras.cell import cells_of
from everystep.keras.containers import Sequential, TimeDistributed
from everystep.keras.gru import GRU
from everystep.keras.lstm import LSTM
from everystep.keras.recurrent import ADDITIONS, Recurrent
from everystep.keras.rnn import RNN
from everystep.keras.route import hard_sigmoid_keras2, is_replaceable
from everystep.keras.simple_rnn import SimpleRNN

Config = dict[str, Any]
ACTIVATIONS = ("activation", "recurrent_activation")  # where a layer's config names a function
OURS = {cls.__name__: cls for cls in (LSTM, GRU, SimpleRNN, RNN, Bidirectional, TimeDistributed)}
STOCK = {  # the class that replaces ours: the name ours is saved under -> the module of Keras's
    keras.saving.get_registered_name(cls): "keras" if cls is Sequential else "keras.layers"
    for cls in (*OURS.values(), Sequential)
}


def with_engine(model: keras.Model) -> keras.Model:
    """A new model with the same weights and compiled state, its recurrent layers ours; `model` is left as it is.

    Nested, shared and wrapped layers are replaced too, and what wraps them.

    Raises:
        UnsupportedError: the model cannot be rebuilt from its config, or its own code makes a stock recurrent layer.
    """
    _check(model)

    def swap(entry: Config) -> Config:
        cls = OURS.get(entry["class_name"])
        if cls is None or entry.get("module") != "keras.layers":
            return entry
        return {**entry, "module": cls.__module__, "registered_name": keras.saving.get_registered_name(cls)}

    converted = _rebuild(model, swap)
    _refuse_leftover(converted, is_replaceable, "everystep.keras.layers")
    return converted


def without_engine(model: keras.Model) -> keras.Model:
    """A new model with the same weights and compiled state, made of Keras's classes; `model` is left as it is.

    Saved, it opens where everystep is not installed.

    Raises:
        UnsupportedError: a layer uses what Keras's does not have, or the model cannot be rebuilt.
    """
    _check(model)
    for layer in model._flatten_layers():
        if isinstance(layer, (Recurrent, Bidirectional)):
            used = [option for option in ADDITIONS if getattr(layer, option, False)]
            if any(node.arguments.kwargs.get("resets") is not None for node in layer._inbound_nodes):
                used.append("resets")
            if used:
                raise UnsupportedError(
                    f"layer {layer.name!r} uses {', '.join(used)}, which Keras's {type(layer).__name__} does not have. "
                    "Build the model without it to move it to stock Keras."
                )

    def swap(entry: Config) -> Config:
        stock = STOCK.get(entry.get("registered_name", ""))
        if stock is None:
            return entry
        config = {key: value for key, value in entry["config"].items() if key not in ADDITIONS}
        return {**entry, "module": stock, "registered_name": None, "config": config}

    converted = _rebuild(model, swap)
    _refuse_leftover(converted, lambda layer: type(layer) in OURS.values(), "keras.layers")
    return converted


def model_from_config(config: Config, weights: list[np.ndarray[Any, Any]]) -> keras.Model:
    """A Keras model of a serialized config and its weights.

    Args:
        config: in Keras 3's format. Recurrent layers may be everystep's, an activation may be "hard_sigmoid_keras2".
        weights: in the order of `model.get_weights()`.
    """
    ours = {hard_sigmoid_keras2.__name__: keras.saving.serialize_keras_object(hard_sigmoid_keras2)}

    def find_activations(entry: Config) -> Config:
        if not isinstance(entry["config"], dict):  # a function, whose config is its name
            return entry
        found = {key: ours[entry["config"][key]] for key in ACTIVATIONS if entry["config"].get(key) in list(ours)}
        return {**entry, "config": entry["config"] | found}

    model = keras.saving.deserialize_keras_object(_map_entries(config, find_activations))
    model.set_weights(weights)
    return model


def _check(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise OptionError(f"expected a Keras model; got {type(model).__name__}")


def _rebuild(model: keras.Model, swap: Callable[[Config], Config]) -> keras.Model:
    """Keras clones the graph, of nested models too, and keeps shared layers shared; we clone each layer."""

    def clone(layer: keras.Layer) -> keras.Layer:
        return keras.saving.deserialize_keras_object(_map_entries(keras.saving.serialize_keras_object(layer), swap))

    is_graph = isinstance(model, Functional) and functional_like_constructor(type(model))
    with _live_objects(model):
        try:
            if is_graph or isinstance(model, keras.Sequential):
                rebuilt = keras.models.clone_model(model, clone_function=clone, recursive=True)
            else:
                rebuilt = clone(model)
        except (NotImplementedError, TypeError) as error:  # from Keras, when a class has no config or cannot be made
            raise UnsupportedError(
                f"{model.name!r} ({type(model).__name__}) cannot be rebuilt from its config. Give its class, and its "
                f"custom layers, get_config and from_config, or build it with the functional API. Keras says: {error}"
            ) from error
        _copy_state(model, rebuilt)
    return rebuilt


def _map_entries(value: Any, swap: Callable[[Config], Config]) -> Any:
    """value with `swap` applied to every serialized object in it, inner ones first."""
    if isinstance(value, dict):
        mapped = {key: _map_entries(inner, swap) for key, inner in value.items()}
        return swap(mapped) if "class_name" in mapped and "config" in mapped else mapped
    if isinstance(value, (list, tuple)):
        return type(value)(_map_entries(inner, swap) for inner in value)
    return value


@contextmanager
def _live_objects(model: keras.Model) -> Iterator[None]:
    """Keras finds the live model's functions and classes by their names; a lambda has one for the time.

    By its code alone, as Keras saves it, a lambda would come back without the globals it uses.
    """
    found = _custom_objects(model)
    lambdas = {name: symbol for name, symbol in found.items() if symbol.__name__ == "<lambda>"}
    try:
        for name, function in lambdas.items():
            function.__name__ = name
        # Nothing comes from a file: a lambda that only an object's own get_config knows may pass too.
        with keras.saving.CustomObjectScope(found), SafeModeScope(False):
            yield
    finally:
        for function in lambdas.values():
            function.__name__ = "<lambda>"


def _custom_objects(model: keras.Model) -> dict[str, Any]:
    """Every function and class that the live model uses and that is not Keras's, by the name Keras saves it under.

    A lambda, which Keras saves under no name, by a name of ours.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    left: list[Any] = [model]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            left.extend(value)
        elif isinstance(value, types.FunctionType) or (hasattr(value, "get_config") and not isinstance(value, type)):
            symbol = value if isinstance(value, types.FunctionType) else type(value)
            is_lambda = symbol.__name__ == "<lambda>"  # one from a file has Keras for its module
            if is_lambda or symbol.__module__.split(".")[0] != "keras":
                name = f"everystep_lambda_{len(found)}" if is_lambda else keras.saving.get_registered_name(symbol)
                if found.setdefault(name, symbol) is not symbol:
                    raise UnsupportedError(f"the model uses two different objects called {name!r}: rename one of them")
            if symbol is not value:
                # A method among the attributes is Keras's wrapper of build or the like.
                methods = {
                    key for key in vars(value) if isinstance(getattr(type(value), key, None), types.FunctionType)
                }
                left.extend(inner for key, inner in vars(value).items() if key not in methods)
        elif type(value).__name__ == "SerializableDict":  # what the model was compiled with
            left.append(value.config)
    return found


def _copy_state(old: keras.Model, new: keras.Model) -> None:
    """Weights, seeds, states of stateful layers and the optimizers, and what no config holds."""
    old_layers, new_layers = old._flatten_layers(), new._flatten_layers()
    if [v.shape for v in old.variables] != [v.shape for v in new.variables] or len(old_layers) != len(new_layers):
        raise UnsupportedError(
            f"{old.name!r} ({type(old).__name__}), rebuilt from its config, has other variables than before: "
            f"{len(new.variables)} for {len(old.variables)}. Give its class get_config and build_from_config, "
            "or build it with the functional API."
        )
    _assign(new.variables, old.variables)
    twins = {id(v): twin for v, twin in zip(old.variables, new.variables, strict=True)}
    for source, target in zip(old_layers, new_layers, strict=True):
        if isinstance(source, keras.layers.InputLayer):
            target.name = source.name  # Keras's clone is called after the tensor
        if isinstance(source, keras.layers.RNN) and source.states is not None:
            _assign(keras.tree.flatten(target.states), keras.tree.flatten(source.states))
        if hasattr(source, "use_cudnn"):
            target.use_cudnn = source.use_cudnn
        if isinstance(source, keras.layers.RNN):
            for cell, twin in zip(cells_of(source), cells_of(target), strict=True):
                for name in ("implementation", "dropout_mask_count"):  # how many dropout masks a call draws
                    if hasattr(cell, name):
                        setattr(twin, name, getattr(cell, name))
        if isinstance(source, keras.Model) and getattr(source, "optimizer", None) is not None:
            _copy_optimizer(source, target, twins)


def _copy_optimizer(old: keras.Model, new: keras.Model, twins: dict[int, Any]) -> None:
    """Gives `new` an optimizer like the live one, built on the same variables in the same order.

    Not from the compile config, out of which saving as .h5 takes the optimizer, nor built on what is trainable now,
    which may be other variables than when the optimizer was built: each moment must stay with its own variable.

    Args:
        twins: the id of each variable of the converted model -> the new model's variable for it.
    """
    if getattr(new, "optimizer", None) is None:
        raise UnsupportedError(
            f"{type(old).__name__} has a compile method of its own: give it get_compile_config and compile_from_config"
        )
    optimizer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(old.optimizer))
    if old.optimizer.built:
        moved = old.optimizer._trainable_variables
        if any(id(v) not in twins for v in moved):
            raise UnsupportedError(
                f"the optimizer of {old.name!r} was built on variables that are not the model's, so its state cannot "
                "be copied: compile the model again first"
            )
        optimizer.build([twins[id(v)] for v in moved])
    _assign(optimizer.variables, old.optimizer.variables)
    new.optimizer = optimizer
    if hasattr(new, "_compile_config"):  # a class with a compile method of its own may have none
        new._compile_config.config["optimizer"] = optimizer


def _assign(targets: list[Any], sources: list[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        # A copy: training donates an array's memory, so the two models must not share it.
        target.assign(np.array(keras.ops.convert_to_numpy(source)))
        target.trainable = source.trainable


def _refuse_leftover(model: keras.Model, is_left: Callable[[keras.Layer], bool], wanted: str) -> None:
    for layer in model._flatten_layers():
        if is_left(layer):
            raise UnsupportedError(
                f"layer {layer.name!r} is made by the code of a custom class, not from the model's "
                f"config, so it cannot be replaced: use {wanted}.{type(layer).__name__} in that code"
            )
