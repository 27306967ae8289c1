"""Models of stock Keras, drawn: layers and functions on one another, out of the tables of options and operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from drawn_layers import Placing
from drawn_operations import OPERATIONS
from drawn_options import OPTIONS, Some
from hypothesis import strategies as st

B = 3
STRUCTURES = (
    "functional", "Sequential", "nested model", "nested Sequential", "shared layer", "several inputs",
    "several outputs", "dictionary of outputs",
)  # fmt: skip
# One tensor in, one out, of the same batch: what may stand in a Sequential.
CHAINED = tuple(
    kind
    for kind in OPTIONS
    if kind not in ("Concatenate", "Add", "Average", "Multiply", "Maximum", "Minimum", "Subtract", "Dot", "Embedding",
                    "Attention", "AdditiveAttention", "MultiHeadAttention", "LSTMCell", "GRUCell", "SimpleRNNCell",
                    "StackedRNNCells", "RepeatVector", "Flatten")
)  # fmt: skip


class Hit(NamedTuple):
    """A value of an option of a layer; also a layer, a function or a structure by itself."""

    kind: str
    option: str
    value: str


def label(values: Any, value: Any) -> str:
    return "any" if isinstance(values, Some) else repr(value)


def every_hit() -> list[Hit]:
    """All that models are to be drawn with."""
    hits = [Hit("structure", name, "") for name in STRUCTURES]
    for kind, options in OPTIONS.items():
        hits.append(Hit(kind, "", ""))
        for name, values in options.items():
            hits += [Hit(kind, name, label(values, v)) for v in ([None] if isinstance(values, Some) else values)]
    for kind, made in OPERATIONS.items():
        hits += [Hit(f"function {kind}", name, "") for name in made]
    return hits


class Drawn(NamedTuple):
    model: Any
    hits: set[Hit]


class Drawing(Placing):
    """A model while it grows.

    Args:
        draw: of hypothesis.
        target: what the model is to have, if it can be.
        chain: whether each layer stands on the one before, with one output.
    """

    def __init__(self, draw: Callable[[Any], Any], target: Hit | None, chain: bool = False, depth: int = 0) -> None:
        super().__init__(draw, chain)
        self.target, self.met, self.depth = target, target is None, depth
        wants = target is not None and target.option == "stateful" and target.value == "True"
        self.batch_size = B if wants or draw(st.integers(0, 4)) == 0 else None

    # ---- Options ----

    def pick(self, values: Any) -> Any:
        return self.draw(st.sampled_from(values.values if isinstance(values, Some) else values))

    def options(self, kind: str, only: dict[str, Any] | None = None) -> dict[str, Any]:
        """A value for each option; the target's, where it is one of them. `only` says which it must be otherwise."""
        chosen = {}
        self.wanted = ""
        for name, values in OPTIONS[kind].items():
            here = self.target is not None and not self.met and self.target[:2] == (kind, name)
            if here:
                found = [v for v in self._all(values) if label(values, v) == self.target.value]  # type: ignore[union-attr]
                chosen[name], self.wanted, self.met = self.draw(st.sampled_from(found)), name, True
            elif only and name in only:
                chosen[name] = only[name]
            else:
                chosen[name] = self.pick(values)
        if self.target is not None and self.target.kind == kind:
            self.met = True
        return chosen

    @staticmethod
    def _all(values: Any) -> list[Any]:
        return list(values.values if isinstance(values, Some) else values)

    def note(self, kind: str, chosen: dict[str, Any]) -> None:
        """Counts the options that a layer was made with in the end."""
        self.hits.add(Hit(kind, "", ""))
        for name, value in chosen.items():
            values = OPTIONS[kind][name]
            if value in self._all(values):
                self.hits.add(Hit(kind, name, label(values, value)))

    # ---- What stands where ----

    def grow(self, count: int) -> None:
        """`count` more layers or functions, the target among them."""
        at = self.draw(st.integers(0, count - 1))
        for place in range(count):
            if place == at and self.target is not None and self.target.kind != "structure":
                self.put_target()
            else:
                self.put_any()

    def put_target(self) -> None:
        assert self.target is not None
        kind = self.target.kind
        if not self.chain and self.depth == 0 and self.draw(st.integers(0, 5)) == 0:
            self.nested(self.target)
        elif kind.startswith("function "):
            self.function(kind.removeprefix("function "), self.target.option)
        else:
            self.place(kind)

    def put_any(self) -> None:
        if self.chain:
            return self.place(self.draw(st.sampled_from(CHAINED)))
        what = self.draw(st.integers(0, 15))
        if what < 2 and self.depth == 0:
            self.nested(None)
        elif what < 4:
            self.shared()
        elif what < 6:
            kind = self.draw(st.sampled_from(sorted(OPERATIONS)))
            self.function(kind, self.draw(st.sampled_from(sorted(OPERATIONS[kind]))))
        else:
            self.place(self.draw(st.sampled_from(sorted(OPTIONS))))
        return None

    def function(self, kind: str, name: str) -> None:
        x = self.sequence()
        y = OPERATIONS[kind][name](keras.ops, x, self.like(x))
        self.hits.add(Hit(f"function {kind}", name, ""))
        self.took(x)
        self.gave(y)

    def shared(self) -> None:
        """A layer once more, on another tensor of the same shape."""
        if not self.again:
            self.place("Dense")
        if self.again:
            layer, x = self.draw(st.sampled_from(self.again))
            self.hits.add(Hit("structure", "shared layer", ""))
            other = self.perhaps_masked(layer, x.shape[1:])
            self.took(other)
            self.gave(layer(other))

    def perhaps_masked(self, layer: Any, shape: Any, dtype: str = "float64") -> Any:
        """A new Input for a layer, or one behind a Masking."""
        x = self.fresh(shape, dtype)
        behind = len(shape) == 2 and dtype == "float64" and not moves_nothing(layer) and self.draw(st.booleans())
        return self.call("Masking", self.options("Masking"), x) if behind else x

    def nested(self, target: Hit | None, chain: bool = False) -> None:
        """A model in this one, called once or twice; `chain`: a Sequential."""
        chain = chain or ((target is None or target.kind in CHAINED) and self.draw(st.booleans()))
        inner = Drawing(self.draw, target, chain, depth=1)
        inner.batch_size = self.batch_size
        inner.grow(self.draw(st.integers(1, 2)))
        model = inner.model()
        self.hits |= inner.hits
        self.hits.add(Hit("structure", f"nested {'Sequential' if chain else 'model'}", ""))
        calls = 1 if inner.stateful else self.draw(st.integers(1, 2))
        for _ in range(calls):
            arguments = [self.perhaps_masked(model, t.shape[1:], t.dtype) for t in inner.inputs]
            self.took(*arguments)
            self.gave(model(arguments if len(arguments) > 1 else arguments[0]))

    # ---- The whole ----

    def model(self) -> Any:
        if self.chain:
            (x,) = self.inputs
            return keras.Sequential([keras.Input(batch_shape=x.shape, dtype=x.dtype), *self.layers])
        outputs = [tensor for tensor in self.results if id(tensor) not in self.taken]
        return keras.Model(*(some if len(some) > 1 else some[0] for some in (self.inputs, outputs)))


def moves_nothing(layer: Any) -> bool:
    """Whether there is a Permute that moves nothing: Keras's backends differ in whether it keeps a mask."""
    return any(isinstance(one, keras.layers.Permute) and one.dims == (1, 2) for one in layer._flatten_layers())


@st.composite
def drawn(draw: Any, target: Hit | None = None) -> Drawn:
    """A model that has the target, and what it was drawn with.

    Raises, inside `draw`, whatever Keras raises where it cannot make the model.
    """
    keras.utils.clear_session(free_memory=False)
    wants = target.option if target is not None and target.kind == "structure" else None
    may = target is None or target.kind in CHAINED or wants == "Sequential"
    chain = wants == "Sequential" or (may and not wants and draw(st.integers(0, 4)) == 0)
    drawing = Drawing(draw, target, chain)
    drawing.grow(draw(st.integers(1, 4)))
    if wants and wants.startswith("nested"):
        drawing.nested(None, wants == "nested Sequential")
    if wants == "shared layer":
        drawing.shared()
    if wants in ("several inputs", "several outputs", "dictionary of outputs"):
        drawing.call("Dense", drawing.options("Dense"), drawing.fresh((3,)))
    model, hits = drawing.model(), set(drawing.hits)
    hits.add(Hit("structure", "Sequential" if chain else "functional", ""))
    if len(model.inputs) > 1:
        hits.add(Hit("structure", "several inputs", ""))
    if len(model.outputs) > 1:
        hits.add(Hit("structure", "several outputs", ""))
        if wants == "dictionary of outputs" or draw(st.booleans()):
            named = {f"output_{place}": tensor for place, tensor in enumerate(model.outputs)}
            model = keras.Model(model.inputs, named)
            hits.add(Hit("structure", "dictionary of outputs", ""))
    return Drawn(model, hits)
