"""The ids of one side: padding, start, end, and then those of a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everystep.errors import DependencyError, DtypeError, OptionError

try:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
except ImportError:
    raise DependencyError("everystep.seq2seq.Text needs the library tokenizers: pip install everystep[text]") from None

__all__ = ["END", "PADDING", "SPECIAL", "START", "Tokenizer", "Vocabulary"]

PADDING, START, END = range(3)
SPECIAL = 3  # ids before the tokenizer's first
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # the first token of the tokenizers that are fitted here
KINDS = ("characters", "words", "bpe")
ALL = 2**31 - 1 - SPECIAL  # tokens that int32 has room for


class Vocabulary:
    """Strings as ids and back.

    Args:
        tokenizer: copied; what its JSON does not say is lost. What it cuts or pads it no longer does, nor does it read
            the names of its special tokens in a string as such.

    Attributes:
        tokenizer: the copy. size: how many ids there are.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not isinstance(tokenizer, Tokenizer):
            raise OptionError(f"expected a tokenizers.Tokenizer; got {type(tokenizer).__name__}")
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True
        tokens = self.tokenizer.get_vocab(with_added_tokens=True)
        if not tokens:
            raise OptionError("the tokenizer has no tokens: train it before")
        self.size = SPECIAL + 1 + max(tokens.values())

    @classmethod
    def fit(cls, strings: Iterable[str], kind: str, size: int | None) -> Vocabulary:
        """A tokenizer of this kind, with the tokens that are most frequent in `strings`, at most `size` ids in all.

        Raises:
            OptionError: there is no such kind, or it cannot have this size.
        """
        if kind not in KINDS:
            raise OptionError(f"a side is {', '.join(map(repr, KINDS))} or a tokenizers.Tokenizer; got {kind!r}")
        if kind == "bpe" and size is None:
            raise OptionError("'bpe' makes tokens of tokens up to a size that must be given: source_size, target_size")
        least = SPECIAL + 1 + (len(pre_tokenizers.ByteLevel.alphabet()) if kind == "bpe" else 1)
        if size is not None and size < least:
            raise OptionError(f"{kind!r} needs {least} ids at least; got the size {size}")
        options: dict[str, Any] = {
            "vocab_size": ALL if size is None else size - SPECIAL,
            "special_tokens": [UNKNOWN],
            "show_progress": False,
        }
        if kind == "bpe":
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            trainer: Any = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
        else:
            tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
            trainer = trainers.WordLevelTrainer(**options)
            if kind == "words":  # and no decoder, which puts a space between any two
                tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
            else:
                tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
                tokenizer.decoder = decoders.Fuse()
        tokenizer.train_from_iterator(strings, trainer)
        return cls(tokenizer)

    def ids(self, strings: Sequence[str]) -> list[NDArray[np.int32]]:
        """(n) for each string, n its tokens, without start and end."""
        found = self.tokenizer.encode_batch(list(strings), add_special_tokens=False)
        return [np.asarray(one.ids, np.int32) + np.int32(SPECIAL) for one in found]

    def strings(self, ids: Any) -> list[str]:
        """A string for each row of ids (B,T) or sequence of ids, up to its first end; padding and start are left out.

        Raises:
            DtypeError: no whole numbers. OptionError: an id that is none of these.
        """
        rows = []
        for k, row in enumerate(ids):
            numbers = np.asarray(row)
            if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
                raise DtypeError(f"decode takes rows of ids, (B,T) integers; got in row {k}: {row!r}")
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.size:
                raise OptionError(f"ids are from 0 to {self.size - 1}; row {k} has {numbers.min()} to {numbers.max()}")
            ends = np.flatnonzero(numbers == END)
            numbers = numbers[: ends[0]] if ends.size else numbers
            rows.append((numbers[numbers >= SPECIAL] - SPECIAL).tolist())
        return list(self.tokenizer.decode_batch(rows, skip_special_tokens=False))
