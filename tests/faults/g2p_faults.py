"""Faults in the grapheme-to-phoneme benchmark."""

from __future__ import annotations

from fault import Fault

DATA = ("tests/benchmarks/test_g2p_data.py",)
TRAINING = ("tests/benchmarks/test_g2p_training.py",)

G2P_FAULTS = [
    Fault(
        "g2p: the split changes from run to run",
        "benchmarks/g2p/words.py",
        'int.from_bytes(hashlib.sha256(spelling.encode()).digest()[:8], "big") % 1000',
        "hash(spelling) % 1000",
        DATA,
    ),
    Fault(
        "g2p: alternatives that differ in stress alone count twice",
        "benchmarks/g2p/words.py",
        'tuple(phoneme.rstrip("012") for phoneme in phonemes)\n',
        'tuple(phoneme.rstrip("12") for phoneme in phonemes)\n',
        DATA,
    ),
    Fault(
        "g2p: the decoder reads what it is to say",
        "benchmarks/g2p/batches.py",
        "np.concatenate([np.full((len(rows), 1), START, np.int32), wanted[:, :-1]], axis=1)",
        "wanted",
        DATA,
    ),
    Fault(
        "g2p: pairs that are left over are left out",
        "benchmarks/g2p/batches.py",
        "left = np.concatenate([left, random.choice(order, size - len(left) % size)])",
        "left = left[: len(left) // size * size]",
        DATA,
    ),
    Fault(
        "g2p: phoneme errors of the nearest are divided by the first's length",
        "benchmarks/g2p/scores.py",
        "phonemes_any += len(word.pronunciations[nearest])",
        "phonemes_any += len(word.pronunciations[0])",
        DATA,
    ),
    Fault(
        "g2p: dropout goes on from where a process began",
        "benchmarks/g2p/training.py",
        "random = np.random.default_rng([recipe.seed, number, 1])",
        "random = np.random.default_rng()",
        TRAINING,
    ),
    Fault(
        "g2p: the last model is taken, not the best",
        "benchmarks/g2p/training.py",
        "if best(history) is history[-1]:",
        "if history:",
        TRAINING,
    ),
    Fault(
        "g2p: a word counts as right when its last pair is",
        "benchmarks/g2p/training.py",
        "np.logical_or.at(right, of.word, said)",
        "right[of.word] = said",
        TRAINING,
    ),
    Fault(
        "g2p: answers are handed out in the order of their lengths",
        "benchmarks/g2p/decoding.py",
        "found[place] = phonemes(row)",
        "found[start + places.index(place)] = phonemes(row)",
        DATA,
    ),
]
