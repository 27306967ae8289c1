"""Layers that are made of layers, which hold their weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.checks import dtype_name, require_list
from everystep.layers.naming import with_article
from everystep.layers.operation import Config
from everystep.layers.structure import map_leaves


class Composite(Layer):
    """The base of models and of layers that wrap others. Its weights are theirs, in their order."""

    parts: ClassVar[dict[str, str]] = {}  # an argument that takes a layer, or a list of them -> the attribute with it

    @property
    def inner(self) -> list[Layer]:
        """The layers that it is made of, in Keras's order."""
        found: list[Layer] = []
        for attribute in self.parts.values():
            part = getattr(self, attribute)
            found += part if isinstance(part, list) else [part]
        return found

    def flat_layers(self) -> dict[str, Layer]:
        """The layers that hold weights themselves, each once, by the names that lead there: "encoder/lstm"."""
        found: dict[str, Layer] = {}
        seen: set[int] = set()
        for layer in self.inner:
            within = layer.flat_layers() if isinstance(layer, Composite) else {"": layer}
            for path, one in within.items():
                if id(one) not in seen:
                    seen.add(id(one))
                    found[f"{layer.name}/{path}".rstrip("/")] = one
        return found

    # ---- Weights ----

    @property
    def named_weights(self) -> dict[str, Array]:
        """Every weight by layer and name, "encoder/lstm/kernel", in Keras's order; read-only views."""
        return {
            f"{path}/{name}": weight
            for path, layer in self.flat_layers().items()
            for name, weight in layer.named_weights.items()
        }

    def get_weights(self) -> list[Array]:
        return [weight for layer in self.flat_layers().values() for weight in layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        self._require_built("set_weights")
        require_list(f"{self.what} {self.name!r}", weights)
        layers = list(self.flat_layers().values())
        counts = [len(layer.weights) for layer in layers]
        if len(weights) != sum(counts):
            raise ShapeError(f"{self.what} {self.name!r} has {sum(counts)} weights; got {len(weights)}")
        before = [layer.get_weights() for layer in layers]
        try:
            at = 0
            for layer, count in zip(layers, counts, strict=True):
                layer.set_weights(list(weights[at : at + count]))
                at += count
        except Exception:  # all or nothing
            for layer, old in zip(layers, before, strict=True):
                layer.set_weights(old)
            raise

    def count_params(self) -> int:
        self._require_built("count_params")
        return sum(layer.count_params() for layer in self.flat_layers().values())

    @property
    def what(self) -> str:
        """What messages call it."""
        return "layer"

    # ---- Config ----

    def beyond_keras(self) -> bool:
        return any(layer.beyond_keras() for layer in self.inner)

    def get_config(self) -> Config:
        written = {
            argument: map_leaves(lambda layer: layer.serialized(), getattr(self, attribute))
            for argument, attribute in self.parts.items()
        }
        return {**super().get_config(), **written}


def inner_layer(owner: str, layer: Any, kinds: tuple[type, ...], wanted: str) -> Any:
    """A layer that another one is made of.

    Args:
        owner: the class of the other one, for the message.
        kinds: the classes that it may be of.
        wanted: those in words.

    Raises:
        OptionError: it is no layer. UnsupportedError: it is one of another class.
    """
    if not isinstance(layer, Layer):
        raise OptionError(f"{owner} takes {wanted}; got {type(layer).__name__}")
    if not isinstance(layer, kinds):
        raise UnsupportedError(
            f"{owner} takes {wanted}; got layer {layer.name!r}, {with_article(type(layer).__name__)}"
        )
    return layer


def one_dtype(owner: str, dtype: Any, layers: Sequence[Layer]) -> Any:
    """The dtype of what is made of these layers, which is theirs.

    Raises:
        OptionError: they differ, or it was given another one.
    """
    dtypes = {layer.dtype for layer in layers} | ({dtype_name(owner, dtype)} if dtype is not None else set())
    if len(dtypes) > 1:
        raise OptionError(f"{owner} and what it is made of must be of one dtype; got {', '.join(sorted(dtypes))}")
    return dtypes.pop()


def afresh(layer: Layer, name: str) -> Any:
    """A copy of a layer, under another name, that has no weights yet."""
    twin = copy.deepcopy(layer)
    twin.name = name
    for one in (twin, *(twin.flat_layers().values() if isinstance(twin, Composite) else ())):
        one._weights, one.built_shape = {}, None
    return twin
