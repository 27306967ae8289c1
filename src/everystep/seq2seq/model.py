"""An encoder-decoder as a plain functional Keras model: the graph that is trained is the one that decodes.

B batch, S steps of the source, T of the target, H units.
"""

from __future__ import annotations

from typing import Any

from everystep import keras
from everystep.errors import OptionError
from everystep.seq2seq.checks import whole_number

Tensor = Any  # a symbolic tensor of Keras
Model = Any  # Keras's; it has no types

CELLS = ("lstm", "gru", "simple_rnn")
ATTENTION = (None, "luong", "bahdanau")


def encoder_decoder(
    source_size: int,
    target_size: int,
    *,
    embedding: int = 128,
    units: int = 256,
    layers: int = 1,
    cell: str = "lstm",
    bidirectional: bool = False,
    attention: str | None = None,
    dropout: float = 0.0,
    name: str = "encoder_decoder",
) -> Model:
    """The model of Sutskever et al. (2014), to be trained by teacher forcing, with attention if asked for.

    Inputs: "source" (B,S) and "target" (B,T), integer ids; id 0 is padding, which is masked. The target is what the
    decoder reads: the start, then what it should have said. Output: "logits" (B,T,target_size) of the next id; train
    with `SparseCategoricalCrossentropy(from_logits=True)`, which gets the target's mask from Keras.

    Layer k of the decoder starts from the last states of the encoder's layer k. A bidirectional encoder has units/2
    each way, so that its states, those of both ways side by side, have the decoder's size: h and c arrive as they were,
    and no weights or activation stand between.

    Attention reads all of the encoder's last layer, e_s, from each output y_t of the decoder's; what it finds joins
    that output, and tanh(W [found; y_t]) goes to the logits.

    - "luong": scores y_t W e_s, "general" in Luong et al. (2015); without their input feeding.
    - "bahdanau": scores v tanh(W y_t + U e_s), of Bahdanau et al. (2015). Theirs are of the state before the step, and
      what is found enters the step. Such a loop through the attention is no graph of whole sequences: here, as in
      Luong's, the scores are of the step's output, and what is found comes after it.

    Args:
        source_size, target_size: how many ids there are, padding included.
        embedding: features of an embedded id. units: H of each layer; an even number for a bidirectional encoder.
        layers: of the encoder and of the decoder, each.
        cell: "lstm", "gru" or "simple_rnn".
        bidirectional: whether the encoder reads both ways.
        attention: None, "luong" or "bahdanau".
        dropout: of what goes into each recurrent layer and into the logits (Zaremba et al., 2014).
        name: of the model.

    Returns:
        A functional `keras.Model`, not compiled; its recurrent layers are everystep's.

    Raises:
        OptionError: an argument has a value that it cannot take.
    """
    for argument, number in {
        "source_size": source_size,
        "target_size": target_size,
        "embedding": embedding,
        "units": units,
        "layers": layers,
    }.items():
        whole_number(argument, number)
    _check_one_of("cell", cell, CELLS)
    _check_one_of("attention", attention, ATTENTION)
    if bidirectional and units % 2:
        raise OptionError(f"a bidirectional encoder has units/2 each way, so units must be even; got {units}")
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise OptionError(f"dropout must be from 0 to below 1; got {dropout!r}")

    recurrent = getattr(keras.layers, {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}[cell])

    def dropped(x: Tensor, where: str) -> Tensor:
        return keras.layers.Dropout(dropout, name=f"{where}_dropout")(x) if dropout else x

    source = keras.Input((None,), dtype="int32", name="source")
    encoded = keras.layers.Embedding(source_size, embedding, mask_zero=True, name="source_embedding")(source)
    states = []
    for k in range(1, layers + 1):
        options = {"return_sequences": k < layers or attention is not None, "return_state": True}
        encoded = dropped(encoded, f"encoder_{k}")
        if bidirectional:
            both = keras.layers.Bidirectional(recurrent(units // 2, **options, name=cell), name=f"encoder_{k}")
            encoded, *ends = both(encoded)
            ways = zip(ends[: len(ends) // 2], ends[len(ends) // 2 :], strict=True)  # h, c forward; h, c backward
            letters = ("h", "c")
            last = [keras.layers.Concatenate(name=f"{a}_{k}")(list(way)) for a, way in zip(letters, ways, strict=False)]
        else:
            encoded, *last = recurrent(units, **options, name=f"encoder_{k}")(encoded)
        states.append(last)

    target = keras.Input((None,), dtype="int32", name="target")
    decoded = keras.layers.Embedding(target_size, embedding, mask_zero=True, name="target_embedding")(target)
    for k, state in enumerate(states, 1):
        layer = recurrent(units, return_sequences=True, name=f"decoder_{k}")
        decoded = layer(dropped(decoded, f"decoder_{k}"), initial_state=state)
    if attention is not None:
        decoded = _attended(decoded, encoded, units, attention)
    logits = keras.layers.Dense(target_size, name="logits")(dropped(decoded, "logits"))
    return keras.Model([source, target], logits, name=name)


def _attended(decoded: Tensor, encoded: Tensor, units: int, attention: str) -> Tensor:
    """(B,T,H) of the decoder's outputs (B,T,H) and the encoder's (B,S,H); masks of both come with them."""
    query = keras.layers.Dense(units, use_bias=False, name="attention_query")(decoded)
    if attention == "luong":
        found = keras.layers.Attention(name="attention")([query, encoded])
    else:
        key = keras.layers.Dense(units, use_bias=False, name="attention_key")(encoded)
        found = keras.layers.AdditiveAttention(name="attention")([query, encoded, key])
    joined = keras.layers.Concatenate(name="found_and_decoded")([found, decoded])
    return keras.layers.Dense(units, activation="tanh", use_bias=False, name="attended")(joined)


def _check_one_of(argument: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{argument} must be one of {', '.join(map(repr, choices))}; got {value!r}")
