"""Where each layer can stand: what it is called on, and which of its options go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

RECURRENT = ("LSTM", "GRU", "SimpleRNN")
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
MERGES = ("Add", "Average", "Multiply", "Maximum", "Minimum", "Subtract")
WINDOWS = ("Conv1D", "SeparableConv1D", "DepthwiseConv1D", "MaxPooling1D", "AveragePooling1D")
ON_VECTORS_TOO = (
    "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Dropout", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization", "Identity", "UnitNormalization", "Rescaling", "LayerNormalization",
    "BatchNormalization", "Flatten",
)  # fmt: skip


def masked(tensor: Any) -> bool:
    return getattr(tensor, "_keras_mask", None) is not None


class Placing:
    """Tensors to go on from, and each kind of layer on top of them."""

    target: Any
    met: bool
    wanted: str  # the option that must stay as it was drawn
    batch_size: int | None
    options: Callable[..., dict[str, Any]]
    note: Callable[[str, dict[str, Any]], None]

    def __init__(self, draw: Callable[[Any], Any], chain: bool) -> None:
        self.draw, self.chain = draw, chain
        self.inputs: list[Any] = []
        self.results: list[Any] = []  # tensors that could be outputs
        self.taken: set[int] = set()
        self.layers: list[Any] = []
        self.again: list[tuple[Any, Any]] = []  # layers that may be called again, with what they were called on
        self.hits: set[Any] = set()
        self.stateful = False
        self.closed: set[int] = set()  # results that nothing goes on from

    # ---- Tensors ----

    def fresh(self, shape: Any, dtype: str = "float64") -> Any:
        """A new Input."""
        if self.chain and self.inputs:
            reject()
        tensor = keras.Input(tuple(shape), batch_size=self.batch_size, dtype=dtype)
        self.inputs.append(tensor)
        return tensor

    def took(self, *tensors: Any) -> None:
        self.taken |= {id(tensor) for tensor in tensors}

    def gave(self, outputs: Any) -> None:
        self.results += keras.tree.flatten(outputs)

    def _of_rank(self, rank: int, shape: Callable[[], Any], new: bool) -> Any:
        if self.chain and self.results:
            x = self.results[-1]
            if len(x.shape) != rank or new or id(x) in self.closed:
                reject()
            return x
        known = [t for t in self.results if len(t.shape) == rank and t.dtype == "float64" and min(t.shape[1:]) > 0
                 and id(t) not in self.closed]  # fmt: skip
        if new or not known or self.draw(st.integers(0, 2)) == 0:
            return self.fresh(shape())
        return self.draw(st.sampled_from(known))

    def sequence(self, new: bool = False) -> Any:
        return self._of_rank(3, lambda: (self.draw(st.integers(5, 7)), self.draw(st.sampled_from([2, 3, 4]))), new)

    def vector(self) -> Any:
        return self._of_rank(2, lambda: (self.draw(st.integers(1, 4)),), False)

    def like(self, x: Any) -> Any:
        """Another tensor of this shape."""
        return self.fresh(x.shape[1:])

    def with_mask(self, x: Any, how: str) -> Any:
        """x with or without a mask; it has one if it came with one."""
        if how == "implicit" and not masked(x):
            return self.call("Masking", self.options("Masking"), x)
        if how != "implicit" and masked(x):
            return self.sequence(new=True)
        return x

    # ---- Layers ----

    def make(self, kind: str, chosen: dict[str, Any], **parts: Any) -> Any:
        self.note(kind, chosen)
        arguments = {name: v for name, v in chosen.items() if not name.startswith("call: ")} | parts
        if kind not in ("SpatialDropout1D",):
            arguments["dtype"] = "float64"
        return getattr(keras.layers, kind)(**arguments)

    def call(self, kind: str, chosen: dict[str, Any], x: Any, *args: Any, parts: Any = None, **kwargs: Any) -> Any:
        layer = self.make(kind, chosen, **(parts or {}))
        y = layer(x, *args, **kwargs)
        self.layers.append(layer)
        self.took(*keras.tree.flatten([x, *args, *kwargs.values()]))
        if not args and not kwargs and not isinstance(x, list) and x.dtype == "float64" and not chosen.get("stateful"):
            self.again.append((layer, x))
        self.gave(y)
        return y

    def place(self, kind: str) -> None:
        """A layer of this kind, on tensors that fit."""
        if kind in CELLS or kind == "StackedRNNCells":
            self.rnn(kind)
        elif kind in RECURRENT:
            self.recurrent(kind)
        elif kind in MERGES or kind == "Concatenate":
            self.merge(kind)
        elif kind in WINDOWS:
            self.windows(kind)
        elif kind in ("Attention", "AdditiveAttention"):
            self.attention(kind)
        else:
            special = {"RNN": self.rnn, "Bidirectional": self.bidirectional, "TimeDistributed": self.each_step,
                       "MultiHeadAttention": self.heads, "Embedding": self.embedding, "RepeatVector": self.repeat,
                       "Dot": self.dot, "Normalization": self.normalization}  # fmt: skip
            special[kind]() if kind in special else self.simple(kind)

    def simple(self, kind: str) -> None:
        on_vector = kind in ON_VECTORS_TOO and self.target_kind() != kind and self.draw(st.integers(0, 3)) == 0
        chosen = self.options(kind)
        x = self.vector() if on_vector else self.sequence()
        call = {}
        how = chosen.get("call: mask")
        if how is not None:
            x = self.with_mask(x, how) if not on_vector else x
        if how == "explicit":
            call["mask"] = self.fresh(x.shape[1:] if kind == "Softmax" else x.shape[1:2], "bool")
        if kind == "Softmax" and masked(x):
            reject()
        if kind == "Permute" and chosen["dims"] == (1, 2):  # on some of Keras's backends that keeps the mask
            x = self.with_mask(x, "none")
        T, F = x.shape[1], x.shape[-1]
        made = dict(chosen)
        if kind == "Reshape":
            shapes = {"(-1, 1)": (-1, 1), "(-1, F)": (-1, F), "(F, -1)": (F, -1), "(-1,)": (-1,)}
            made = {"target_shape": shapes[made["target_shape"]]}
        if made.get("noise_shape") and len(x.shape) == 3:
            made["noise_shape"] = (None, 1, None)
        elif "noise_shape" in made:
            made["noise_shape"] = chosen["noise_shape"] = None
        if kind == "LayerNormalization" and on_vector and chosen["axis"] == [1, 2]:
            made["axis"] = chosen["axis"] = -1
        if kind == "Cropping1D" and T is not None and T < 4:
            x = self.sequence(new=True)
        y = self.called_as(kind, chosen, made, x, **call)
        if kind == "Softmax" and call:
            self.closed.add(id(y))  # whose mask is of another shape than masks of steps

    def called_as(self, kind: str, chosen: dict[str, Any], made: dict[str, Any], x: Any, **call: Any) -> Any:
        """`call`, counting what was chosen, of a layer that is made with something else."""
        return self.call(kind, chosen, x, parts={k: v for k, v in made.items() if not k.startswith("call: ")}, **call)

    def target_kind(self) -> str | None:
        return None if self.target is None else self.target.kind

    # ---- Recurrent ----

    def settled(self, chosen: dict[str, Any], how: str, given: bool) -> dict[str, Any]:
        """Options that go together: unrolled, stock Keras has another idea of what a masked step returns."""
        if chosen["stateful"] and (self.batch_size is None or self.in_model_twice()):
            chosen["stateful"] = False
        self.stateful |= chosen["stateful"]
        if chosen["unroll"] and self.wanted == "unroll":
            chosen["zero_output_for_mask"] = False
            if "call: initial_state" in chosen:
                chosen["call: initial_state"] = "none"
        elif chosen["unroll"] and (given or chosen["zero_output_for_mask"]):
            chosen["unroll"] = False
        if self.chain:
            chosen["return_state"] = False
        return chosen

    def in_model_twice(self) -> bool:
        return False

    def start(self, layer: Any) -> Any:
        """Inputs for the states of a layer or of its cells."""
        sizes = layer.state_size if hasattr(layer, "state_size") else layer.cell.state_size
        sizes = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
        if hasattr(layer, "cell") and isinstance(layer.cell, keras.layers.StackedRNNCells):
            # A stack's masked steps return what stock Keras finds in the first cell's place, unless each has a list.
            sizes = [list(one) if isinstance(one, (list, tuple)) else [one] for one in sizes]
        return keras.tree.map_structure(lambda n: self.fresh((n,)), sizes)

    def run(self, kind: str, chosen: dict[str, Any], parts: dict[str, Any]) -> None:
        how, given = chosen["call: mask"], chosen["call: initial_state"] == "given"
        x = self.with_mask(self.sequence(), how)
        if x.shape[1] is None or x.shape[1] < 1:
            reject()
        call = {"mask": self.fresh(x.shape[1:2], "bool")} if how == "explicit" else {}
        if not given:
            self.call(kind, chosen, x, parts=parts, **call)
            return
        layer = self.make(kind, chosen, **parts)
        states = self.start(layer)
        self.took(x, *keras.tree.flatten(states), *call.values())
        self.gave(layer(x, initial_state=states, **call))

    def recurrent(self, kind: str) -> None:
        chosen = self.options(kind)
        self.settled(chosen, chosen["call: mask"], chosen["call: initial_state"] == "given")
        self.run(kind, chosen, {})

    def cells(self, wanted: str, count: int) -> list[Any]:
        kinds = [self.draw(st.sampled_from(CELLS)) for _ in range(count)]
        if wanted in CELLS:
            kinds[self.draw(st.integers(0, count - 1))] = wanted
        return [self.make(kind, self.options(kind)) for kind in kinds]

    def stack(self, wanted: str, form: str) -> Any:
        if form == "a cell":
            return self.cells(wanted, 1)[0]
        chosen = self.options("StackedRNNCells")
        made = self.cells(wanted, chosen["cells"])
        return made if form == "a list" else self.make("StackedRNNCells", chosen, cells=made)

    def rnn(self, wanted: str = "RNN") -> None:
        chosen = self.options("RNN", {"cell": "StackedRNNCells"} if wanted == "StackedRNNCells" else None)
        self.settled(chosen, chosen["call: mask"], chosen["call: initial_state"] == "given")
        self.run("RNN", chosen, {"cell": self.stack(wanted, chosen["cell"])})

    def bidirectional(self) -> None:
        chosen = self.options("Bidirectional")
        kind, how = chosen["layer"], chosen["call: mask"]
        given = chosen["call: initial_state"] == "given" and kind != "RNN"
        chosen["call: initial_state"] = "given" if given else "none"
        inner = self.settled(self.options(kind), how, given)
        inner["stateful"] &= not inner["return_state"]
        inner["unroll"] = False  # stock Keras returns zeros for masked steps only where it loops
        inner["go_backwards"] &= chosen["backward_layer"] == "given"
        inner["call: mask"], inner["call: initial_state"] = how, chosen["call: initial_state"]
        if self.chain and chosen["merge_mode"] is None:
            chosen["merge_mode"] = "concat"
        form = {"cell": self.stack("", inner["cell"])} if kind == "RNN" else {}
        layer = self.make(kind, inner, **form)
        parts = {"layer": layer, "backward_layer": None}
        if chosen["backward_layer"] == "given":
            config = layer.get_config() | {"go_backwards": not inner["go_backwards"], "name": f"{layer.name}_other"}
            parts["backward_layer"] = type(layer).from_config(config)
        x = self.with_mask(self.sequence(), how)
        call: dict[str, Any] = {"mask": self.fresh(x.shape[1:2], "bool")} if how == "explicit" else {}
        if given:
            call["initial_state"] = self.start(layer) + self.start(layer)
        self.call("Bidirectional", chosen, x, parts=parts, **call)

    def each_step(self) -> None:
        chosen = self.options("TimeDistributed")
        kind = chosen["layer"]
        deep = kind in ("LSTM", "TimeDistributed")
        if deep and self.chain and self.results:
            reject()
        x = self.fresh((3, 4, 2)) if deep else self.sequence()
        x = self.with_mask(x, chosen["call: mask"]) if not deep or chosen["call: mask"] == "implicit" else x
        if kind == "Model":
            p = keras.Input(x.shape[2:], dtype="float64")
            inner = keras.Model(p, self.make("Dense", self.options("Dense"))(p))
        elif kind == "TimeDistributed":
            inner = keras.layers.TimeDistributed(self.make("Dense", self.options("Dense")), dtype="float64")
        elif kind == "LSTM":
            options = self.options("LSTM") | dict.fromkeys(("stateful", "return_state", "unroll"), False)
            options |= {"call: mask": chosen["call: mask"], "call: initial_state": "none"}
            inner = self.make("LSTM", options)
        else:
            inner = self.make(kind, self.options(kind))
        self.call("TimeDistributed", chosen, x, parts={"layer": inner})

    # ---- Windows ----

    def windows(self, kind: str) -> None:
        chosen = self.options(kind)
        first = chosen["data_format"] == "channels_first"
        if chosen.get("padding") == "causal" and first:
            chosen |= {"data_format": None} if self.wanted == "padding" else {"padding": "valid"}
            first = chosen["data_format"] == "channels_first"
        if first and chosen.get("activation") == "softmax":  # along time there, which is refused by name
            chosen["activation" if self.wanted != "activation" else "data_format"] = None
            first = chosen["data_format"] == "channels_first"
        x = self.sequence()
        T, F = (x.shape[2], x.shape[1]) if first else x.shape[1:]
        if T is None or T < 5 or (chosen.get("groups", 1) > F or F % chosen.get("groups", 1)):
            x = self.fresh((4, 6) if first else (6, 4))
        if chosen.get("strides", 1) == 2 and chosen.get("dilation_rate", 1) == 2:
            chosen["strides" if self.wanted == "dilation_rate" else "dilation_rate"] = 1
        self.call(kind, chosen, x)

    # ---- Several tensors ----

    def merge(self, kind: str) -> None:
        chosen = self.options(kind)
        form, how = chosen["call: inputs"], chosen["call: mask"]
        x = self.with_mask(self.sequence(), "none" if how == "none" else "implicit")
        others = [self.like(x) for _ in range(1 if form == "two" else 2)]
        if form == "vector beside sequence":
            others = [self.fresh(x.shape[2:])]
            chosen["call: mask"] = "none" if how == "none" else ""
        elif how == "all":
            others = [self.with_mask(other, "implicit") for other in others]
        tensors = [x, *others] if self.draw(st.booleans()) else [*others, x]
        self.call(kind, chosen, tensors)

    def dot(self) -> None:
        chosen = self.options("Dot")
        x = self.sequence()
        self.call("Dot", chosen, [x, self.like(x)])

    def attention(self, kind: str) -> None:
        chosen = self.options(kind)
        how, call = chosen["call: mask"], {}
        query = self.with_mask(self.sequence(), "implicit" if how == "implicit" else "none")
        value = self.fresh((self.draw(st.integers(3, 6)), query.shape[2]))
        value = self.with_mask(value, how)
        tensors = [query, value]
        if chosen["call: key"] == "another":
            tensors.append(self.fresh(value.shape[1:]))
        if how == "explicit":
            call["mask"] = [self.fresh(t.shape[1:2], "bool") for t in tensors[:2]]
        for flag in ("return_attention_scores", "use_causal_mask"):
            if chosen[f"call: {flag}"]:
                call[flag] = True
        self.call(kind, chosen, tensors, **call)

    def heads(self) -> None:
        kind = "MultiHeadAttention"
        chosen = self.options(kind)
        how, call = chosen["call: mask"], {}
        query = self.with_mask(self.sequence(), "implicit" if how == "implicit" else "none")
        value = self.with_mask(self.fresh((self.draw(st.integers(3, 6)), self.draw(st.integers(1, 4)))), how)
        if chosen["call: key"] == "another":
            call["key"] = self.fresh((value.shape[1], 3))
        if how == "explicit":
            call["attention_mask"] = self.fresh((query.shape[1], value.shape[1]), "bool")
        for flag in ("return_attention_scores", "use_causal_mask"):
            if chosen[f"call: {flag}"]:
                call[flag] = True
        self.call(kind, chosen, query, value, **call)

    def embedding(self) -> None:
        self.call("Embedding", self.options("Embedding"), self.fresh((self.draw(st.integers(4, 6)),), "int32"))

    def repeat(self) -> None:
        self.call("RepeatVector", self.options("RepeatVector"), self.vector())

    def normalization(self) -> None:
        chosen = self.options("Normalization")
        x = self.sequence()
        F = x.shape[2]
        rng = np.random.default_rng(F)
        parts: dict[str, Any] = {"mean": None, "variance": None}
        if chosen["mean"] == "given":
            of_each = {"mean": rng.normal(size=F).tolist(), "variance": (0.5 + rng.random(F)).tolist()}
            parts = {"mean": 0.3, "variance": 1.7} if chosen["axis"] is None else of_each
        layer = self.make("Normalization", chosen, **parts)
        if chosen["mean"] == "adapted":
            layer.adapt(rng.normal(1, 2, (20, *x.shape[1:])))
        self.layers.append(layer)
        self.took(x)
        self.gave(layer(x))
