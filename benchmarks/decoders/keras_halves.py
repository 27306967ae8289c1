"""The two halves of a trained model, rebuilt by hand of its layers, as Keras's users do it; stock Keras on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from importlib.metadata import version
from typing import Any

import keras
from decoding import Decoding, H


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("keras", "jax")}


def halves(d: Decoding, unroll: bool = False) -> tuple[Any, Any]:
    """The encoder: source (B,S) -> h, c, and with attention all it returns (B,S,H). The decoder: a token (B,1) and
    these -> logits (B,1,V), h, c.

    unroll: of the decoder's LSTM: whether its one step is no loop.
    """
    trained = keras.saving.load_model(d.file("_stock.keras"))
    layer = trained.get_layer

    source = keras.Input((None,), dtype="int32")
    encoded, *states = layer("encoder_1")(layer("source_embedding")(source))
    if len(states) == 4:  # h, c forward; h, c backward
        states = [keras.layers.Concatenate()(list(ways)) for ways in zip(states[:2], states[2:], strict=True)]
    encoder = keras.Model(source, [*states, *([encoded] if d.attends else [])])

    token = keras.Input((1,), dtype="int32")
    start = [keras.Input((H,)), keras.Input((H,))]
    values = [keras.Input((None, H))] if d.attends else []
    lstm = keras.layers.LSTM(H, return_sequences=True, return_state=True, unroll=unroll)
    decoded, *states = lstm(layer("target_embedding")(token), initial_state=start)
    lstm.set_weights(layer("decoder_1").get_weights())
    if d.attends:
        found = layer("attention")([layer("attention_query")(decoded), *values])
        decoded = layer("attended")(keras.layers.Concatenate()([found, decoded]))
    return encoder, keras.Model([token, *start, *values], [layer("logits")(decoded), *states])
