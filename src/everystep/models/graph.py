"""A model's graph: which calls lead from its inputs to its outputs, in which order, and running them.

The order of the operations is Keras's, because the order of a model's weights follows from it: by their distance to
the outputs, the farthest first; among equals, as a search from the outputs backwards meets them.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from everystep.errors import GraphError
from everystep.layers.base import Layer, State
from everystep.layers.operation import Operation
from everystep.layers.structure import flatten, map_leaves
from everystep.layers.tensor import Node, Tensor
from everystep.layers.watching import WATCHER
from everystep.models.tensor_masks import TensorMasks


class Graph:
    """The calls between some tensors.

    Args:
        inputs, outputs: the tensors, flat.

    Attributes:
        nodes: every call that is needed, in the order in which Keras runs them: each after those it depends on.
        operations: what they call, in Keras's order.
        kept: what has been found out of it, by words for what that is, so as to find it once.
        unmasked_inputs: for each input, whether a call takes its mask off, so that it has none after a run.

    Raises:
        GraphError: an output does not follow from the inputs, or two layers have one name.
    """

    def __init__(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.kept: dict[str, Any] = {}
        found, met = _search(inputs, outputs)
        depths: dict[Operation, int] = {}
        node_depths: dict[Node, int] = {}
        inside = set(found)
        for node in reversed(found):
            depth = max(node_depths.get(node, 0), depths.get(node.operation, 0))
            depths[node.operation] = node_depths[node] = depth
            for parent in node.parents:
                if parent in inside:
                    node_depths[parent] = max(depth + 1, node_depths.get(parent, 0))
        for tensor in inputs:  # one that no output needs
            if tensor.history.operation not in depths and _is_input(tensor):
                depths[tensor.history.operation] = 0
                met[tensor.history.operation] = -1
                node_depths[tensor.history.operation.nodes[tensor.history.node_index]] = 0
        self.nodes = sorted(node_depths, key=lambda node: -node_depths[node])
        self.operations = sorted(depths, key=lambda operation: (-depths[operation], met[operation]))
        self._check_names()
        self.unmasked_inputs = self._unmasked_inputs()

    def _check_names(self) -> None:
        by_name: dict[str, Operation] = {}
        for operation in self.operations:
            if by_name.setdefault(operation.name, operation) is not operation:
                raise GraphError(f"two layers of one model have the name {operation.name!r}: give one another name")

    def _unmasked_inputs(self) -> list[bool]:
        masks = TensorMasks(self.inputs, [True] * len(self.inputs))
        for node in self.nodes:
            if node.inputs:
                masks.after(node, node.inputs[0], node.outputs[0])
        return [masks.of(tensor) is None for tensor in self.inputs]

    @cached_property
    def _calls(self) -> list[tuple[int, Node, dict[str, Any]]]:
        """All nodes but the inputs, with their places; and the arguments by name, of a layer's call."""
        given = {id(tensor) for tensor in self.inputs}
        return [
            (place, node, node.operation.bind(node.args, node.kwargs) if isinstance(node.operation, Layer) else {})
            for place, node in enumerate(self.nodes)
            if id(node.outputs[0]) not in given
        ]

    def run(
        self, arrays: list[Any], masks: list[Any], states: dict[int, State], verb: str = "run"
    ) -> tuple[list[Any], list[Any], dict[int, State]]:
        """The outputs, their masks, and the states after it, from arrays for the inputs.

        Args:
            arrays, masks: one for each input, a mask may be None.
            states: of every call that carries one, by its place in `nodes`; a call without starts from its own
                initial state.
            verb: "run" on whole sequences, or "step" on one time step of each.
        """
        found = {id(tensor): value for tensor, value in zip(self.inputs, arrays, strict=True)}
        their_masks = TensorMasks(self.inputs, masks)
        after: dict[int, State] = {}
        watcher = WATCHER.get()

        for place, node, bound in self._calls:
            operation = node.operation.in_call(node)
            if isinstance(operation, Layer):
                mask = map_leaves(their_masks.of, bound[operation.call_arguments[0]])
                call = {f"{name}_mask": their_masks.of(bound.get(name)) for name in operation.mask_arguments}
                call |= {name: _filled(found, given) for name, given in bound.items() if given is not None}
                if watcher is None:
                    outputs, its_masks, state = operation.advance(verb, states.get(place), mask, call)
                else:
                    made = partial(operation.advance, verb, states.get(place), mask)
                    outputs, its_masks, state = watcher.call(operation, operation.name, made, call)
                after[place] = state
            else:
                outputs, _ = getattr(operation, verb)(*_filled(found, node.args), **_filled(found, node.kwargs))
                its_masks = None
            returned = flatten(outputs)
            their_masks.after(node, found[id(node.inputs[0])], returned[0])
            for tensor, mask in zip(node.outputs, [] if its_masks is None else flatten(its_masks), strict=False):
                their_masks.put(tensor, mask)
            for tensor, array in zip(node.outputs, returned, strict=True):
                found[id(tensor)] = array
        return [found[id(t)] for t in self.outputs], [their_masks.of(t) for t in self.outputs], after

    def symbolic_outputs(self, inputs: list[Tensor], name: str) -> list[Tensor]:
        """Tensors for the outputs, of the sizes that follow from those of the tensors in the place of the inputs."""
        found: dict[int, Any] = {id(tensor): given for tensor, given in zip(self.inputs, inputs, strict=True)}
        for node in self.nodes:
            operation = node.operation
            if id(node.outputs[0]) in found:
                continue
            if isinstance(operation, Layer):
                call = operation.bind(node.args, node.kwargs)
                outputs = operation.symbolic_call({name: _filled(found, given) for name, given in call.items()})
            else:
                outputs = operation.symbolic_outputs(*_filled(found, node.args), **_filled(found, node.kwargs))
            found |= {id(old): new for old, new in zip(node.outputs, flatten(outputs), strict=True)}
        return [Tensor(found[id(t)].shape, t.dtype, name) for t in self.outputs]


def _filled(found: dict[int, Any], structure: Any) -> Any:
    """The structure with what was found in the place of each tensor."""
    return map_leaves(lambda leaf: found[id(leaf)] if isinstance(leaf, Tensor) else leaf, structure)


def _is_input(tensor: Tensor) -> bool:
    return not tensor.history.operation.nodes[tensor.history.node_index].inputs


def _search(inputs: list[Tensor], outputs: list[Tensor]) -> tuple[list[Node], dict[Operation, int]]:
    """The nodes from the inputs to the outputs, parents first; and when the search first met each operation."""
    given = {id(tensor) for tensor in inputs}
    nodes: list[Node] = []
    done: set[Node] = set()
    met: dict[Operation, int] = {}
    for output in outputs:
        # A stack of its own instead of recursion: a graph may be thousands of layers deep.
        stack: list[tuple[Tensor, bool]] = [(output, False)]
        while stack:
            tensor, parents_done = stack.pop()
            operation, node_index, _ = tensor.history
            node = operation.nodes[node_index]
            if parents_done:
                if node not in done:
                    done.add(node)
                    nodes.append(node)
                continue
            if node in done:
                continue
            if not node.inputs and id(tensor) not in given:
                raise GraphError(
                    f"the outputs depend on the input {tensor.name!r}, which is not among the model's inputs: "
                    f"{', '.join(repr(t.name) for t in inputs)}"
                )
            met.setdefault(operation, len(met))
            stack.append((tensor, True))
            if id(tensor) not in given:
                stack.extend((parent, False) for parent in reversed(node.inputs))
    return nodes, met
