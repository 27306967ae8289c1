"""Keras on JAX: the encoder under jit, and a step of the decoder under jit, which returns its tokens and its states.

The weights are constants of what is compiled, and the decoder's LSTM is unrolled: of that, of weights as arguments and
of a loop of one step, it was the fastest, greedy, but for 4 % with attention at batch 64.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from decoding import END, MOST, START, Decoding, W, best

from decoders.keras_halves import halves, versions

__all__ = ["Halves", "prepare", "versions"]


class Halves:
    """The two halves as functions of states (h, c) or (h, c, encoded), and of tokens.

    unroll: as of `halves`.
    """

    def __init__(self, d: Decoding, unroll: bool) -> None:
        models = halves(d, unroll)
        self._weights = [
            [[v.value for v in some] for some in (half.trainable_variables, half.non_trainable_variables)]
            for half in models
        ]
        self._encoder, self._decoder = models

    def encode(self, source: Any) -> Any:
        return self._encoder.stateless_call(*self._weights[0], source)[0]

    def logits(self, tokens: Any, states: Any) -> tuple[Any, Any]:
        """(n,V), and the states after these tokens (n)."""
        (logits, h, c), _ = self._decoder.stateless_call(*self._weights[1], [tokens[:, None], *states])
        return logits[:, 0], [h, c, *states[2:]]

    def greedy(self, tokens: Any, states: Any) -> tuple[Any, Any]:
        """The next tokens (B)."""
        logits, states = self.logits(tokens, states)
        return logits.argmax(1), states

    def widen(self, states: Any) -> Any:
        """The first step: hypotheses (sums, tokens) (B,W), and the states of each (B*W,...)."""
        logits, states = self.logits(jnp.full(len(states[0]), START), states)
        return *jax.lax.top_k(jax.nn.log_softmax(logits), W), [jnp.repeat(state, W, axis=0) for state in states]

    def beam(self, sums: Any, tokens: Any, states: Any) -> Any:
        """The next hypotheses: sums, tokens (B,W), states, and which of the last ones they follow (B,W)."""
        B = len(tokens)
        logits, (h, c, *values) = self.logits(tokens.reshape(-1), states)
        V = logits.shape[1]
        numbers = sums[:, :, None] + jax.nn.log_softmax(logits).reshape(B, W, V)
        sums, places = jax.lax.top_k(numbers.reshape(B, -1), W)
        parents, tokens = places // V, places % V
        rows = (parents + W * jnp.arange(B)[:, None]).reshape(-1)
        return sums, tokens, [h[rows], c[rows], *values], parents  # values are the same for all of a row's hypotheses


def prepare(d: Decoding) -> Callable[[], np.ndarray]:
    both, source = Halves(d, unroll=True), d.source
    encode, step, widen, extend = map(jax.jit, (both.encode, both.greedy, both.widen, both.beam))
    start = jnp.full(d.batch, START)

    def greedy() -> np.ndarray:
        states, tokens = encode(source), start
        ended, made = np.zeros(d.batch, bool), []
        for _ in range(MOST):
            tokens, states = step(tokens, states)
            now = np.asarray(tokens)
            made.append(now)
            ended |= now == END
            if ended.all():
                break
        return np.stack(made, 1)

    def beam() -> np.ndarray:
        """Without what hypotheses that end call for: none does."""
        sums, tokens, states = widen(encode(source))
        parents, made = [np.zeros((d.batch, W), int)], [np.asarray(tokens)]
        for _ in range(MOST - 1):
            sums, tokens, states, parent = extend(sums, tokens, states)
            parents.append(np.asarray(parent))
            made.append(np.asarray(tokens))
        return best(parents, made)

    return {"greedy": greedy, "beam": beam}[d.method]
