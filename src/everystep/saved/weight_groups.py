"""Where Keras 3 puts weights in `model.weights.h5`: by what holds what, and each class's number, not by names.

    layers/lstm/cell/vars/0                      an LSTM's weights are its cell's
    layers/lstm_1/cell/initial_state/vars/0      of everystep.keras: a trainable initial state
    layers/bidirectional/forward_layer/cell/vars/0
    layers/rnn/cell/cells/gru_cell_1/vars/0      the second GRUCell of a stack
    layers/multi_head_attention/key_dense/vars/1 a projection's bias
    layers/functional/layers/dense/vars/0        a Dense of a model in the model

What is in several places is stored at the first. Keras 2.12 and 2.13 wrote `_layer_checkpoint_dependencies` in the
place of `layers`, and counted each layer that has weights twice: dense, dense_2, dense_4. Attention's projections were
_query_dense and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from everystep.layers.base import Layer
from everystep.layers.composite import Composite
from everystep.layers.naming import snake_case
from everystep.layers.recurrent import Recurrent
from everystep.models import Model

RENAMED = {
    "_layer_checkpoint_dependencies": "layers",
    **{f"_{part}_dense": f"{part}_dense" for part in ("query", "key", "value", "output")},
}


def new_path(path: str) -> str:
    """Where Keras 3.15 has the weight that is there in an older file."""
    return "/".join(RENAMED.get(part, part) for part in path.split("/"))


class Group(NamedTuple):
    """A group of the file.

    Attributes:
        path: "layers/dense/"; the weights are in its "vars", numbered.
        name: of what it belongs to, for whoever reads the file.
        layer: that the weights are of.
        weights: their names in the layer, in order; most groups have none.
    """

    path: str
    name: str
    layer: Layer
    weights: list[str]

    @property
    def datasets(self) -> dict[str, str]:
        """The path of each weight -> its name in the layer."""
        return {f"{self.path}vars/{number}": name for number, name in enumerate(self.weights)}


def weight_groups(model: Model, counted_twice: bool = False) -> Iterator[Group]:
    """The groups of a built model, each layer's once.

    Args:
        counted_twice: as Keras 2.13 did.
    """
    seen: set[int] = set()

    def within(layers: Sequence[Layer], path: str, counted_twice: bool = False) -> Iterator[Group]:
        counts: Counter[str] = Counter()
        for layer in layers:
            kind = snake_case(layer.kind)
            number = counts[kind]
            counts[kind] += 2 if counted_twice and layer.weights else 1
            yield from of(layer, f"{path}{kind}_{number}/" if number else f"{path}{kind}/")

    def of(layer: Layer, path: str) -> Iterator[Group]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if isinstance(layer, Composite):
            yield Group(path, layer.name, layer, [])
            if isinstance(layer, Model):
                yield from within(layer.layers, f"{path}layers/", counted_twice)
            for attribute in layer.parts.values():
                part = getattr(layer, attribute)
                inside = within if isinstance(part, list) else of
                yield from inside(part, f"{path}{attribute}/")
            return
        names = list(layer.named_weights)
        if layer.groups_of_weights:
            yield Group(path, layer.name, layer, [])
            for part, group in layer.groups_of_weights.items():
                own = [name for name in names if name.startswith(f"{part}/")]
                if own:
                    yield Group(f"{path}{group}/", part, layer, own)
            return
        if not isinstance(layer, Recurrent):
            yield Group(path, layer.name, layer, names)
            return
        initial = [name for name in names if name.startswith("initial_")]
        yield Group(path, layer.name, layer, [])
        yield Group(f"{path}cell/", f"{snake_case(layer.kind)}_cell", layer, [n for n in names if n not in initial])
        if initial:
            yield Group(f"{path}cell/initial_state/", "initial_state", layer, initial)

    return of(model, "")
