"""The reader of dates: its vocabulary, its training, its answers in a process of their own, and its attention."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("babel", reason="the dates' package is not installed")
pytest.importorskip("tokenizers", reason="the extra text is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import dates
import dates_decode
import dates_model
import dates_picture

import everystep
from everystep.seq2seq import Text

EXAMPLES = Path(dates.__file__).parent
STRINGS = dates.seen(dates.days().fit, 640, seed=3)
FRAMEWORKS = ("keras", "jax", "torch", "tensorflow")


class Files(NamedTuple):
    model: Path
    vocabulary: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A reader that has read ten batches, and knows little."""
    folder = tmp_path_factory.mktemp("dates")
    found = Files(folder / "dates.keras", folder / "dates.json")
    text = dates_model.vocabulary(STRINGS)
    dates_model.train(text, STRINGS).save(found.model)
    text.save(found.vocabulary)
    return found


def test_a_locale_is_one_token_and_so_is_each_character() -> None:
    text = dates_model.vocabulary(STRINGS)
    assert text.target_size == 3 + 1 + len("0123456789-")
    one = dates.write(dates.FIRST, "d. MMMM y", "de")
    ids = text.encode([one.source, one.source.replace("<de>", "<fr>"), one.text])
    assert ids.shape == (3, 1 + len(one.text))
    assert ids[0, 0] != ids[1, 0]
    np.testing.assert_array_equal(ids[0, 1:], ids[1, 1:])
    np.testing.assert_array_equal(ids[0, 1:], ids[2, :-1])
    assert (ids[:2] > text.unknown).all()
    assert (text.encode(["<de>5. ⚄ 2021"]) == text.unknown).sum() == 1


def test_training_teaches_and_follows_from_its_seed(files: Files) -> None:
    text = Text.load(files.vocabulary)
    first, again = everystep.load_model(files.model), dates_model.train(text, STRINGS)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    batches = text.batches(dates_model.pairs(STRINGS), 64, buckets=1)
    fresh = dates_model.build(text)
    fresh.compile(loss=again.loss)
    even = np.log(len("0123456789-"))  # the loss if every character were as likely as another
    assert again.evaluate(batches, verbose=0) < even < fresh.evaluate(batches, verbose=0)


def test_a_process_without_frameworks_reads_and_says_that_it_reads_badly(files: Files, tmp_path: Path) -> None:
    picture = tmp_path / "attention.png"
    command = [sys.executable, str(EXAMPLES / "dates_decode.py"), *map(str, files), "--picture", str(picture)]
    done = subprocess.run([*command, "--without", *FRAMEWORKS], capture_output=True, text=True)
    assert done.returncode == 1
    assert "less than 95 % of the unseen days were read exactly" in done.stderr
    assert "of keras, jax, torch, tensorflow none was imported" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    ten = done.stdout.split("Ten of the strings")[1].split("\n\n")[1].splitlines()[1:]
    assert [line.split()[0] for line in ten] == list(dates_decode.PRINTED)
    known, unknown = dates.questions()
    for line in ten:
        strings = unknown if "day, pattern" in line else known
        one = next(one for one in strings if one.locale == line.split()[0])
        assert one.text in line
        assert line.endswith(one.iso)


def test_exact_is_all_characters() -> None:
    class OneAnswer:
        """Answers every string with the same day."""

        def generate(self, source: Any, **options: Any) -> Any:
            B = len(source)
            return np.broadcast_to(text.target.ids(["2021-03-05"])[0], (B, 10)), np.log(np.full(B, 0.25))

    text = dates_model.vocabulary(STRINGS)
    days = [dates.date(2021, 3, 5), dates.date(2021, 3, 6), dates.date(2021, 5, 3)]
    found = dates_decode.read(OneAnswer(), text, [dates.write(day, "d.M.y", "de") for day in days])
    for method in ("greedy", "beam of 4"):
        np.testing.assert_array_equal(found.exact[method], [True, False, False])
        assert found.texts[method] == ["2021-03-05"] * 3
        np.testing.assert_allclose(found.probabilities[method], 0.25)


def test_attention_is_what_the_layers_compute(files: Files) -> None:
    model, text = everystep.load_model(files.model), Text.load(files.vocabulary)
    source = text.encode([one.source for one in STRINGS[:5]])
    written = model.generate(source, start=text.start, max_length=7)
    weights = dates_picture.attention(model, source, text.start, written)
    assert weights.shape == (5, 7, source.shape[1])

    told = np.concatenate([np.full((5, 1), text.start), written[:, :-1]], axis=1)
    inner = [model.get_layer("attention_query").output, model.get_layer("encoder_1").output[0], model.output]
    query, encoded, logits = everystep.Model(model.inputs, inner).predict([source, told])
    np.testing.assert_array_equal(logits.argmax(-1), written)  # told at once, it writes what it wrote step by step
    scores = np.where((source != 0)[:, None], np.einsum("bth,bsh->bts", query, encoded, dtype=np.float64), -np.inf)
    expected = np.exp(scores - scores.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    # Scores of H products err by up to (H + 1) eps of their sum of magnitudes, and weights by twice that, relatively.
    size = np.einsum("bth,bsh->bts", np.abs(query), np.abs(encoded)).max()
    bound = 2 * (query.shape[-1] + 1) * np.finfo(np.float32).eps * size + 8 * np.finfo(np.float32).eps
    np.testing.assert_allclose(weights, expected, rtol=bound, atol=0)
    assert expected.max() > 2 * expected[expected > 0].min()  # it is not flat


def test_columns_of_a_terminal() -> None:
    assert dates_decode.columns("5 mars", 8) == "5 mars  "
    assert dates_decode.columns("3月", 8) == "3月" + 5 * " "
