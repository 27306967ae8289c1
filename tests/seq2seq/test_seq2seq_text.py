"""Text: strings to ids and back, its files, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from everystep.errors import DtypeError, FileError, OptionError
from everystep.seq2seq import Text

PAIRS = [("cake", "K EY1 K"), ("cat", "K AE1 T"), ("chaos", "K EY1 AA2 S"), ("ça va", "S AH0  V AA2")]


def words_to_words() -> Text:
    return Text.fit(PAIRS, source="characters", target="words")


def test_special_ids_come_first() -> None:
    text = words_to_words()
    assert (text.padding, text.start, text.end, text.unknown) == (0, 1, 2, 3)
    assert text.source_size == 4 + len(set("cakecatchaosça va"))
    assert text.target_size == 4 + len({"K", "EY1", "AE1", "T", "AA2", "S", "AH0", "V"})


def test_characters_go_there_and_back() -> None:
    text = Text.fit([(s, s) for s, _ in [*PAIRS, ("a\nb  \u0301c[end]", "")]])
    strings = ["a\nb  ca\u0301", "[end]", "çavas"]
    ids = text.encode(strings)
    assert ids.dtype == np.int32
    assert ids.shape == (3, 8)
    assert [int((row > 0).sum()) for row in ids] == [8, 5, 5]
    assert ids.min() == 0
    assert ids[ids > 0].min() > text.unknown
    assert text.decode(ids) == strings


def test_words_are_joined_by_one_space() -> None:
    text = words_to_words()
    assert text.decode(text.target.ids(["S AH0  V\tAA2", "K"])) == ["S AH0 V AA2", "K"]


def test_what_was_not_seen_is_unknown() -> None:
    text = words_to_words()
    assert text.encode(["xa\N{REPLACEMENT CHARACTER}"])[0, [0, 2]].tolist() == [text.unknown] * 2
    (ids,) = text.target.ids(["K ZZ T"])
    assert (ids == text.unknown).tolist() == [False, True, False]
    assert text.decode([ids]) == ["K \N{REPLACEMENT CHARACTER} T"]


def test_bytes_know_any_string() -> None:
    text = Text.fit([("low lower lowest", "new")] * 3, source="bpe", target="bpe", source_size=266, target_size=262)
    assert (text.source_size, text.target_size) == (266, 262)
    strings = ["low  lower \U0001f600 ça\n\N{REPLACEMENT CHARACTER}", " "]
    ids = text.source.ids(strings)
    assert text.source.strings(ids) == strings
    assert len(text.source.ids(["lower"])[0]) < 5
    assert min(int(row.min()) for row in ids) > text.unknown


def test_the_rarest_become_unknown() -> None:
    text = Text.fit([("aaabbc", "x y y")] * 2, target="words", source_size=6, target_size=5)
    assert (text.source_size, text.target_size) == (6, 5)
    assert (text.encode(["abc"]) == text.unknown).tolist() == [[False, False, True]]
    assert text.decode(text.target.ids(["y x"])) == ["y \N{REPLACEMENT CHARACTER}"]


def test_decoding_stops_at_the_first_end_and_leaves_out_padding_and_start() -> None:
    text = words_to_words()
    (ids,) = text.target.ids(["K AE1 T"])
    row = [text.start, ids[0], text.padding, ids[1], text.end, ids[2], text.end]
    assert text.decode(np.array([row, [2] * 7])) == ["K AE1", ""]
    assert text.decode([ids[:2], ids]) == ["K AE1", "K AE1 T"]  # without an end: whole


def test_a_given_tokenizer_counts_from_3() -> None:
    """Its own special tokens, cut and padding are its business no longer."""
    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "b": 4, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.decoder = decoders.Fuse()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    text = Text(tokenizer, tokenizer)
    assert text.source_size == 3 + 5
    assert text.encode(["a b c a b", "a"]).tolist() == [[4, 7, 5, 4, 7], [4, 0, 0, 0, 0]]
    assert 3 not in text.encode(["<s> a"])
    assert text.decode([[4, 7, 4]]) == ["aba"]
    assert tokenizer.truncation is not None  # the one that was given stays as it is
    again = Text.fit(PAIRS, source=tokenizer)
    assert again.source_size == 8
    assert again.decode(again.target.ids(["K S"])) == ["K S"]


def test_saved_and_loaded(tmp_path: Path) -> None:
    text = Text.fit(PAIRS, source="bpe", target="words", source_size=270)
    text.save(tmp_path / "text.json")
    again = Text.load(tmp_path / "text.json")
    strings = [source for source, _ in PAIRS] + ["<s> \u4f60"]
    np.testing.assert_array_equal(again.encode(strings), text.encode(strings))
    ids = text.target.ids([target for _, target in PAIRS])
    assert again.decode(ids) == text.decode(ids) == ["K EY1 K", "K AE1 T", "K EY1 AA2 S", "S AH0 V AA2"]
    assert (again.source_size, again.target_size) == (text.source_size, text.target_size)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "text.json").read_bytes()


def test_fitting_twice_gives_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Text.fit(PAIRS, source="bpe", target="words", source_size=300).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_it_needs_no_keras(tmp_path: Path) -> None:
    words_to_words().save(tmp_path / "text.json")
    code = (
        "import sys\n"
        "for name in ('keras', 'jax', 'torch', 'tensorflow'): sys.modules[name] = None\n"
        "from everystep.seq2seq import Text\n"
        f"text = Text.load({str(tmp_path / 'text.json')!r})\n"
        "print(text.encode(['cat']).shape, text.decode([[4, 5, 2]]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("(1, 3) ['")


# ---- Refusals ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "was not written by Text.save"),
        ('{"format": "another"}', "was not written by Text.save"),
        ('{"format": "everystep.seq2seq.Text", "version": 2}', "has version 2, and this everystep reads 1"),
        ('{"format": "everystep.seq2seq.Text", "version": 1}', "source is no tokenizer"),
        ('{"format": "everystep.seq2seq.Text", "version": 1, "source": {}}', "source is no tokenizer"),
    ],
)
def test_a_file_that_is_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text(content)
    with pytest.raises(FileError, match=message):
        Text.load(tmp_path / "text.json")


def test_a_file_whose_target_is_damaged(tmp_path: Path) -> None:
    words_to_words().save(tmp_path / "text.json")
    content = json.loads((tmp_path / "text.json").read_text())
    content["target"]["model"]["type"] = "Other"
    (tmp_path / "text.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match="target is no tokenizer"):
        Text.load(tmp_path / "text.json")


def test_fit_refuses() -> None:
    with pytest.raises(DtypeError, match=r"two strings of Unicode text; pair 1 is \('a', 3\)"):
        Text.fit([("a", "b"), ("a", 3)])
    with pytest.raises(DtypeError, match="two strings of Unicode text; pair 0 is 'ab'"):
        Text.fit(["ab"])
    with pytest.raises(DtypeError, match=r"two strings of Unicode text; pair 1 is \('a', '\\ud800'\)"):
        Text.fit([("a", "b"), ("a", "\ud800")])
    for size in ("9", 9.5, True, 0):
        with pytest.raises(OptionError, match="target_size must be a whole number from 1 on; got"):
            Text.fit(PAIRS, target_size=size)
    with pytest.raises(OptionError, match="there are no pairs"):
        Text.fit([])
    with pytest.raises(OptionError, match=r"'characters', 'words', 'bpe' or a tokenizers\.Tokenizer; got 'letters'"):
        Text.fit(PAIRS, source="letters")
    with pytest.raises(OptionError, match="up to a size that must be given"):
        Text.fit(PAIRS, target="bpe")
    with pytest.raises(OptionError, match="'bpe' needs 260 ids at least; got the size 259"):
        Text.fit(PAIRS, target="bpe", target_size=259)
    with pytest.raises(OptionError, match="'characters' needs 5 ids at least; got the size 4"):
        Text.fit(PAIRS, source_size=4)
    with pytest.raises(OptionError, match="target_size goes with a tokenizer that is made here"):
        Text.fit(PAIRS, target=words_to_words().target.tokenizer, target_size=9)
    with pytest.raises(OptionError, match=r"expected a tokenizers\.Tokenizer; got int"):
        Text.fit(PAIRS, source=5)
    with pytest.raises(OptionError, match="the tokenizer has no tokens: train it before"):
        Text(Tokenizer(models.BPE()), Tokenizer(models.BPE()))


def test_strings_are_encoded_from_whatever_gives_them_once() -> None:
    text = words_to_words()
    np.testing.assert_array_equal(text.encode(one for one in ["cat"]), text.encode(["cat"]))
    np.testing.assert_array_equal(text.encode(np.array(["cat"])), text.encode(["cat"]))


def test_encode_and_decode_refuse() -> None:
    text = words_to_words()
    with pytest.raises(DtypeError, match=r"a list of strings, one for each row, as \[string\] for one; got 'cat'"):
        text.encode("cat")
    with pytest.raises(DtypeError, match=r"for each row, .* for one; got None"):
        text.encode(None)
    with pytest.raises(DtypeError, match="a list of strings, of Unicode text; number 1 is 3"):
        text.encode(["cat", 3])
    with pytest.raises(DtypeError, match=r"a list of strings, of Unicode text; number 0 is '\\udc00'"):
        text.encode(["\udc00"])
    with pytest.raises(OptionError, match="source 1, '', has no tokens"):
        text.encode(["cat", ""])
    with pytest.raises(OptionError, match=f"ids are from 0 to {text.target_size - 1}; row 1 has 4 to 99"):
        text.decode([[4], [4, 99]])
    with pytest.raises(OptionError, match="row 0 has -1 to 4"):
        text.decode([[4, -1]])
    with pytest.raises(DtypeError, match=r"rows of ids, \(B,T\) integers; got in row 0: 4"):
        text.decode([4, 5])
    with pytest.raises(DtypeError, match="got in row 0"):
        text.decode(np.zeros((2, 3)))
