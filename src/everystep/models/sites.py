"""Where a model has states over time: every call of a recurrent layer, and of attention, with its place in time.

One call may be several sites: the two directions of a Bidirectional, the cells of a stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from everystep.layers import AdditiveAttention, Attention, Bidirectional, MultiHeadAttention, TimeDistributed
from everystep.layers.base import Layer
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten
from everystep.models.graph import Graph
from everystep.models.model import Model

ATTENTION = (Attention, AdditiveAttention, MultiHeadAttention)


class Since(NamedTuple):
    """When the first step of a sequence is: names of sites that have ended by then, and of some that begin with it."""

    after: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


BEGINNING = Since()


@dataclass(frozen=True)
class Site:
    """One cell in one call of its layer, or one call of an attention layer.

    Attributes:
        name: "lstm"; in a model in the model "encoder/lstm"; of a layer called twice "lstm:1" and "lstm:2"; of
            Bidirectional "bidirectional/forward_lstm"; of stacked cells "rnn/lstm_cell".
        path, call: of the layer, "encoder/lstm", and which of its calls, from 1 on.
        run, place: 1 for the backward layer of Bidirectional, else 0; which of the stacked cells.
        kind: the layer's or the cell's class.
        cell: its name in `everystep.cells.CELLS`; "" for attention.
        units: H, or how many heads.
        activation: of the candidate, and of h.
        backwards: whether the layer begins with the last step.
        within: whether it runs on each step of a row, in TimeDistributed.
        since: of its sequence, or of the query. key_since: of the key.
    """

    name: str
    path: str
    call: int
    run: int
    place: int
    kind: str
    cell: str = ""
    units: int = 1
    activation: str = ""
    backwards: bool = False
    within: bool = False
    since: Since = BEGINNING
    key_since: Since = BEGINNING


def sites(model: Model) -> list[Site]:
    """All of a model's, in the order in which it runs."""
    found: list[Site] = []
    _walk(model.graph, "", False, [BEGINNING] * len(model.inputs), found, Counter())
    calls = Counter((site.path, site.run, site.place) for site in found)
    names = {site.name: _name(site, calls) for site in found}

    def named(since: Since) -> Since:
        return Since(*(tuple(names[name] for name in some) for some in since))

    return [
        replace(site, name=names[site.name], since=named(site.since), key_since=named(site.key_since)) for site in found
    ]


def _name(site: Site, calls: Counter[Any]) -> str:
    """Its name, of that which `_walk` gave it, where every call is numbered."""
    once = calls[site.path, site.run, site.place] == 1
    return site.path + site.name.removeprefix(f"{site.path}:{site.call}") if once else site.name


def _walk(
    graph: Graph, path: str, within: bool, inputs: list[Since], found: list[Site], counts: Counter[str]
) -> list[Since]:
    """Appends the sites of a graph; of which sequences its outputs are, from those that its inputs are."""
    since = {id(tensor): one for tensor, one in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        if id(node.outputs[0]) in since:
            continue
        # A mask has the steps of what it masks, which is given too.
        given = [tensor for tensor in node.inputs if tensor.dtype != "bool"]
        together = _union([since[id(tensor)] for tensor in given])
        layer, where = node.operation, f"{path}{node.operation.name}"
        inside = within or isinstance(layer, TimeDistributed)
        while isinstance(layer, TimeDistributed):
            layer = layer.layer
            where += f"/{layer.name}"
        counts[where] += 1
        if isinstance(layer, Model):
            its = [BEGINNING] * len(layer.inputs)
            if layer is node.operation:
                its = [since[id(tensor)] for tensor in flatten(layer.bind(node.args, node.kwargs)["inputs"])]
            outputs = _walk(layer.graph, f"{where}/", inside, its, found, counts)
            outputs = outputs if layer is node.operation else [together] * len(node.outputs)
        elif isinstance(layer, (Recurrent, Bidirectional)):
            new = list(_recurrent(layer, where, counts[where]))
            found += [replace(site, within=inside, since=BEGINNING if inside else together) for site in new]
            its_own = Since((new[0].name,), ()), Since((), (new[0].name,))
            outputs = [together if inside else its_own[tensor.ndim > 2] for tensor in node.outputs]
        else:
            if isinstance(layer, ATTENTION):
                found.append(_attention(layer, where, counts[where], inside, [since[id(t)] for t in given]))
            summed = given and node.outputs[0].ndim < max(tensor.ndim for tensor in given)
            one = Since(_union([Since(together.beside), Since(together.after)]).after) if summed else together
            outputs = [one] * len(node.outputs)
        since |= {id(tensor): one for tensor, one in zip(node.outputs, outputs, strict=True)}
    return [since[id(tensor)] for tensor in graph.outputs]


def _recurrent(layer: Any, path: str, call: int) -> Iterator[Site]:
    runs = layer.inner if isinstance(layer, Bidirectional) else [layer]
    for run, each in enumerate(runs):
        name = f"{path}:{call}" + (f"/{each.name}" if len(runs) > 1 else "")
        names = [cell.name for cell in each.cells]
        for place, cell in enumerate(each.cells):
            own = cell.name if names.count(cell.name) == 1 else f"{cell.name}_{place}"
            yield Site(
                name=f"{name}/{own}" if each.stacked else name,
                path=path,
                call=call,
                run=run,
                place=place,
                kind=cell.kind,
                cell=cell.spec.name,
                units=cell.units,
                activation=cell.activation,
                backwards=each.go_backwards,
            )


def _attention(layer: Any, path: str, call: int, within: bool, given: list[Since]) -> Site:
    heads = getattr(layer, "num_heads", 1)
    query, key = given[0], given[min(1, len(given) - 1)]
    site = Site(f"{path}:{call}", path, call, 0, 0, layer.kind, units=heads, within=within)
    return site if within else replace(site, since=query, key_since=key)


def _union(some: list[Since]) -> Since:
    return Since(*(tuple(dict.fromkeys(name for one in some for name in one[k])) for k in range(2)))


def starts(all_sites: list[Site], lengths: dict[str, int]) -> dict[str, int]:
    """The first step of each site on one time line, on which a decoder begins where its encoder has ended.

    Args:
        lengths: T of each.
    """
    found: dict[str, int] = {}
    for site in all_sites:
        found[site.name] = start_of(site.since, found, lengths)
    return found


def start_of(since: Since, found: dict[str, int], lengths: dict[str, int]) -> int:
    """The first step of such a sequence, by those of the sites before it."""
    ends = [found[name] + lengths[name] for name in since.after]
    return max([0, *ends, *(found[name] for name in since.beside)])


def layer_names(model: Model) -> list[str]:
    """Every layer by its path, for messages."""
    found: list[str] = []
    for layer in model.layers:
        found.append(layer.name)
        if isinstance(layer, Model):
            found += [f"{layer.name}/{name}" for name in layer_names(layer)]
    return found


def is_attention(layer: Layer) -> bool:
    return isinstance(layer, ATTENTION)
