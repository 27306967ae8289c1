"""The code of pages of docs/ runs as it is printed, in the page's order, and does what the page says of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everystep import Input, Model
from everystep.layers import GRU, Dense, Embedding

DOCS = Path(__file__).parents[2] / "docs"
RNG = np.random.default_rng(0)


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def run(page: str, **names: Any) -> dict[str, Any]:
    """All names after the page's code, which finds these before it."""
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


def translator(source: str = "source") -> Model:
    """Ids 0 to 9 in, and out, the decoder from the encoder's last state."""
    read, written = (Input((None,), dtype="int32", name=name) for name in (source, "target"))
    y = GRU(6, return_sequences=True)(Embedding(10, 4)(written), initial_state=GRU(6)(Embedding(10, 4)(read)))
    return Model([read, written], Dense(10)(y))


def language_model() -> Model:
    ids = Input((None,), dtype="int32")
    return Model(ids, Dense(10, "softmax")(GRU(6, return_sequences=True)(Embedding(10, 4)(ids))))


def next_step_of(columns: int, forecast: int) -> Model:
    x = Input((None, columns))
    return Model(x, Dense(forecast)(GRU(6, return_sequences=True)(x)))


def test_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    translator().save("translator.keras")
    found = run("generation.md", sentences=RNG.integers(0, 10, (3, 5)), language_model=language_model())
    assert found["tokens"].shape[0] == 3
    assert found["scores"].shape == (3,)
    assert found["text"].shape == (2, 100)


def test_forecasting() -> None:
    history, hours = (RNG.normal(size=(2, 30, columns)).astype(np.float32) for columns in (3, 7))
    phase = 2 * np.pi * np.arange(48) / 24 + np.zeros((2, 1))
    given = dict(model=next_step_of(3, 3), history=history, next_step=lambda y, k: y, np=np, rng=RNG)
    given |= dict(weather=next_step_of(7, 5), hours=hours, errors=np.full(5, 0.1))
    (first, loop, columns), names = blocks("forecasting.md"), dict(given)
    exec(first + loop, names)
    np.testing.assert_array_equal(np.stack(names["found"], axis=1), names["y"])  # to the bit, as the page says
    names |= dict(sine_of_hour=np.sin(phase), cosine_of_hour=np.cos(phase))
    exec(columns, names)
    assert names["y"].shape == (200, 48, 5)
    assert len(np.unique(names["y"][:100, 1, 0])) > 90  # each run draws errors of its own


def test_streams() -> None:
    x_t = np.array([3])
    sentence, model = np.array([[1, 2, 3]]), translator("encoder_input")
    found = run("streams.md", model=model, sentence=sentence, x_t=x_t)
    np.testing.assert_array_equal(found["y_t"], model.predict([sentence, x_t[None]])[:, -1])


def test_from_strings_to_a_file_that_decodes(tmp_path: Path) -> None:
    """The second block in a process of its own, in which nothing has imported Keras."""
    for block in blocks("seq2seq.md"):
        said = 'import sys; print(text.decode(ids), "keras" in sys.modules, "jax" in sys.modules)' * (
            "generate" in block
        )
        ran = subprocess.run(
            [sys.executable, "-c", block + said], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"\['.*'\] False False\n", ran.stdout)
