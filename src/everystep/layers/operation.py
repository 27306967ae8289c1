"""What a graph is made of: operations, which are called on tensors and return tensors."""

from __future__ import annotations

from typing import Any, ClassVar

from everystep.errors import GraphError, OptionError
from everystep.layers.naming import snake_case, unique_name
from everystep.layers.registered import registered_kind, written_names
from everystep.layers.tensor import Node, Tensor

Config = dict[str, Any]


class Operation:
    """What a graph is made of: a layer, or a function between the layers."""

    module: ClassVar[str]  # where Keras has it
    read_as: Config | None = None  # of a registered class: {"module", "registered_name"} where it was read

    def __init__(self, name: str | None) -> None:
        self.name = unique_name(snake_case(self.kind)) if name is None else name
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise OptionError(f"a layer's name must be a string that is not empty and holds no '/'; got {name!r}")
        self.nodes: list[Node] = []

    @property
    def kind(self) -> str:
        """The name of Keras's class."""
        return registered_kind(type(self)) or type(self).__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Of symbolic tensors: tensors, and a node. Of arrays: arrays."""
        raise NotImplementedError

    def symbolic_outputs(self, *args: Any) -> Any:
        """Tensors that stand for what a call on the tensors in `args` returns."""
        raise NotImplementedError

    @property
    def takes_newest(self) -> bool:
        """Whether, of a sequence, it returns the last step alone, without a time axis."""
        return False

    def in_call(self, node: Node) -> Operation:
        """What to ask about one of its calls: itself, unless what it says depends on the call."""
        return self

    def arguments(self, *args: Any, **kwargs: Any) -> list[Any]:
        """A call's arguments in order, of what is no layer."""
        raise NotImplementedError

    def step_obstacle(self) -> str | None:
        """Why one time step cannot give what a whole sequence gives; None where it can."""
        return None

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        """Whether Keras's, on JAX, returns the very array that it was given, so that this one's mask stays with it.

        Args:
            before, returned: the first array that was given and that is returned, or symbolic tensors for them.
        """
        return False

    def unmasked(self, node: Node) -> list[Tensor]:
        """Of a call's tensors those that Keras takes the mask off, for all that looks at them afterwards."""
        return []

    def get_config(self) -> Config:
        """The constructor's arguments, as in the config of Keras's class of that name."""
        raise NotImplementedError

    def serialized(self) -> Config:
        """{"module", "class_name", "config", "registered_name"}, as Keras writes it."""
        registered = self.kind if self.module.startswith("keras.src") else None
        names: Config = written_names(self) or {"module": self.module, "registered_name": registered}
        return {"class_name": self.kind, **names, "config": self.get_config()}

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: all but the calls, which belong to the models they are in."""
        return {**self.__dict__, "nodes": []}

    @property
    def output(self) -> Any:
        """What the layer returned, if it was called on symbolic tensors once."""
        outputs = self._only_node("output").outputs
        return outputs[0] if len(outputs) == 1 else list(outputs)

    @property
    def input(self) -> Any:
        """What the layer was called on, if it was called on symbolic tensors once."""
        inputs = self._only_node("input").inputs
        return inputs[0] if len(inputs) == 1 else list(inputs)

    def _only_node(self, wanted: str) -> Node:
        if len(self.nodes) != 1:
            raise GraphError(f"layer {self.name!r} has no single {wanted}: it is called {len(self.nodes)} times")
        return self.nodes[0]


def given(scope: dict[str, Any], *without: str) -> Config:
    """A constructor's arguments by name, from its `locals()`, those in `options` among them."""
    left_out = ("self", "__class__", "options", *without)
    return {**{name: value for name, value in scope.items() if name not in left_out}, **scope["options"]}
