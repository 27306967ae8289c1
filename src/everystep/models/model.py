"""A model: layers called on one another, from inputs to outputs, under Keras's names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from everystep.errors import GraphError, OptionError, ShapeError, UnsupportedError
from everystep.layers.base import Layer, State
from everystep.layers.checks import require_arrays, shapes_of, sizes_fit, whole_number
from everystep.layers.composite import Composite
from everystep.layers.input import InputLayer
from everystep.layers.operation import Config, Operation
from everystep.layers.structure import flatten, pack
from everystep.layers.tensor import Array, Node, Tensor
from everystep.models import config as configs
from everystep.models import ragged
from everystep.models.graph import Graph
from everystep.models.input_cast import as_input, may_become
from everystep.models.inputs import standardize
from everystep.models.pickled import put_together, taken_apart
from everystep.models.progress import progress_bar
from everystep.models.summary import summary_text

if TYPE_CHECKING:
    from everystep.models.stream import Stream
    from everystep.states.trace import Trace


class Model(Composite):
    """Everything between some inputs and some outputs: Keras's functional Model, to run.

    A model is a layer too: called on tensors it takes its place in another model, with its weights.

    Args:
        inputs: a tensor of `Input`, or a list or dictionary of them.
        outputs: tensors that follow from them, in the structure in which `predict` returns arrays.
        name: as of a layer.
        trainable: kept for `to_keras()`.

    Raises:
        GraphError: the tensors do not form a graph.
    """

    module: ClassVar[str] = "keras.src.models.functional"
    call_arguments = ("inputs", "training", "mask")
    passes_mask = False  # in the graph, as in Keras; where it runs, each output has the mask of the layer it is from
    any_dtype = True
    _graph: Graph | None

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        for argument, structure in (("inputs", inputs), ("outputs", outputs)):
            for leaf in flatten(structure):
                if not isinstance(leaf, Tensor):
                    raise GraphError(
                        f"model {self.name!r}: {argument} must be symbolic tensors, as Input and layers give them; "
                        f"got {type(leaf).__name__}"
                    )
        for tensor in flatten(inputs):
            if not isinstance(tensor.history.operation, InputLayer):
                raise GraphError(
                    f"model {self.name!r}: {tensor!r} is not made by Input. Make an Input of that shape, and call the "
                    "layers on it again"
                )
        self._connect(inputs, outputs)

    def _connect(self, inputs: Any, outputs: Any) -> None:
        self.input_structure, self.output_structure = inputs, outputs
        self._graph = Graph(flatten(inputs), flatten(outputs))
        self.built_shape = shapes_of(self.inputs)

    @property
    def kind(self) -> str:
        return "Functional"

    # ---- Parts ----

    @property
    def graph(self) -> Graph:
        """The calls between the inputs and the outputs."""
        if self._graph is None:
            raise GraphError(
                f"model {self.name!r} does not know its inputs yet: begin with an Input, or call it on an array"
            )
        return self._graph

    @property
    def inputs(self) -> list[Tensor]:
        """The input tensors, flat."""
        return self.graph.inputs

    @property
    def outputs(self) -> list[Tensor]:
        """The output tensors, flat."""
        return self.graph.outputs

    @property
    def input(self) -> Any:
        """The inputs as they were passed to Model."""
        return self.input_structure

    @property
    def output(self) -> Any:
        """The outputs as they were passed to Model."""
        return self.output_structure

    @property
    def input_names(self) -> list[str]:
        return [tensor.history.operation.name for tensor in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """For each output, the name of the layer that returns it."""
        return [tensor.history.operation.name for tensor in self.outputs]

    @property
    def input_shape(self) -> Any:
        shapes = shapes_of(self.inputs)
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        shapes = shapes_of(self.outputs)
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def operations(self) -> list[Operation]:
        """The layers, and what masks are computed by, in Keras's order."""
        return self.graph.operations

    @property
    def layers(self) -> list[Layer]:
        """The layers in Keras's order, each once."""
        return [operation for operation in self.operations if isinstance(operation, Layer)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name, or by its place in `layers`.

        Raises:
            OptionError: there is none, or not one of the two is given.
        """
        if (name is None) == (index is None):
            raise OptionError(f"model {self.name!r}: get_layer takes a name or an index")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise OptionError(f"model {self.name!r} has {len(self.layers)} layers; there is none at {index}")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise OptionError(
            f"model {self.name!r} has no layer {name!r}; it has {', '.join(repr(layer.name) for layer in self.layers)}"
        )

    @property
    def inner(self) -> list[Layer]:
        return self.layers

    @property
    def what(self) -> str:
        return "model"

    # ---- Running ----

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", progress: bool = False) -> Any:
        """What Keras's predict returns: the outputs for x, in their structure. Prints nothing unless asked to.

        Args:
            x: an array, or a list of arrays, or a dictionary by the inputs' names; real numbers of any kind become
                the input's dtype. Fractions are rounded to it; a whole number that it cannot hold is refused, and so
                is a number beyond its range. In the place of an array may be a ragged batch: a list of sequences
                (T_b,...) of different lengths. It gives what an array padded on the right gives with a mask, to the
                bit; an output that has its steps comes as a list of arrays of these lengths.
            batch_size: how many rows to run at once, to bound the memory; None is all. The numbers do not depend
                on it.
            verbose: changes nothing.
            progress: whether tqdm shows on standard error how many rows are done; it moves on with each batch.

        Raises:
            ShapeError, DtypeError: x does not fit the inputs. UnsupportedError: a layer would read the padding.
            DependencyError: progress is asked for, and tqdm is not installed.
        """
        if batch_size is not None:
            batch_size = whole_number(self.name, "batch_size", batch_size)
        return self._predicted(x, None, batch_size, progress)

    def stream(self, batch_size: int = 1, static: dict[str, Any] | None = None) -> Stream:
        """Live sequences, to go on with one step at a time. A model may have many streams, which share its weights.

        Args:
            batch_size: B, how many sequences go side by side.
            static: the inputs that are not sequences to step through, by name, whole, with B rows; what depends on
                them alone is computed now, once. The others are streamed.

        Raises:
            UnsupportedError: a layer cannot go one step at a time; it is named, with the reason.
            OptionError, ShapeError, DtypeError: an argument does not fit.
        """
        from everystep.models.stream import Stream  # which streams models

        return Stream(self, batch_size, {} if static is None else static)

    def generate(
        self,
        static: Any = None,
        start: Any = None,
        end: int | None = None,
        *,
        max_length: int,
        method: str = "greedy",
        beam_width: int = 4,
        length_penalty: float = 0.0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: Any = None,
        return_scores: bool = False,
        feed: dict[str, str] | None = None,
    ) -> Any:
        """Tokens: what an output says comes next is fed to an input, step by step.

        Args:
            static: the inputs that are given whole, B rows each: an array if there is one, a list, or a dictionary by
                name. They are computed once. Sequences of different lengths may be a list, where layers mask padding.
            start: what is read before the first token: a token id, for all rows; or a prompt for each, in an array
                (B,n) or a list of sequences of ids. Prompts of one length are run at once.
            end: the token that ends a row; None: every row is max_length long.
            max_length: how many tokens a row has at most.
            method: "greedy", the most likely token at each step; "beam", the most likely sequence that a beam finds;
                "sample", tokens drawn by their probabilities.
            beam_width: of "beam": how many hypotheses go on at each step.
            length_penalty: of "beam": the sum of log-probabilities, divided by length**length_penalty, is maximised.
            temperature: of "sample": what log-probabilities are divided by.
            top_k, top_p: of "sample": only the k most likely tokens are drawn; only the fewest most likely ones whose
                probabilities add up to p. Both after temperature, k first.
            seed: of "sample": a whole number, of which each row gets a generator of its own, or one for each row; None
                is another each time.
            return_scores: whether (B) float64 comes too: the sum of the log-probabilities of a row's tokens, `end`
                among them; of "beam" divided as above.
            feed: {"input": "output"}, the pair by the names of their layers; None: the one that fits. The input is
                (B,T), ids of an Embedding, or (B,T,V), one-hot; the output (B,T,V), or (B,V) of the newest step.

        Returns:
            (B,L) int64, L the length of the longest row, without start; `end` where a row ended and after it.

        Raises:
            UnsupportedError: no output can feed an input; why, of each pair.
            OptionError, ShapeError, DtypeError: an argument does not fit.
        """
        from everystep.models.generation import generate  # which streams models

        return generate(
            self, static, start, feed, return_scores, end=end, max_length=max_length, method=method,
            beam_width=beam_width, length_penalty=length_penalty, temperature=temperature, top_k=top_k, top_p=top_p,
            seed=seed,
        )  # fmt: skip

    def forecast(
        self,
        x: Any,
        steps: int,
        feedback: Sequence[int | None] | Callable[[Array, int], Any] | None = None,
        future: Any = None,
        static: dict[str, Any] | None = None,
    ) -> Array:
        """Goes on from histories by the model's own outputs: each is fed back as the input's next step.

        It is what a loop of `predict` on the growing sequences returns, of the newest step each; each step is computed
        once, in a stream: see docs/forecasting.md.

        Args:
            x: (B,T,F) histories of B series, T from 1 on; or a list of arrays (T_b,F), of different lengths too.
            steps: how many to forecast.
            feedback: where the K columns of the output go: for each the number of a column of the input, or None for
                one that is not fed back. A function of the newest output (B,K) and of its number, from 0 on, may
                return the next step of the input instead, (B,F). None: all, in their order; then K is F.
            future: (B,steps,...) the input's columns that feedback does not name, in their order, known beforehand:
                future[:, k] stands beside what is fed back of the k-th forecast, and the last is not read.
            static: inputs that are no sequences, by name, as of `stream`.

        Returns:
            (B,steps,K), the k-th from 0 on being the output after k fed-back steps.

        Raises:
            UnsupportedError: the model has several outputs, or streamed inputs; or a layer that cannot go one step at
                a time, named. OptionError, ShapeError, DtypeError: an argument does not fit.
        """
        from everystep.models.forecast import forecast  # which streams models

        return forecast(self, x, steps, feedback, future, static)

    def trace(
        self, x: Any, batch_size: int | None = None, chunk: int | None = None, static: Sequence[str] = ()
    ) -> Trace:
        """h, c, gates and masks of every recurrent layer, for every row and step, and the weights of attention.

        They are computed when they are asked for: see `everystep.states.trace`, which has all names, and
        docs/traces.md. The layers compute what they do in `predict`, to the bit.

        Args:
            x: as of `predict`. Without batch_size and chunk it is copied where need be, so that it may change later.
            batch_size: how many rows to run at once, to bound the memory; None is all.
            chunk: how many steps to run at once, with the states carried on from chunk to chunk; None is all. For
                models that can be streamed.
            static: with chunk, the names of inputs that are not cut.

        Raises:
            ShapeError, DtypeError, OptionError: an argument does not fit. UnsupportedError: the model has no layer
            with states, or cannot go on from chunk to chunk, for a reason that is named.
        """
        trace: Trace = importlib.import_module("everystep.states.trace").of_model(self, x, batch_size, chunk, static)
        return trace

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self.bind(args, kwargs)
        if any(isinstance(leaf, Tensor) for leaf in flatten(list(call.values()))):
            return self._call_symbolically(call, args, kwargs)
        return self._predicted(call["inputs"], call.get("mask"), None)

    def _predicted(self, x: Any, mask: Any, batch_size: int | None, progress: bool = False) -> Any:
        """The outputs for what `predict` takes, with masks of the inputs if they are given."""
        arrays, masks, lengths, steps = self._prepared(x, mask)
        rows = len(arrays[0])
        size = max(1, rows) if batch_size is None else batch_size
        parts = []
        with progress_bar(progress, rows) as bar:
            for start in range(0, max(1, rows), size):
                some = slice(start, start + size)
                its_masks = [None if one is None else one[some] for one in masks]
                parts.append(self.graph.run([array[some] for array in arrays], its_masks, {})[:2])
                bar.update(len(arrays[0][some]))
        outputs, their_masks = parts[0] if len(parts) == 1 else _joined(parts)
        if any(its is not None for its in lengths):
            outputs = ragged.cut(self.graph, arrays, outputs, their_masks, lengths, steps)
        return self._packed(outputs)

    def _prepared(self, x: Any, mask: Any = None) -> tuple[list[Array], list[Any], list[Array | None], list[Any]]:
        """For each input an array, its mask or None, and the lengths of its sequences if it is ragged; and which
        steps the outputs have then, for `ragged.cut`."""
        arrays, lengths = self._standardized(x)
        masks = [None] * len(arrays) if mask is None else flatten(mask)
        if len(masks) != len(arrays):
            raise ShapeError(
                f"model {self.name!r} has {len(arrays)} inputs; got {len(masks)} masks. Pass None for none"
            )
        for k, (array, its) in enumerate(zip(arrays, lengths, strict=True)):
            if its is not None:
                masks[k] = ragged.own_steps(array, its, masks[k], f"input {self.inputs[k].name!r}")
        is_ragged = any(its is not None for its in lengths)
        steps = ragged.steps_of_outputs(self.graph, ragged.sources(arrays, lengths)) if is_ragged else []
        return arrays, masks, lengths, steps

    def _standardized(self, x: Any) -> tuple[list[Array], list[Array | None]]:
        return standardize(x, self.input_structure, self.name, self.graph)

    def _packed(self, outputs: list[Any]) -> Any:
        """The outputs in their structure; a list of one is that one, as in Keras."""
        structure = self.output_structure
        packed = pack(structure, outputs)
        return packed[0] if isinstance(structure, (list, tuple)) and len(structure) == 1 else packed

    def run(  # type: ignore[override]  # with its call's arguments by name
        self, inputs: Any, state: State = None, *, mask: Any = None
    ) -> tuple[Any, State]:
        self._check_arrays(inputs)
        outputs, _, after = self.advance("run", state, None, {"inputs": inputs, "mask": mask})
        return outputs, after

    def step(  # type: ignore[override]
        self, inputs_t: Any, state: State = None, *, mask: Any = None
    ) -> tuple[Any, State]:
        self.check_step()
        self._check_arrays(inputs_t)
        outputs, _, after = self.advance("step", state, None, {"inputs": inputs_t, "mask": mask})
        return outputs, after

    def _check_arrays(self, inputs: Any) -> None:
        """Raises unless there is an array for each input; at a step they have no time axis, so sizes are not asked."""
        given, wanted = flatten(inputs), len(self.graph.inputs)
        if len(given) != wanted:
            raise ShapeError(f"model {self.name!r} has {wanted} inputs; got {len(given)}")
        require_arrays(self.name, given)

    def advance(self, verb: str, state: State, mask: Any, call: dict[str, Any]) -> tuple[Any, Any, State]:
        graph = self.graph
        # As in Keras, an input whose mask is not given keeps the one that comes with it.
        came, given = (
            [None] * len(graph.inputs) if structure is None else flatten(structure)
            for structure in (mask, call.get("mask"))
        )
        masks = [one if other is None else other for one, other in zip(came, given, strict=True)]
        arrays = [
            as_input(self.name, tensor, array)
            for tensor, array in zip(graph.inputs, flatten(call["inputs"]), strict=True)
        ]
        outputs, their_masks, after = graph.run(arrays, masks, state or {}, verb)
        return self._packed(outputs), their_masks, after

    def initial_state(self, batch_size: int) -> State:
        """The state of every call that starts from its own, by its place in the graph."""
        states = {}
        for place, node in enumerate(self.graph.nodes):
            layer = node.operation
            if not node.inputs or not isinstance(layer, Layer):
                continue
            if layer.bind(node.args, node.kwargs).get("initial_state") is None:
                states[place] = layer.initial_state(batch_size)
        return states

    def step_obstacle(self) -> str | None:
        for node in self.graph.nodes:
            obstacle = node.operation.in_call(node).step_obstacle()
            if obstacle:
                return f"its layer {node.operation.name!r} cannot: {obstacle}"
        return None

    # ---- As a layer of another model ----

    def check(self, inputs: Any) -> None:
        graph = self.graph
        given = flatten(inputs)
        if len(given) != len(graph.inputs):
            raise ShapeError(f"model {self.name!r} has {len(graph.inputs)} inputs; got {len(given)}")
        for value, tensor in zip(given, graph.inputs, strict=True):
            if not may_become(str(value.dtype), tensor.dtype) or not sizes_fit(tuple(value.shape), tensor.shape):
                raise ShapeError(
                    f"model {self.name!r}: input {tensor.name!r} takes {tensor.dtype} of shape {tensor.shape}; "
                    f"got {value.dtype} of {tuple(value.shape)}"
                )

    def enters_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return True

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return before is returned

    def unmasked(self, node: Node) -> list[Tensor]:
        given = flatten(self.bind(node.args, node.kwargs)["inputs"])
        return [tensor for tensor, off in zip(given, self.graph.unmasked_inputs, strict=True) if off]

    def symbolic_outputs(self, inputs: Any) -> Any:
        return self._packed(self.graph.symbolic_outputs(flatten(inputs), self.name))

    # ---- Configs, pickle, and Keras ----

    def __reduce__(self) -> tuple[Any, ...]:
        return put_together, (type(self), taken_apart(self))

    def get_config(self) -> Config:
        """In Keras 3's format, as `keras.Model.get_config`."""
        return configs.functional_config(self)

    @classmethod
    def from_config(cls, config: Config) -> Model:
        """A model from what `get_config` returns, here, in Keras 3 or in Keras 2, with new weights.

        Raises:
            UnsupportedError: a layer is unknown, named by its path.
        """
        from everystep.models.reader import model_from_config  # which makes models

        return model_from_config(cls, config)

    def to_keras(self) -> Any:
        """A Keras model with the same weights, its LSTMs those of `everystep.keras`: to train, or to save.

        Raises:
            DependencyError: Keras is not installed.
        """
        weights = configs.keras_weights(self)
        convert = importlib.import_module("everystep.keras.convert")
        return convert.model_from_config(configs.for_keras(self), weights)

    def save(self, path: Any) -> None:
        """Writes the model to `path`, a .keras file, which Keras 3 opens; `everystep.load_model` reads it.

        What Keras's own layers do not have is written as a layer of `everystep.keras`, to be imported first there.
        Keras 2's `hard_sigmoid` becomes Keras 3's where the weights can make up for it, as
        `everystep.saved.keras3_changes.keras3_changes(model)` says in words.

        Raises:
            OptionError: the path does not end in .keras. GraphError: the model has no weights yet.
            UnsupportedError: it is made of models that share a layer.
        """
        importlib.import_module("everystep.saved.keras_archive").save_model(self, path)

    def load_weights(self, path: Any, by_name: bool = False) -> None:
        """Takes the weights in a file: a `.weights.h5` of Keras 3, a `.keras` file, or an `.h5` of Keras 2.

        Weights in an `.h5` of Keras 2 are matched to layers by name where the file has just the names of the model,
        else in their order, as in Keras.

        Args:
            by_name: of such a file: match by name always, and leave alone what is in the file or in the model only.

        Raises:
            GraphError: the model is not built. FileError: the file is damaged, or its weights do not fit the model,
                which keeps its own. OptionError: `by_name`, and the file has no names, or none that the model has.
        """
        self._require_built("load_weights")
        importlib.import_module("everystep.saved.load").load_weights(self, path, by_name)

    def save_weights(self, path: Any) -> None:
        """Writes the weights alone to `path`, a `.weights.h5` file, which Keras 3 loads into the same model.

        Raises:
            OptionError: the path does not end in .weights.h5. GraphError: the model has no weights yet.
        """
        importlib.import_module("everystep.saved.weights_file").save_weights(self, path)

    def to_json(self) -> str:
        """The config as JSON: `everystep.models.model_from_json`, and Keras 3's, make a model of it."""
        text: str = importlib.import_module("everystep.saved.model_json").model_to_json(self)
        return text

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints the layers, each tensor that they return, its shape, and how many parameters they have."""
        (print_fn or print)(summary_text(self))

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Says how to train."""
        raise UnsupportedError(HOW_TO_TRAIN)

    compile = evaluate = train_on_batch = fit


def _joined(parts: list[tuple[list[Any], list[Any]]]) -> tuple[list[Any], list[Any]]:
    """The outputs of several batches, and their masks, put together."""
    outputs, masks = (list(zip(*some, strict=True)) for some in zip(*parts, strict=True))
    joined = [np.concatenate(each) for each in outputs]
    return joined, [None if each[0] is None else np.concatenate(each) for each in masks]


HOW_TO_TRAIN = (
    "a model of everystep.models only runs; to train it, use model.to_keras(), or the same code under everystep.keras"
)
