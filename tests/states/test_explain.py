"""The table of `explain`: what it finds in models and layers of both kinds, and how it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import keras
import numpy as np
import pytest

import everystep.keras.layers
import everystep.layers
import everystep.models
from everystep.errors import OptionError
from everystep.states.explain import Explanation, explain

NAMESPACES = {
    "everystep": (everystep.layers, everystep.models),
    "everystep.keras": (everystep.keras.layers, everystep.keras.models),
    "keras": (keras.layers, keras.models),
}
BOTH = pytest.mark.parametrize(("layers", "models"), NAMESPACES.values(), ids=list(NAMESPACES))


def goes_to(explanation: Explanation) -> dict[str, tuple[str, ...]]:
    return {row.name: row.goes_to for row in explanation.rows}


@BOTH
def test_the_four_cases(layers: Any, models: Any) -> None:
    x = layers.Input((3, 1), name="x")
    said = []
    for sequences in (False, True):
        for state in (False, True):
            returned = layers.LSTM(1, return_sequences=sequences, return_state=state, name="lstm")(x)
            model = models.Model(inputs=x, outputs=list(returned) if state else returned)
            rows = explain(model).rows
            assert goes_to(explain(model)) == {
                "x: output 0": ("into lstm",),
                **{f"lstm: output {k}": (f"model output {k}",) for k in range(3 if state else 1)},
            }
            said.append([(row.shape_in_words, row.equals) for row in rows[1:]])
    per_row, per_step = "(rows, units) = (None, 1)", "(rows, steps, units) = (None, 3, 1)"
    last_c = (per_row, "no other output: h = o * tanh(c)")
    assert said == [
        [(per_row, "the last step of what return_sequences=True returns")],
        [(per_row, "output 1"), (per_row, "output 0"), last_c],
        [(per_step, "its last step is all that return_sequences=False returns")],
        [(per_step, "its last step is output 1"), (per_row, "the last step of output 0"), last_c],
    ]


@BOTH
def test_an_encoder_and_decoder(layers: Any, models: Any) -> None:
    source, target = layers.Input((None,), name="source"), layers.Input((None, 2), name="target")
    vectors = layers.Embedding(7, 4, name="vectors")(source)
    _, h, c = layers.LSTM(5, return_state=True, name="encoder")(vectors)
    y = layers.LSTM(5, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    y = layers.Dense(3, name="dense")(y)
    explanation = explain(models.Model([source, target], y))
    assert goes_to(explanation) == {
        "source: output 0": ("into vectors",),
        "target: output 0": ("into decoder",),
        "vectors: output 0": ("into encoder",),
        "encoder: output 0": (),
        "encoder: output 1": ("as initial_state into decoder",),
        "encoder: output 2": ("as initial_state into decoder",),
        "decoder: output 0": ("into dense",),
        "dense: output 0": ("model output 0",),
    }
    shapes = {row.name: row.shape_in_words for row in explanation.rows}
    assert shapes["source: output 0"] == "(rows, steps) = (None, None)"
    assert shapes["vectors: output 0"] == "(rows, steps, features) = (None, None, 4)"
    assert shapes["dense: output 0"] == "(rows, steps, units) = (None, None, 3)"


@BOTH
def test_operations_that_make_masks_are_left_out(layers: Any, models: Any) -> None:
    x = layers.Input((None,), name="x")
    y = layers.LSTM(3, name="lstm")(layers.Embedding(9, 2, mask_zero=True, name="vectors")(x))
    assert goes_to(explain(models.Model(x, y))) == {
        "x: output 0": ("into vectors",),
        "vectors: output 0": ("into lstm",),
        "lstm: output 0": ("model output 0",),
    }


def test_operations_that_change_what_flows_are_kept() -> None:
    x = keras.layers.Input((3, 2), name="x")
    y = keras.layers.LSTM(4, return_sequences=True, name="lstm")(x)[:, -1]
    rows = explain(keras.Model(x, y)).rows
    assert rows[1].goes_to == (f"into {rows[2].name.split(':')[0]}",)
    assert rows[2].what == "what the operation GetItem returns"
    assert rows[2].goes_to == ("model output 0",)


@BOTH
def test_a_layer_that_is_called_twice(layers: Any, models: Any) -> None:
    x = layers.Input((3, 2), name="x")
    shared = layers.LSTM(2, return_sequences=True, name="shared")
    assert goes_to(explain(models.Model(x, shared(shared(x))))) == {
        "x: output 0": ("into shared, call 1 of 2",),
        "shared, call 1 of 2: output 0": ("into shared, call 2 of 2",),
        "shared, call 2 of 2: output 0": ("model output 0",),
    }


@pytest.mark.parametrize("namespace", ["everystep", "everystep.keras"])
def test_additions_come_last(namespace: str) -> None:
    layers, _ = NAMESPACES[namespace]
    options = dict(return_state=True, return_cell_sequences=True, return_gates=True)
    layer = layers.LSTM(4, name="lstm", **options)
    rows = explain(layer).rows
    assert [row.shape for row in rows] == [(None, 4), (None, 4), (None, 4), (None, None, 4), (None, None, 4, 4)]
    assert rows[4].axes == ("rows", "steps", "gates", "units")
    layer(layers.Input((9, 2)))
    assert [row.shape for row in explain(layer).rows][3:] == [(None, 9, 4), (None, 9, 4, 4)]
    assert not any("return_" in note.replace("return_sequences", "") for note in explain(layer).notes)


def test_a_model_inside_a_model() -> None:
    x = keras.layers.Input((None, 2))
    _, h, c = keras.layers.LSTM(4, return_state=True, name="lstm")(x)
    inner = keras.Model(x, [h, c], name="encoder")
    y = keras.layers.Input((3, 2), name="y")
    rows = explain(keras.Model(y, inner(y))).rows
    assert [row.name for row in rows] == ["y: output 0", "encoder: output 0", "encoder: output 1"]
    assert rows[2].what == "c, the cell state, after the last step"
    assert rows[2].equals == "lstm: output 2, inside encoder"
    assert rows[2].goes_to == ("model output 1",)
    sequence = keras.Model(x, keras.layers.LSTM(4, return_sequences=True)(x), name="sequence")
    assert explain(keras.Model(y, sequence(y))).rows[1].shape == (None, 3, 4)


def test_what_is_not_known_is_said() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.lstm = keras.layers.LSTM(4, name="lstm")
            self.dense = keras.layers.Dense(2, name="dense")

    explanation = explain(Own())
    assert explanation.title.endswith("where it goes is not known, as the model is no graph")
    assert [row.shape_in_words for row in explanation.rows] == [
        "(rows, units) = (None, 4)",
        "known once the layer is in a model",
    ]

    class Cell(keras.layers.Layer):
        state_size = 2

    row = explain(keras.layers.RNN([keras.layers.LSTMCell(2), Cell()], name="stack")).rows[0]
    assert row.what == "what the recurrent layer, not described here, RNN returns"
    assert not row.equals
    custom = explain(keras.layers.RNN(keras.layers.LSTMCell(2), return_state=True)).rows
    assert [row.equals for row in custom] == ["output 1", "output 0", "no other output: h = o * tanh(c)"]
    unbuilt = keras.Sequential([keras.layers.LSTM(4)])
    assert len(explain(unbuilt).rows) == 1


def test_notes_are_said_once_for_all_layers_that_they_are_true_of() -> None:
    x = keras.layers.Input(batch_shape=(2, 3, 1))
    y = keras.layers.LSTM(2, return_sequences=True, name="a", stateful=True)(x)
    notes = explain(keras.Model(x, keras.layers.LSTM(2, return_sequences=True, name="b")(y))).notes
    assert "a, b: it can also return: return_state=True (the last h and c)" in notes
    assert sum("stateful" in note for note in notes) == 1
    assert sum("with_engine" in note for note in notes) == 1


@pytest.mark.parametrize("thing", [3, None, "lstm", np.zeros(3), [keras.layers.LSTM(2)]])
def test_anything_else_is_refused(thing: Any) -> None:
    with pytest.raises(OptionError, match=f"a model or a layer, of everystep or Keras; got {type(thing).__name__}"):
        explain(thing)


def test_a_class_is_refused_with_what_to_do() -> None:
    with pytest.raises(OptionError, match=r"not a class: make one, LSTM\(\.\.\.\)"):
        explain(keras.layers.LSTM)
    with pytest.raises(OptionError, match="got KerasTensor"):
        explain(keras.layers.Input((3, 1)))


# ---- How it prints ----


def everything(name: str = "a_layer_of_a_rather_long_name") -> Explanation:
    x = everystep.layers.Input((3, 1))
    options = dict(return_sequences=True, return_state=True, return_cell_sequences=True, return_gates=True)
    outputs = everystep.layers.LSTM(2, zero_output_for_mask=True, name=name, **options)(x)
    return explain(everystep.models.Model(x, list(outputs)))


@pytest.mark.parametrize("width", [40, 80, 100, 110, 120, 200])
def test_the_text_fits_its_width_and_loses_no_word(width: int) -> None:
    explanation = everything()
    lines = explanation.text(width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)
    printed = re.sub(r"[\s*-]", "", "".join(sorted(explanation.text(width))))
    for row in explanation.rows:
        for text in (row.name, row.what, row.steps, row.equals, row.use):
            assert all(explanation.text(200).count(word) for word in text.split())
    assert len(printed) == len(re.sub(r"[\s*-]", "", explanation.text(200)))


def test_words_are_not_broken_at_the_usual_widths() -> None:
    for width in (100, 110, 120):
        text = everything("encoder_lstm").text(width)
        for word in ("zero_output_for_mask", "initial_state:", "(rows,", "units)"):
            assert word in text


def test_printing_follows_the_terminal_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = everything()
    for columns, width in ((10, 80), (100, 100), (400, 120)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert str(explanation) == repr(explanation) == explanation.text(width)


def test_the_html_is_a_table_with_headers_and_is_escaped() -> None:
    x = keras.layers.Input((3, 1))
    model = keras.Model(x, keras.layers.LSTM(2, name="<b>&'\"")(x), name="<script>")
    html = explain(model)._repr_html_()

    class Reader(HTMLParser):
        open: list[str] = []  # noqa: RUF012
        tags: list[tuple[str, dict[str, str | None]]] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.tags.append((tag, dict(attributes)))
            if tag != "br":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(html)
    assert not reader.open
    assert {tag for tag, _ in reader.tags}.isdisjoint({"b", "script"})
    assert [a["scope"] for tag, a in reader.tags if tag == "th"] == ["col"] * 5 + ["row"] * 2
    assert sum(tag == "caption" for tag, _ in reader.tags) == 1
    assert "&lt;b&gt;&amp;" in html
    assert not re.search(r"#[0-9a-f]{3}|rgb|background|(?<!current)color:", html)  # the page's colours, light or dark


def test_it_needs_no_framework() -> None:
    code = """
import sys
from everystep.layers import Input, LSTM
from everystep.models import Model
from everystep.states.explain import explain
x = Input((3, 1)); print(explain(Model(x, LSTM(1)(x))))
sys.exit(bool({"keras", "jax", "torch", "tensorflow"} & set(sys.modules)))
"""
    wide = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=wide)
    assert "(rows, units)" in done.stdout


def test_with_engine_is_said_to_replace_what_it_replaces() -> None:
    class Own(keras.layers.LSTM):
        pass

    for layer, replaced in (
        (keras.layers.LSTM(3), True),
        (keras.layers.GRU(3), True),
        (keras.layers.SimpleRNN(3), True),
        (keras.layers.RNN(keras.layers.LSTMCell(3)), True),
        (Own(3), False),
    ):
        name = type(layer).__name__
        [note] = [note for note in explain(layer).notes if "with_engine" in note]
        assert ("puts it in the place of Keras's" in note) == replaced
        assert (f"leaves {name} as it is" in note) == (not replaced)


def test_dense_has_steps_where_its_input_has() -> None:
    layers, models = keras.layers, keras.models
    x = layers.Input((4, 2))
    per_step = layers.Dense(3, name="per_step")(layers.LSTM(2, return_sequences=True)(x))
    once = layers.Dense(3, name="once")(layers.Flatten()(x))
    last = layers.Dense(3, name="last")(layers.LSTM(2)(x))
    said = {row.name: row.what for row in explain(models.Model(x, [per_step, once, last])).rows}
    assert said["per_step: output 0"] == "activation(input @ kernel + bias), each step on its own"
    assert said["once: output 0"] == said["last: output 0"] == "activation(input @ kernel + bias)"
