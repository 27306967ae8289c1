"""Faults of the encoder-decoder that is trained, and of its text."""

from __future__ import annotations

from fault import Fault

MODEL = ("tests/seq2seq/test_seq2seq_model.py",)
TEXT = ("tests/seq2seq/test_seq2seq_text.py",)
BATCHES = ("tests/seq2seq/test_seq2seq_batches.py",)

SEQ2SEQ_FAULTS = [
    Fault(
        "encoder_decoder: the states of the layers in another order",
        "src/everystep/seq2seq/model.py",
        "for k, state in enumerate(states, 1):",
        "for k, state in enumerate(states[::-1], 1):",
        MODEL,
    ),
    Fault(
        "encoder_decoder: h of one way joined with c of the same",
        "src/everystep/seq2seq/model.py",
        "zip(ends[: len(ends) // 2], ends[len(ends) // 2 :], strict=True)",
        "zip(ends[::2], ends[1::2], strict=True)",
        MODEL,
    ),
    Fault(
        "encoder_decoder: additive attention finds projected values",
        "src/everystep/seq2seq/model.py",
        "([query, encoded, key])",
        "([query, key, key])",
        MODEL,
    ),
    Fault(
        "encoder_decoder: padding of the source is read",
        "src/everystep/seq2seq/model.py",
        'mask_zero=True, name="source_embedding"',
        'mask_zero=False, name="source_embedding"',
        MODEL,
    ),
    Fault(
        "encoder_decoder: dropout before all but the first layer",
        "src/everystep/seq2seq/model.py",
        'encoded = dropped(encoded, f"encoder_{k}")',
        'encoded = dropped(encoded, f"encoder_{k}") if k > 1 else encoded',
        MODEL,
    ),
    Fault(
        "Text: a given tokenizer goes on cutting",
        "src/everystep/seq2seq/vocabulary.py",
        "self.tokenizer.no_truncation()",
        "",
        TEXT,
    ),
    Fault(
        "Text: decoding goes on after the end",
        "src/everystep/seq2seq/vocabulary.py",
        "numbers[: ends[0]] if ends.size else numbers",
        "numbers",
        TEXT,
    ),
    Fault(
        "batches: what is left of a bucket is dropped",
        "src/everystep/seq2seq/batches.py",
        "left = rows[whole:]",
        "left = rows[:0]",
        BATCHES,
    ),
    Fault(
        "batches: every epoch in the order of the first",
        "src/everystep/seq2seq/batches.py",
        "np.random.default_rng([self.seed, self._epoch])",
        "np.random.default_rng([self.seed, 0])",
        BATCHES,
    ),
    Fault(
        "buckets: cut where the steps of each group, not all, are fewest",
        "src/everystep/seq2seq/buckets.py",
        "costs = fewest[:j] + (ends[j] - ends[:j]) * steps[j]",
        "costs = (ends[j] - ends[:j]) * steps[j]",
        BATCHES,
    ),
]
