"""What every layer is: a name, weights, a config as in Keras, and two verbs with explicit state.

    outputs, state = layer.run(inputs, state)        whole sequences, (B,T,...)
    outputs_t, state = layer.step(inputs_t, state)   one time step of them, (B,...), without the time axis

Both take the state that the other returned, so a sequence may be cut anywhere: run on chunks and step by step give
the same bits as one run. `initial_state(B)` is the state before the first step, and so is None; a layer that
carries nothing has the state (). The state is new each time, and what was passed is left as it was.

Masks go beside the arrays: a layer that looks at one takes it as `mask`, (B,T) bool in run and (B) in step.
`compute_mask(inputs, mask)` is the mask of what it returns, in the same form, in run and in step alike: so
Masking and Embedding make a mask at a step too. A layer that cannot be stepped says why in `step_obstacle()`.

Called on symbolic tensors, `layer(x)` enters a call in the graph and returns tensors; called on arrays it builds
itself if need be, runs, and returns arrays. B batch, T time steps.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from everystep.errors import DtypeError, GraphError, OptionError, UnsupportedError
from everystep.layers.checks import converted, policy, require_arrays, shapes_of
from everystep.layers.initializers import Initializer
from everystep.layers.operation import Config
from everystep.layers.structure import flatten, map_leaves
from everystep.layers.tensor import Node, Tensor, has_tensor
from everystep.layers.weighted import Weighted

State = Any  # of one layer; () where it carries nothing


class Layer(Weighted):
    """The base of all layers.

    Args:
        name: in messages, configs and `get_layer`; by default the class's, numbered, as in Keras.
        dtype: "float32" or "float64": of the weights and of what the layer computes. Nothing is cast in between.
        trainable, activity_regularizer: kept for `to_keras()`; they change nothing here.
        input_shape, input_dim: the shape without the batch, or its only size; Sequential begins with such an Input.
    """

    module: ClassVar[str] = "keras.layers"
    our_module: ClassVar[str | None] = None  # where everystep.keras has a class of its own of this name
    call_arguments: ClassVar[tuple[str, ...]] = ("inputs",)  # in Keras's order
    call_flags: ClassVar[tuple[str, ...]] = ()  # of those, what is True or False and no array
    mask_arguments: ClassVar[tuple[str, ...]] = ()  # of those, arrays NAME whose own mask the call takes as NAME_mask
    groups_of_weights: ClassVar[dict[str, str]] = {}  # first part of a weight's name -> its group in Keras's files
    passes_mask: bool = True  # whether compute_mask is to be asked at all
    any_dtype: bool = False  # whether inputs may be of another dtype than the layer
    # Whether only some steps complete an output; the state's last array, `fresh` (B) bool, says of which rows the
    # newest step did. The others keep the last complete output, NaN before the first: see windows.py.
    own_clock: bool = False
    config_names: ClassVar[tuple[str, ...]] = ()  # the arguments, kept as attributes, in the order of Keras's config

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        activity_regularizer: Any = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(name, dtype)
        if unknown:
            raise OptionError(f"{type(self).__name__} has no argument {', '.join(map(repr, unknown))}")
        self.trainable = trainable
        self.activity_regularizer = activity_regularizer
        input_shape = input_shape if input_dim is None else (input_dim,)
        self.input_shape_argument = None if input_shape is None else tuple(input_shape)

    # ---- What a layer defines ----

    def build(self, input_shape: Any) -> None:
        """Makes the weights, for inputs of this shape."""

    def apply(self, inputs: Any) -> Any:
        """The outputs of a layer that carries no state."""
        raise NotImplementedError

    def apply_step(self, inputs_t: Any, **call: Any) -> Any:
        """`apply` of one step; the same function, where it does not count axes from the first one."""
        return self.apply(inputs_t, **call)

    def run(self, inputs: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """Whole sequences: what the layer returns, and the state after the last step.

        Raises:
            DtypeError: the inputs are no arrays.
        """
        require_arrays(self.name, inputs)
        with np.errstate(all="ignore"):  # what overflows, or has no value, is inf or nan, and no warning, as in Keras
            return self.apply(inputs, **call), ()

    def step(self, inputs_t: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """One time step, without the time axis: what the layer returns for it, and the state after it.

        Raises:
            UnsupportedError: `step_obstacle` says why. DtypeError: the inputs are no arrays.
        """
        self.check_step()
        require_arrays(self.name, inputs_t)
        with np.errstate(all="ignore"):
            return self.apply_step(inputs_t, **call), ()

    def advance(self, verb: str, state: State, mask: Any, call: dict[str, Any]) -> tuple[Any, Any, State]:
        """`run` or `step` inside a model: what the layer returns, its masks, and the state after it.

        Args:
            verb: "run" or "step".
            mask: that comes with the inputs, in their structure.
            call: the call's arguments by name.
        """
        call = dict(call)
        inputs = call.pop(self.call_arguments[0])
        if call.get("mask") is not None:
            mask = call["mask"]
        elif self.takes_implicit_mask(call):
            call["mask"] = mask
        outputs, state = getattr(self, verb)(inputs, state, **call)
        masks = self.compute_mask(inputs, mask) if self.passes_mask else None
        return outputs, masks, state

    def initial_state(self, batch_size: int) -> State:
        """Before the first step."""
        return ()

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask of the outputs, one for each where there are several; of arrays or of symbolic tensors."""
        return mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of what the layer returns, a list of shapes where it returns several."""
        return input_shape

    def output_words(self) -> list[str]:
        """What each returned tensor is, in a few words."""
        return ["output"]

    def output_dtype(self, inputs: Any) -> str:
        return self.dtype

    def get_config(self) -> Config:
        config: Config = {"name": self.name, "trainable": self.trainable, "dtype": policy(self.dtype)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = self.activity_regularizer
        for name in self.config_names:
            value = getattr(self, name)
            config[name] = value.get_config() if isinstance(value, Initializer) else copy.deepcopy(value)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Any:
        """A layer from what `get_config` returns, with new weights.

        Raises:
            UnsupportedError: a layer that it is made of is unknown, named by its path.
        """
        reader = importlib.import_module("everystep.models.reader")  # which knows all classes by name
        return reader.Reader().layer(cls, config, str(config.get("name")))

    def beyond_keras(self) -> bool:
        """Whether it has what Keras's class of this name does not have."""
        return False

    def serialized(self) -> Config:
        entry = super().serialized()
        return {**entry, **ours(self.kind, self.our_module)} if self.our_module and self.beyond_keras() else entry

    def takes_implicit_mask(self, call: dict[str, Any]) -> bool:
        """Whether a call without a mask uses the one that comes with the inputs."""
        return "mask" in self.call_arguments

    # ---- Calls ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self.bind(args, kwargs)
        if has_tensor(args, kwargs):
            return self._call_symbolically(call, args, kwargs)
        call = {
            name: value if name in self.call_flags else map_leaves(self._converted, value)
            for name, value in call.items()
            if value is not None
        }
        self.ensure_built_for(call)
        inputs = call.pop(self.call_arguments[0])
        return self.run(inputs, **call)[0]

    def ensure_built(self, inputs: Any) -> None:
        """Checks these arrays or tensors, and builds the layer for them unless it is built."""
        self.check(inputs)
        self.build_once(shapes_of(inputs))

    def ensure_built_for(self, call: dict[str, Any]) -> None:
        """`ensure_built` for a call; a layer of several arrays looks at all of them."""
        self.ensure_built(call[self.call_arguments[0]])

    def build_once(self, input_shape: Any) -> None:
        """Builds the layer for inputs of this shape unless it is built."""
        if not self.built:
            self.build(input_shape)
            self.built_shape = input_shape

    def check(self, inputs: Any) -> None:
        """Raises unless the layer takes these arrays or tensors; a layer adds what it asks of their shapes."""
        for leaf in flatten(inputs):
            if not self.any_dtype and str(leaf.dtype) != self.dtype:
                raise DtypeError(
                    f"layer {self.name!r} is {self.dtype} and its input is {leaf.dtype}; nothing is cast between "
                    f"layers. Give the layer, or the Input, the same dtype"
                )

    def check_call(self, call: dict[str, Any]) -> None:
        """Raises unless the layer takes the tensors of a call's other arguments."""

    def check_step(self) -> None:
        """Raises UnsupportedError where the layer cannot be stepped."""
        obstacle = self.step_obstacle()
        if obstacle:
            raise UnsupportedError(f"layer {self.name!r} cannot go one step at a time: {obstacle}")

    def _converted(self, value: Any) -> Any:
        """An array that the user passes in a direct call; real numbers of any kind become the layer's."""
        if value is None:  # one mask of several
            return None
        if isinstance(value, Sequence) or np.isscalar(value):
            raise DtypeError(f"layer {self.name!r} takes NumPy arrays; got {type(value).__name__}")
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise DtypeError(f"layer {self.name!r} takes arrays of real numbers; got {array.dtype}")
        if array.dtype.kind == "f" and not self.any_dtype:
            array = converted(f"layer {self.name!r}", array, self.dtype)
        return np.ascontiguousarray(array)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The call's arguments by name."""
        names = self.call_arguments
        if len(args) > len(names):
            raise OptionError(f"layer {self.name!r} takes {len(names)} arguments ({', '.join(names)}); got {len(args)}")
        call = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name != "training" and name not in names:
                raise OptionError(f"layer {self.name!r} has no call argument {name!r}; it has {', '.join(names)}")
            if name in call:
                raise OptionError(f"layer {self.name!r} was given {name} twice")
            call[name] = value
        for name in self.call_flags:
            if not isinstance(call.get(name), (bool, type(None))):
                raise OptionError(f"layer {self.name!r}: {name} must be True or False; got {call[name]!r}")
        if call.pop("training", None):
            raise UnsupportedError(
                f"layer {self.name!r} was called with training=True, and only runs. "
                "Train with model.to_keras(), or with the same code under everystep.keras"
            )
        if call.get(names[0]) is None:
            raise OptionError(f"layer {self.name!r} was called without its {names[0]}")
        return call

    def _call_symbolically(self, call: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = call[self.call_arguments[0]]
        for name, value in call.items():
            for leaf in flatten(value) if name not in self.call_flags else ():
                if not isinstance(leaf, Tensor) and (leaf is not None or value is inputs):
                    raise GraphError(
                        f"layer {self.name!r} was called with symbolic tensors, and with a {type(leaf).__name__} in "
                        f"its {name}: make that an Input of the model"
                    )
        mask = map_leaves(lambda tensor: tensor.mask, inputs)
        if call.get("mask") is not None:
            mask = call["mask"]
        elif self.takes_implicit_mask(call) and has_tensor(mask) and self.enters_mask(args, kwargs):
            kwargs = {**kwargs, "mask": mask}
        self.ensure_built_for(call)
        self.check_call(call)
        outputs = self.symbolic_call(call)
        if self.passes_mask:
            masks = self.compute_mask(inputs, mask)
            if masks is not None:
                for tensor, its_mask in zip(flatten(outputs), flatten(masks), strict=False):  # the first outputs'
                    tensor.mask = its_mask
        Node(self, args, kwargs, outputs)
        return outputs

    def enters_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the mask that comes with the inputs becomes an edge of the graph.

        As in Keras; it makes no difference to what runs, but it does to the order of the model's layers.
        """
        return not kwargs and len(args) == 1 and isinstance(args[0], Tensor)

    def symbolic_call(self, call: dict[str, Any]) -> Any:
        """Tensors that stand for what a call returns, whose other arguments may say how many."""
        return self.symbolic_outputs(call[self.call_arguments[0]])

    def symbolic_outputs(self, inputs: Any) -> Any:
        shapes = self.compute_output_shape(shapes_of(inputs))
        dtype = self.output_dtype(inputs)

        def tensors(shapes: Any) -> Any:
            return [tensors(one) for one in shapes] if isinstance(shapes, list) else Tensor(shapes, dtype, self.name)

        return tuple(tensors(shapes)) if isinstance(shapes, list) else tensors(shapes)


def ours(kind: str, module: str | None) -> Config:
    """What tells the serialized form of a class of everystep.keras from that of Keras's of the same name."""
    return {"module": module, "registered_name": f"everystep>{kind}"}
