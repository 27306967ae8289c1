"""Pairs of strings as what an encoder-decoder reads and writes. B batch, S and T steps of source and target."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from everystep.errors import DtypeError, FileError, OptionError
from everystep.seq2seq.checks import whole_number
from everystep.seq2seq.vocabulary import END, PADDING, SPECIAL, START, Tokenizer, Vocabulary

if TYPE_CHECKING:
    from everystep.seq2seq.batches import Batches

FORMAT = "everystep.seq2seq.Text"
VERSION = 1


class Text:
    """Both vocabularies of pairs of strings: what comes in as ids, what goes out as strings.

        text = Text.fit(pairs)
        model = encoder_decoder(text.source_size, text.target_size)
        model.fit(text.batches(pairs), epochs=10)
        ids = running.generate(text.encode(strings), start=text.start, end=text.end, max_length=50)
        text.decode(ids)

    On either side, 0 is padding, 1 the start, 2 the end; the tokenizer's ids follow, from 3 on. What `fit` makes begins
    with `unknown`, which decodes to U+FFFD.

    Args:
        source, target: tokenizers that are trained; they are copied, with the settings of `Vocabulary`.

    Attributes:
        padding, start, end, unknown: ids. source_size, target_size: how many ids there are.
        source, target: each side's `Vocabulary`.
    """

    padding, start, end, unknown = PADDING, START, END, SPECIAL

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        self.source, self.target = Vocabulary(source), Vocabulary(target)

    @classmethod
    def fit(
        cls,
        pairs: Iterable[tuple[str, str]],
        source: str | Tokenizer = "characters",
        target: str | Tokenizer = "characters",
        source_size: int | None = None,
        target_size: int | None = None,
    ) -> Text:
        """Tokenizers made from pairs (source, target) of strings.

        Args:
            source, target: of each side
                "characters": Unicode code points; what looks the same but is written by others is another token:
                    `unicodedata.normalize` before;
                "words": what stands between white space; decoded with one space between any two;
                "bpe": merged pairs of bytes (Sennrich et al., 2016), which know any string;
                or a trained tokenizer.
            source_size, target_size: most ids, the four above included; the rarest characters or words become unknown.
                None: all of them. "bpe" needs one.

        Raises:
            DtypeError: no pairs of strings. OptionError: an argument has a value that it cannot take.
        """
        sources, targets = split(pairs)
        sides = []
        for strings, kind, size, name in (
            (sources, source, source_size, "source_size"),
            (targets, target, target_size, "target_size"),
        ):
            if size is not None:
                whole_number(name, size)
            if isinstance(kind, str):
                sides.append(Vocabulary.fit(strings, kind, size).tokenizer)
            elif size is not None:
                raise OptionError(f"{name} goes with a tokenizer that is made here; this one is given")
            else:
                sides.append(kind)
        return cls(*sides)

    @property
    def source_size(self) -> int:
        return self.source.size

    @property
    def target_size(self) -> int:
        return self.target.size

    # ---- To and from a model ----

    def encode(self, sources: Iterable[str]) -> NDArray[np.int32]:
        """(B,S) ids for a model's "source", S the longest, filled up with padding.

        Raises:
            DtypeError: no strings. OptionError: one has no tokens.
        """
        if isinstance(sources, str) or not isinstance(sources, Iterable):
            raise DtypeError(f"encode takes a list of strings, one for each row, as [string] for one; got {sources!r}")
        strings = list(sources)
        for k, one in enumerate(strings):
            if not is_text(one):
                raise DtypeError(f"encode takes a list of strings, of Unicode text; number {k} is {one!r}")
        return padded(self.sources(strings))

    def decode(self, ids: Any) -> list[str]:
        """A target for each row of ids (B,T), or of a list of sequences: up to the first end, or whole without one.

        Raises:
            DtypeError: no whole numbers. OptionError: an id that this side does not have.
        """
        return self.target.strings(ids)

    def batches(
        self,
        pairs: Iterable[tuple[str, str]],
        batch_size: int = 64,
        *,
        shuffle: bool = True,
        seed: int = 0,
        buckets: int = 8,
        max_length: int | None = None,
        too_long: str = "raise",
    ) -> Batches:
        """The pairs as a `keras.utils.PyDataset` for `fit` and `evaluate`: see `Batches`.

        Args:
            batch_size: B.
            shuffle, seed: whether each epoch has another order, which follows from the seed and the epoch's number.
            buckets: most shapes of whole batches.
            max_length: most steps of a source, and of a target with its start; None: any.
            too_long: of pairs beyond it, "raise", or "drop": a warning and `Batches.dropped` say how many.

        Raises:
            DtypeError: no pairs of strings. OptionError: a source has no tokens, a pair is too long, or an argument
            has a value that it cannot take.
        """
        from everystep.seq2seq.batches import Batches

        sources, targets = split(pairs)
        rows = list(zip(self.sources(sources), self.target.ids(targets), strict=True))
        return Batches(rows, batch_size, shuffle, seed, buckets, max_length, too_long)

    def sources(self, strings: Sequence[str]) -> list[NDArray[np.int32]]:
        """(n) ids for each string.

        Raises:
            OptionError: a string has no tokens.
        """
        found = self.source.ids(strings)
        for k, ids in enumerate(found):
            if not ids.size:
                raise OptionError(f"source {k}, {strings[k]!r}, has no tokens: there is nothing for an encoder to read")
        return found

    # ---- Files ----

    def save(self, path: str | PathLike[str]) -> None:
        """Writes both tokenizers into one file of JSON."""
        sides = {name: json.loads(side.tokenizer.to_str()) for name, side in self._sides().items()}
        content = {"format": FORMAT, "version": VERSION, **sides}
        Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Text:
        """What `save` wrote.

        Raises:
            FileError: the file is not one of these.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileError(f"{path} is no JSON: {error}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FileError(f"{path} was not written by Text.save: its format is not {FORMAT!r}")
        if content.get("version") != VERSION:
            raise FileError(f"{path} has version {content.get('version')!r}, and this everystep reads {VERSION}")
        sides = []
        for name in ("source", "target"):
            try:
                sides.append(Tokenizer.from_str(json.dumps(content.get(name))))
            except Exception as error:  # the library's own class
                raise FileError(f"{path}: {name} is no tokenizer: {error}") from None
        return cls(*sides)

    def _sides(self) -> dict[str, Vocabulary]:
        return {"source": self.source, "target": self.target}


def split(pairs: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Sources and targets of pairs.

    Raises:
        DtypeError: one is no pair of strings. OptionError: there is none.
    """
    sources: list[str] = []
    targets: list[str] = []
    for k, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(is_text, pair)):
            raise DtypeError(f"pairs are (source, target), two strings of Unicode text; pair {k} is {pair!r}")
        sources.append(pair[0])
        targets.append(pair[1])
    if not sources:
        raise OptionError("there are no pairs")
    return sources, targets


def is_text(value: Any) -> bool:
    """Whether it is a string, and of Unicode text: a half of a surrogate pair has no bytes in UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def padded(rows: Sequence[NDArray[np.int32]], width: int | None = None) -> NDArray[np.int32]:
    """(B,S) of rows (n), n <= S, with padding after each; S is the longest, or `width`."""
    found = np.full((len(rows), width or max((len(row) for row in rows), default=0)), PADDING, np.int32)
    for to, row in zip(found, rows, strict=True):
        to[: len(row)] = row
    return found
