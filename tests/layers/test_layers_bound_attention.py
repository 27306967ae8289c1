"""Attention at a step on arrays that stay gives the bits of `step`, whatever the options, and reads what is new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streams import same

from everystep.layers import AdditiveAttention, Attention
from everystep.layers.bound import bound_step
from everystep.layers.structure import flatten

B, S, D = 3, 5, 4
LAYERS: dict[str, Any] = {
    "dot": lambda dtype: Attention(dtype=dtype),
    "dot with scale": lambda dtype: Attention(use_scale=True, dtype=dtype),
    "concat": lambda dtype: Attention(score_mode="concat", dtype=dtype),
    "concat with scale": lambda dtype: Attention(use_scale=True, score_mode="concat", dtype=dtype),
    "additive": lambda dtype: AdditiveAttention(dtype=dtype),
    "additive without scale": lambda dtype: AdditiveAttention(use_scale=False, dtype=dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("masks", ["none", "value", "query", "both"])
@pytest.mark.parametrize("own_key", [False, True], ids=["value as key", "own key"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_bits_of_step(name: str, own_key: bool, masks: str, dtype: str) -> None:
    rng = np.random.default_rng(3)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(dtype)

    query, value, key = numbers(B, D), numbers(B, S, D + own_key), numbers(B, S, D)
    layer = LAYERS[name](dtype)
    inputs = [query, value, *([key] if own_key else [])]
    layer.build_once([(B, None, D), *(array.shape for array in inputs[1:])])
    layer.set_weights([numbers(*weight.shape) for weight in layer.get_weights()])
    of_query, of_value = np.array([True, False, True]), rng.random((B, S)) < 0.6
    of_value[2] = False  # nothing to attend to
    mask = [of_query if masks in ("query", "both") else None, of_value if masks in ("value", "both") else None]
    for with_scores in (False, True):
        call: dict[str, Any] = dict(return_attention_scores=with_scores)
        call |= {} if masks == "none" else {"mask": mask}
        bound = bound_step(layer, {"inputs": inputs, **call}, ())
        assert bound is not None
        for _ in range(3):  # other numbers in the same arrays
            query[...] = numbers(B, D)
            value[...], key[...] = numbers(*value.shape), numbers(B, S, D)
            of_query[...], of_value[:2] = rng.random(B) < 0.5, rng.random((2, S)) < 0.5
            for one in bound.calls:
                one()
            expected, _ = layer.step(inputs, **call)
            same(list(flatten(bound.outputs)), list(flatten(expected)))


def test_what_is_not_bound() -> None:
    """It is stepped as ever, or refused there."""
    layer = Attention()
    query, value = np.ones((B, D), "float32"), np.ones((B, S, D), "float32")
    assert bound_step(layer, {"inputs": [query, value]}, ()) is not None
    assert bound_step(layer, {"inputs": [query, value], "use_causal_mask": True}, ()) is None
    assert bound_step(layer, {"inputs": [query[:, None], value]}, ()) is None
    assert bound_step(layer, {"inputs": [query, query]}, ()) is None
    assert bound_step(layer, {"inputs": [query, value[:, :0]]}, ()) is None
    assert bound_step(layer, {"inputs": [query, value], "mask": [None, np.ones((B, S))]}, ()) is None
