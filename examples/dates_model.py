"""A reader of dates: an encoder-decoder with attention, from a locale and a string to the day in ISO 8601.

Its size, step size and number of strings were chosen on the days that `dates.days` holds out for that. Every string is
read once: there are more than enough of them. Everything is seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dates import SEED, Written
from progress import Progress
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import everystep.keras as keras
from everystep.seq2seq import Text, encoder_decoder

STRINGS, BATCH, STEP_SIZE = 60_000, 64, 5e-3
EMBEDDING, UNITS = 32, 128
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def vocabulary(strings: Sequence[Written]) -> Text:
    """A locale is one token, <de>, and so is every character of the strings; what is written has characters alone."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"^<\w+>|[\s\S]"), "isolated")
    trainer = trainers.WordLevelTrainer(special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator((one.source for one in strings), trainer)
    return Text.fit(pairs(strings), source=tokenizer)


def pairs(strings: Sequence[Written]) -> list[tuple[str, str]]:
    return [(one.source, one.iso) for one in strings]


def build(text: Text, units: int = UNITS) -> Any:
    """The Keras model, untrained: its encoder reads both ways, its decoder attends over what the encoder returns."""
    return encoder_decoder(
        text.source_size,
        text.target_size,
        embedding=EMBEDDING,
        units=units,
        bidirectional=True,
        attention="luong",
        name="dates",
    )


def train(text: Text, strings: Sequence[Written], seed: int = SEED) -> Any:
    """The Keras model, fitted in one epoch."""
    keras.utils.set_random_seed(seed)
    model = build(text)
    batches = text.batches(pairs(strings), BATCH, seed=seed, buckets=4)
    rate = keras.optimizers.schedules.CosineDecay(STEP_SIZE, len(batches))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss=loss)
    model.fit(batches, verbose=0, callbacks=[Progress()])
    return model
