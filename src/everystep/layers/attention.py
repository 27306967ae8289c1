"""Attention of a query over the steps of a sequence: what Keras's Attention and AdditiveAttention share, and Attention.

B batch, T steps of the query, S of value and key, D features.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array, Bound
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.activations import activate
from everystep.layers.base import Layer
from everystep.layers.checks import check_flags, fraction, shapes_of, sizes_fit
from everystep.layers.initializers import initializer
from everystep.layers.tensor import Tensor

MASKED = 1e9  # what Keras takes off the score of a masked step


class OneHead(Layer):
    """The base of Attention and AdditiveAttention: softmax of scores (B,T,S), times the value (B,S,D).

    Call arguments:
        inputs: [query (B,T,Dq), value (B,S,D)], or with key (B,S,Dq) after them; else the value is the key too.
        mask: [of the query (B,T), of the value (B,S)], each may be None: what comes of a masked query step is 0, and a
            masked value step does not count.
        return_attention_scores: the weights (B,T,S) come too, after the output.
        use_causal_mask: query step t sees value steps up to t.

    At a step the query is (B,Dq), and value and key are whole. It cannot attend over a sequence that is streamed.
    """

    call_arguments = ("inputs", "mask", "training", "return_attention_scores", "use_causal_mask")
    call_flags = ("return_attention_scores", "use_causal_mask")

    def __init__(self, use_scale: bool = False, dropout: float = 0.0, seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.use_scale = use_scale
        self.dropout = fraction(self.name, "dropout", dropout)
        self.seed = seed
        check_flags(self, "use_scale")

    def scores(self, query: Array, key: Array) -> Array:
        """(B,T,S)."""
        raise NotImplementedError

    def bound_scores(self, query: Array, key: Array, scores: Array) -> list[Bound]:
        """Calls that write `scores(query, key)` of one step, query (B,1,Dq), to an array that stays."""
        raise NotImplementedError

    def check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            got = len(inputs) if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise ShapeError(f"layer {self.name!r} takes [query, value] or [query, value, key]; got {got}")
        super().check(inputs)
        query, value, key = (shapes_of(inputs)[place] for place in (0, 1, -1))
        fits = len(query) == len(value) == len(key) == 3 and sizes_fit(key[:2], value[:2])
        if not (fits and sizes_fit(query[:1], value[:1]) and self.features_fit(query[2], key[2])):
            raise ShapeError(
                f"layer {self.name!r} takes query (B,T,Dq), value (B,S,D) and key (B,S,Dq), which is the value where "
                f"none is given; got {query}, {value}, {key}"
            )

    def features_fit(self, of_query: int | None, of_key: int | None) -> bool:
        return sizes_fit((of_query,), (of_key,))

    def enters_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return False

    def apply(
        self,
        inputs: list[Array],
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = inputs[0], inputs[1], inputs[-1]
        of_query, of_value = self._two_masks(mask, query, value)
        scores = self.scores(query, key)
        seen = None if of_value is None else of_value[:, None, :]
        if use_causal_mask:
            earlier = np.tri(*scores.shape[1:], dtype=np.bool_)
            seen = earlier if seen is None else seen & earlier
        if seen is not None:
            scores = np.where(seen, scores, scores - np.asarray(MASKED, scores.dtype))
        weights = activate("softmax", np.ascontiguousarray(scores))
        found = np.matmul(weights, value)
        if of_query is not None:
            found = np.where(of_query[..., None], found, np.zeros((), found.dtype))
        return (found, weights) if return_attention_scores else found

    def _two_masks(self, mask: Any, query: Array, value: Array) -> list[Array | None]:
        """The masks of query and value as bool."""
        if mask is None:
            return [None, None]
        if not isinstance(mask, (list, tuple)) or len(mask) < 2:
            got = len(mask) if isinstance(mask, (list, tuple)) else type(mask).__name__
            raise ShapeError(f"layer {self.name!r} takes masks [of the query, of the value]; got {got}")
        for one, array, words in zip(mask, (query, value), ("query (B,T)", "value (B,S)"), strict=False):
            if one is not None and one.shape != array.shape[:2]:
                raise ShapeError(
                    f"layer {self.name!r}: the mask of the {words} must be {array.shape[:2]}; got {one.shape}"
                )
        return [None if one is None else np.asarray(one, bool) for one in mask[:2]]

    def step(self, inputs_t: Any, state: Any = None, **call: Any) -> tuple[Any, Any]:
        """The query's step (B,Dq), with the whole value and key; its mask is (B), and that of the value (B,S)."""
        if not isinstance(inputs_t, (list, tuple)):
            return super().step(inputs_t, state, **call)
        if call.get("use_causal_mask"):
            raise self._cannot_step("with use_causal_mask=True the place of the step in its sequence counts")
        query, *others = inputs_t
        if query.ndim != 2 or any(whole.ndim != 3 for whole in others):
            raise self._cannot_step("it looks at all of value and key at once. Name what they come from in static")
        if call.get("mask") is not None:
            of_query, *rest = call["mask"]
            call["mask"] = [None if of_query is None else of_query[:, None], *rest]
        found, state = self.run([query[:, None], *others], state, **call)
        return (tuple(part[:, 0] for part in found) if isinstance(found, tuple) else found[:, 0]), state

    def _cannot_step(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"layer {self.name!r} cannot go one step at a time: {reason}")

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[0][:-1], input_shape[1][-1])

    def symbolic_call(self, call: dict[str, Any]) -> Any:
        output = self.symbolic_outputs(call["inputs"])
        if not call.get("return_attention_scores"):
            return output
        query, key = call["inputs"][0], call["inputs"][-1]
        return output, Tensor((*query.shape[:-1], key.shape[-2]), self.dtype, self.name)


class Attention(OneHead):
    """Keras's Attention: dot-product (Luong et al., 2015) attention.

    Args:
        use_scale: whether a weight multiplies the scores; with "concat", what tanh is taken of.
        score_mode: "dot", query key^T; or "concat", a weight times the sum of tanh(query + key) over the features.
        dropout, seed: kept.
        options: of `Layer`.

    Weights: scale () with use_scale, concat_score_weight () with "concat".
    """

    config_names = ("use_scale", "score_mode", "dropout", "seed")

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **options)
        if score_mode not in ("dot", "concat"):
            raise OptionError(f"layer {self.name!r}: score_mode must be 'dot' or 'concat'; got {score_mode!r}")
        self.score_mode = score_mode

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.add_weight("scale", (), initializer("ones"))
        if self.score_mode == "concat":
            self.add_weight("concat_score_weight", (), initializer("ones"))

    def features_fit(self, of_query: int | None, of_key: int | None) -> bool:
        return super().features_fit(of_query, of_key) or (self.score_mode == "concat" and 1 in (of_query, of_key))

    def scores(self, query: Array, key: Array) -> Array:
        scale = self._weights.get("scale")
        if self.score_mode == "dot":
            scores = np.matmul(query, np.swapaxes(key, 1, 2))
            return scores if scale is None else np.asarray(scores * scale)
        both = query[:, :, None] + key[:, None]
        total = tanh(both if scale is None else scale * both).sum(axis=-1)
        return np.asarray(self._weights["concat_score_weight"] * total)

    def bound_scores(self, query: Array, key: Array, scores: Array) -> list[Bound]:
        scale, calls = self._weights.get("scale"), list[Bound]()
        if self.score_mode == "dot":
            calls = [partial(np.matmul, query, np.swapaxes(key, 1, 2), scores)]
            return calls if scale is None else [*calls, partial(np.multiply, scores, scale, scores)]
        both = np.empty((*scores.shape, max(query.shape[2], key.shape[2])), scores.dtype)
        calls = [partial(np.add, query[:, :, None], key[:, None], both)]
        if scale is not None:
            calls.append(partial(np.multiply, scale, both, both))
        calls += [engine.bound_activation("tanh", both, both), partial(np.add.reduce, both, axis=-1, out=scores)]
        return [*calls, partial(np.multiply, self._weights["concat_score_weight"], scores, scores)]


def tanh(x: Array) -> Array:
    return engine.activate("tanh", np.ascontiguousarray(x))
