"""From strings to a saved model that decodes where there is no Keras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

from everystep.seq2seq import Text, encoder_decoder

DECODE = """
import json, sys
for name in ("keras", "jax", "torch", "tensorflow"):
    sys.modules[name] = None
import everystep
from everystep.seq2seq import Text
text, model = Text.load(sys.argv[1]), everystep.load_model(sys.argv[2])
ids = model.generate(text.encode(json.loads(sys.argv[3])), start=text.start, end=text.end, max_length=20)
print(json.dumps(text.decode(ids)))
"""


def test_it_learns_to_reverse(tmp_path: Path) -> None:
    """Strings that it was not shown, all of them, decoded by its own output."""
    rng = np.random.default_rng(0)
    strings = sorted({"".join(rng.choice(list("abcdef"), n)) for n in rng.integers(2, 8, 4000)})
    rng.shuffle(strings)
    pairs = [(string, string[::-1]) for string in strings]
    shown, held_out = pairs[200:], strings[:200]
    text = Text.fit(shown)
    keras.utils.set_random_seed(0)
    model = encoder_decoder(text.source_size, text.target_size, embedding=16, units=64, attention="luong")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, weighted_metrics=["accuracy"])
    fitted = model.fit(text.batches(shown, buckets=4), epochs=12, verbose=0)
    assert fitted.history["loss"][-1] < 0.02 < 1 < fitted.history["loss"][0]
    files = [str(tmp_path / name) for name in ("text.json", "model.keras")]
    text.save(files[0])
    model.save(files[1])
    command = [sys.executable, "-c", DECODE, *files, json.dumps(held_out)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [string[::-1] for string in held_out]
