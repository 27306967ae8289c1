"""Attention of several heads.

B batch, T steps of the query, S of value and key, N heads, D features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.activations import activate
from everystep.layers.base import Layer
from everystep.layers.checks import check_flags, fraction, shapes_of, sizes_fit, whole_number
from everystep.layers.initializers import initializer
from everystep.layers.softmax import masked_softmax
from everystep.layers.tensor import Node, Shape, Tensor

MASKS = ("query_mask", "value_mask", "key_mask", "attention_mask")
PARTS = {  # of the file and of the weights' names, in Keras's order
    "query": "query_dense",
    "key": "key_dense",
    "gate": "_gate_dense",
    "value": "value_dense",
    "attention_output": "output_dense",
}


class MultiHeadAttention(Layer):
    """Keras's MultiHeadAttention (Vaswani et al., 2017), over the steps of sequences.

    Args:
        num_heads, key_dim, value_dim: N, and D of query and key, and of the value, which is key_dim if not given.
        use_bias: whether each projection has a bias.
        output_shape: features of what is returned, one size or several; None: those of the query.
        attention_axes: 1, the steps, or None for the same.
        sliding_window: how many steps before and after, its own included, a query step sees; None: all.
        use_gate: whether the heads are multiplied by sigmoid of a projection of the query.
        dropout, flash_attention, seed, kernel_, bias_: kept, but with dropout above 0 Keras computes as it does where
            scores are returned, which counts where no step may be seen.
        options: of `Layer`.

    Call arguments:
        query (B,T,I), value (B,S,J), key (B,S,K) or the value; each takes the mask that comes with it.
        value_mask, key_mask: (B,S) bool. attention_mask: (B,T,S), or (B,N,T,S), or with 1 for a size; what is False is
            not seen. query_mask is the query's own: Keras does not look at another.
        return_attention_scores: the weights (B,N,T,S) come too, after the output.
        use_causal_mask: query step t sees steps up to t.

    A query step that may see nothing gets the mean of all values, as in Keras on JAX; or 0 before the last projection,
    where scores are returned or dropout is above 0.

    As in Keras it takes the masks off query, value and key: what uses those tensors in a model after it sees none,
    unless the mask is an edge of the graph. So Add()([x, attention(x, x)]) is without a mask when it runs; LSTM()(x) is
    not.

    At a step the query is (B,I), and value and key are whole. It cannot attend over a sequence that is streamed.

    Weights: query/kernel (I,N,D), query/bias (N,D); key/ likewise; gate/ with use_gate; value/; attention_output/kernel
    (N,D,O), attention_output/bias (O).
    """

    config_names = (
        "num_heads", "key_dim", "value_dim", "dropout", "use_bias", "use_gate", "output_shape", "attention_axes",
        "sliding_window", "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
        "activity_regularizer", "kernel_constraint", "bias_constraint", "seed",
    )  # fmt: skip
    call_arguments = (
        "query", "value", "key", *MASKS, "return_attention_scores", "training", "use_causal_mask",
    )  # fmt: skip
    call_flags = ("return_attention_scores", "use_causal_mask")
    mask_arguments = ("query", "value", "key")
    groups_of_weights = PARTS

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heads = whole_number(self.name, "num_heads", num_heads)
        self.key_dim = whole_number(self.name, "key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else whole_number(self.name, "value_dim", value_dim)
        self.dropout = fraction(self.name, "dropout", dropout)
        self.use_bias, self.use_gate = use_bias, use_gate
        check_flags(self, "use_bias", "use_gate")
        sizes = output_shape if isinstance(output_shape, (list, tuple, type(None))) else (output_shape,)
        self.output_shape = tuple(whole_number(self.name, "output_shape", size) for size in sizes) if sizes else None
        axes = attention_axes if isinstance(attention_axes, (list, tuple, type(None))) else (attention_axes,)
        if axes is not None and tuple(axes) not in ((1,), (-2,)):
            raise UnsupportedError(
                f"layer {self.name!r}: attention_axes {attention_axes!r} is not supported; everystep attends over the "
                "steps of (B,T,I), which is axis 1"
            )
        self.attention_axes = None if axes is None else (1,)
        self.sliding_window = (
            None if sliding_window is None else whole_number(self.name, "sliding_window", sliding_window)
        )
        if flash_attention and self.dropout:
            raise OptionError(f"layer {self.name!r}: flash_attention has no dropout; got dropout={dropout}")
        self.flash_attention = flash_attention
        self.kernel_initializer, self.bias_initializer = initializer(kernel_initializer), initializer(bias_initializer)
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.seed = seed

    # ---- Building ----

    def ensure_built_for(self, call: dict[str, Any]) -> None:
        query, value, key = self._arrays(call)
        self.check([query, value, key])
        self.build_once(shapes_of([query, value, key]))

    def _arrays(self, call: dict[str, Any]) -> list[Any]:
        if call.get("value") is None:
            raise OptionError(f"layer {self.name!r} was called without its value")
        key = call.get("key")
        return [call["query"], call["value"], call["value"] if key is None else key]

    def build(self, input_shape: Any) -> None:
        of_query, of_value, of_key = (shape[-1] for shape in input_shape)
        heads = {"query": (of_query, self.key_dim), "key": (of_key, self.key_dim)}
        heads |= {"gate": (of_query, self.value_dim)} if self.use_gate else {}
        for name, (features, size) in (heads | {"value": (of_value, self.value_dim)}).items():
            self._add_projection(name, (features, self.num_heads, size), 1)
        self._add_projection(
            "attention_output", (self.num_heads, self.value_dim, *(self.output_shape or (of_query,))), 2
        )
        self.attention_axes = (1,)  # which Keras writes into the config once it is built

    def _add_projection(self, name: str, shape: tuple[int, ...], bound: int) -> None:
        self.add_weight(f"{name}/kernel", shape, self.kernel_initializer)
        if self.use_bias:
            self.add_weight(f"{name}/bias", shape[bound:], self.bias_initializer)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        query, value, key = shapes_of(inputs)
        fits = len(query) == len(value) == len(key) == 3 and sizes_fit(value[:2], key[:2])
        if not fits or not sizes_fit(query[:1], value[:1]) or None in (query[2], value[2], key[2]):
            raise ShapeError(
                f"layer {self.name!r} takes query (B,T,I), value (B,S,J) and key (B,S,K), of known last sizes; got "
                f"{query}, {value}, {key}"
            )
        if self.built and [shape[-1] for shape in (query, value, key)] != [s[-1] for s in self.built_shape]:
            raise ShapeError(
                f"layer {self.name!r} is built for {', '.join(map(str, self.built_shape))}; got {query}, {value}, {key}"
            )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        call = super().bind(args, kwargs)
        if call.get("query_mask") is not None:
            raise UnsupportedError(
                f"layer {self.name!r} was given a query_mask, which Keras does not look at: it takes the one that "
                "comes with the query. Put a Masking or an Embedding before it, or pass an attention_mask"
            )
        if self.flash_attention and call.get("return_attention_scores"):
            raise OptionError(f"layer {self.name!r}: flash_attention returns no attention scores")
        return call

    # ---- Running ----

    def advance(self, verb: str, state: Any, mask: Any, call: dict[str, Any]) -> tuple[Any, Any, Any]:
        call = dict(call)
        outputs, state = getattr(self, verb)(call.pop("query"), state, **call)
        return outputs, mask, state

    def apply(
        self,
        inputs: Array,
        value: Array | None = None,
        key: Array | None = None,
        query_mask: Array | None = None,
        value_mask: Array | None = None,
        key_mask: Array | None = None,
        attention_mask: Array | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if value is None:
            raise OptionError(f"layer {self.name!r} was called without its value")
        query, key = inputs, value if key is None else key
        T, S = query.shape[1], value.shape[1]
        sizes = (query.shape[0], self.num_heads, T, S)
        seen = None if attention_mask is None else self._as_scores(np.asarray(attention_mask, bool), sizes)
        for flags in (value_mask, key_mask):
            if flags is not None and flags.shape != value.shape[:2]:
                raise ShapeError(
                    f"layer {self.name!r}: value_mask and key_mask are {value.shape[:2]}; got {flags.shape}"
                )
            seen = _both(seen, None if flags is None else flags[:, None, None, :])
        seen = _both(seen, None if query_mask is None else query_mask[:, None, :, None])
        seen = _both(seen, np.tri(T, S, dtype=bool)[None, None] if use_causal_mask else None)
        if self.sliding_window is not None:
            seen = _both(seen, abs(np.arange(T)[:, None] - np.arange(S)) < self.sliding_window)

        q, k, v = (
            self._projected(name, array).transpose(0, 2, 1, 3)  # (B,N,T,D)
            for name, array in (("query", query), ("key", key), ("value", value))
        )
        scores = np.matmul(q * np.asarray(1 / math.sqrt(self.key_dim), q.dtype), k.swapaxes(2, 3))
        if return_attention_scores or self.dropout:
            weights = masked_softmax(self.name, scores, [-1], seen)
        else:
            least = np.asarray(-0.7 * np.finfo(scores.dtype).max, scores.dtype)
            weights = activate(
                "softmax", np.ascontiguousarray(scores if seen is None else np.where(seen, scores, least))
            )
        heads = np.matmul(weights, v).transpose(0, 2, 1, 3)  # (B,T,N,D)
        if self.use_gate:
            gate = self._projected("gate", query)
            heads = heads * engine.activate("sigmoid", gate)
        found = self._projected("attention_output", heads.reshape(*heads.shape[:2], self.num_heads * self.value_dim))
        return (found, weights) if return_attention_scores else found

    def _as_scores(self, mask: Array, sizes: tuple[int, ...]) -> Array:
        """An attention mask with an axis for the heads, for scores (B,N,T,S) of these sizes."""
        full = mask[:, None] if mask.ndim == 3 else mask
        if full.ndim != 4 or any(a not in (1, b) for a, b in zip(full.shape, sizes, strict=True)):
            raise ShapeError(
                f"layer {self.name!r}: attention_mask must be (B,T,S) or (B,N,T,S), here of {sizes}, or with 1 for a "
                f"size; got {mask.shape}"
            )
        return full

    def _projected(self, name: str, x: Array) -> Array:
        """x times a kernel, as (B,T,N,D), or as (B,T,O)."""
        kernel, bias = self._weights[f"{name}/kernel"], self._weights.get(f"{name}/bias")
        bound = 2 if name == "attention_output" else 1
        rows = math.prod(kernel.shape[:bound])
        packed = self.packed_weight(
            f"{name}/kernel", lambda kernel: engine.pack_matrix(np.ascontiguousarray(kernel.reshape(rows, -1)))
        )
        y = engine.product(np.ascontiguousarray(x), packed, None if bias is None else bias.reshape(-1))
        return y.reshape(*x.shape[:2], *kernel.shape[bound:])

    def step(self, inputs_t: Any, state: Any = None, **call: Any) -> tuple[Any, Any]:
        """The query's step (B,I), with the whole value and key; query_mask is (B), attention_mask (B,S) or (B,N,S)."""
        if not hasattr(inputs_t, "ndim"):
            return super().step(inputs_t, state, **call)
        if call.get("use_causal_mask") or self.sliding_window is not None:
            raise self._cannot_step(
                "with use_causal_mask or sliding_window the place of the step in its sequence counts"
            )
        wholes = [call.get("value"), call.get("key")]
        if inputs_t.ndim != 2 or any(one is not None and one.ndim != 3 for one in wholes):
            raise self._cannot_step("it looks at all of value and key at once. Name what they come from in static")
        if call.get("query_mask") is not None:
            call["query_mask"] = call["query_mask"][:, None]
        if call.get("attention_mask") is not None:
            call["attention_mask"] = call["attention_mask"][..., None, :]
        found, state = self.run(inputs_t[:, None], state, **call)
        return ((found[0][:, 0], found[1][:, :, 0]) if isinstance(found, tuple) else found[:, 0]), state

    def _cannot_step(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"layer {self.name!r} cannot go one step at a time: {reason}")

    def unmasked(self, node: Node) -> list[Tensor]:
        """As in Keras: what uses query, value or key after it sees no mask with them."""
        call = self.bind(node.args, node.kwargs)
        return [call[name] for name in self.mask_arguments if call.get(name) is not None]

    # ---- Shapes ----

    def compute_output_shape(self, input_shape: Any) -> Any:
        query: Shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        return (*query[:-1], *(self.output_shape or query[-1:]))

    def symbolic_call(self, call: dict[str, Any]) -> Any:
        output = self.symbolic_outputs(call["query"])
        if not call.get("return_attention_scores"):
            return output
        query, value, _ = self._arrays(call)
        shape = (query.shape[0], self.num_heads, query.shape[1], value.shape[1])
        return output, Tensor(shape, self.dtype, self.name)


def _both(a: Array | None, b: Array | None) -> Array | None:
    """Where both hold; None holds everywhere."""
    return a if b is None else b if a is None else np.logical_and(a, b)
