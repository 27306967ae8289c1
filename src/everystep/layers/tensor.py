"""What a model's graph is made of before any numbers flow: symbolic tensors, and the calls that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from everystep.layers.structure import flatten

if TYPE_CHECKING:
    from everystep.layers.operation import Operation

Array = NDArray[Any]
Shape = tuple[int | None, ...]


class History(NamedTuple):
    """Where a tensor comes from: output number `tensor_index` of call number `node_index` of `operation`."""

    operation: Operation
    node_index: int
    tensor_index: int


class Tensor:
    """A tensor of a model before it has numbers.

    Attributes:
        shape: None where a size is not known, as that of the batch.
        dtype: by name, such as "float32".
        name: of the layer that returns it.
        history: how it is made.
        mask: the mask that goes with it, (B,T) bool, a tensor too; None where there is none.
    """

    history: History

    def __init__(self, shape: Shape, dtype: str, name: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.mask: Tensor | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Tensor of {self.name!r}, shape {self.shape}, {self.dtype}>"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self!r} has no numbers: make a Model of it, and call its predict with arrays")

    def __iter__(self) -> Any:
        raise TypeError(
            f"the layer {self.name!r} returns one tensor, not several. "
            "An LSTM returns its states too with return_state=True, and more with its other return_ options"
        )


class Node:
    """One symbolic call of an operation, entered in its `nodes`.

    Attributes:
        operation: what was called.
        args, kwargs: what it was called with; the tensors in them are the graph's edges.
        inputs: those tensors, in order.
        outputs: the tensors that came, flat.
    """

    def __init__(self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.inputs: list[Tensor] = [
            leaf for value in (*args, *kwargs.values()) for leaf in flatten(value) if isinstance(leaf, Tensor)
        ]
        self.outputs: list[Tensor] = flatten(outputs)
        for index, tensor in enumerate(self.outputs):
            tensor.history = History(operation, len(operation.nodes), index)
        operation.nodes.append(self)

    @property
    def parents(self) -> list[Node]:
        """The nodes whose outputs this one takes."""
        return [tensor.history.operation.nodes[tensor.history.node_index] for tensor in self.inputs]


def has_tensor(*values: Any) -> bool:
    """Whether any of these, or anything nested in them, is a symbolic tensor."""
    return any(isinstance(leaf, Tensor) for value in values for leaf in flatten(value))
