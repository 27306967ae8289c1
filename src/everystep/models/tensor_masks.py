"""Where a mask is kept while a graph runs: with the array, as in Keras, which makes a difference in two cases.

An operation that returns the very array it was given hands on its mask, even one that else makes an end of masks, as a
Reshape to the shape that is there (`Operation.returns_its_input`). And MultiHeadAttention takes the masks off what it
attends with (`Operation.unmasked`): whatever looks at those arrays after it, in the order in which Keras runs the
calls, sees none. Neither touches a mask that is an edge of the graph, as that of a layer called as `layer(x)` that has
a `mask` argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from everystep.layers.tensor import Node, Tensor


class TensorMasks:
    """The masks that go with a graph's tensors, of any kind: arrays, or what stands for them.

    Args:
        tensors, masks: the graph's inputs, and the mask of each or None.
    """

    def __init__(self, tensors: Iterable[Tensor], masks: Iterable[Any]) -> None:
        self._kept_with: dict[int, int] = {}  # a tensor whose array is another's -> that one
        self._found: dict[int, Any] = {}
        for tensor, mask in zip(tensors, masks, strict=True):
            self.put(tensor, mask)

    def of(self, tensor: Any) -> Any:
        """Its mask now; None where there is none, or it is no tensor."""
        return self._found.get(self._key(tensor))

    def put(self, tensor: Tensor, mask: Any) -> None:
        """Its mask from now on, unless it has one."""
        if mask is not None:
            self._found.setdefault(self._key(tensor), mask)

    def after(self, node: Node, before: Any, returned: Any) -> None:
        """To be told when a call has run, before its masks are put.

        Args:
            before, returned: the first array that it took and that it returned, or tensors for them.
        """
        for tensor in node.operation.unmasked(node):
            self._found.pop(self._key(tensor), None)
        if node.operation.in_call(node).returns_its_input(before, returned):
            self._kept_with[id(node.outputs[0])] = self._key(node.inputs[0])

    def _key(self, tensor: Any) -> int:
        return self._kept_with.get(id(tensor), id(tensor))
