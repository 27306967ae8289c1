"""Faults of generation, of forks of rows, and of streams used again."""

from __future__ import annotations

from fault import Fault

GENERATE = ("tests/models/test_models_generate.py",)
SAMPLE = ("tests/models/test_models_generate_sample.py",)
ROWS = ("tests/models/test_models_stream_rows.py",)
ATTENTION = ("tests/layers/test_layers_bound_attention.py",)
RUNS = ("tests/layers/test_layers_bound_runs.py",)
FOLDER = "src/everystep/models/generation"

GENERATION_FAULTS = [
    Fault(
        "generation: a beam's states stay where they were",
        f"{FOLDER}/beam.py",
        "decoder.stream._reorder(rows.reshape(-1))",
        "pass",
        GENERATE,
    ),
    Fault(
        "generation: the length penalty counts the steps from 0",
        f"{FOLDER}/beam.py",
        "/ length**how.length_penalty",
        "/ (length - 1 or 1) ** how.length_penalty",
        GENERATE,
    ),
    Fault(
        "generation: a beam stops at the first end",
        f"{FOLDER}/beam.py",
        "self.sums.max(axis=1) / divisor > self.best[self.rows]",
        "self.best[self.rows] == -np.inf",
        GENERATE,
    ),
    Fault(
        "generation: of equal hypotheses the last",
        f"{FOLDER}/beam.py",
        '(-x).argsort(axis=1, kind="stable")[:, :count]',
        'm - 1 - (-x[:, ::-1]).argsort(axis=1, kind="stable")[:, :count]',
        GENERATE,
    ),
    Fault(
        "generation: a row's score goes on after its end",
        f"{FOLDER}/greedy.py",
        "np.where(lengths[rows] > step, found, 0)",
        "found",
        GENERATE,
    ),
    Fault(
        "generation: the rows that stay are those that ended",
        f"{FOLDER}/greedy.py",
        "np.flatnonzero(lengths[rows] > step + 1)",
        "np.flatnonzero(lengths[rows] <= step + 1)",
        GENERATE,
    ),
    Fault(
        "generation: rows fork after the last token too",
        f"{FOLDER}/greedy.py",
        "if not going or step + 1 == options.max_length:",
        "if not going:",
        GENERATE,
    ),
    Fault(
        "generation: one-hot, the token before stays set",
        f"{FOLDER}/decoder.py",
        "self._x_t.fill(0)",
        "pass",
        GENERATE,
    ),
    Fault(
        "generation: prompts of a length go to the rows in front",
        f"{FOLDER}/prompts.py",
        "decoder.take(rows, its)",
        "decoder.take(np.arange(len(rows)), its)",
        GENERATE,
    ),
    Fault(
        "generation: probabilities are taken for logits",
        f"{FOLDER}/scales.py",
        '"softmax": PROBABILITIES,',
        '"softmax": LOGITS,',
        ("tests/models/test_models_generate_scales.py",),
    ),
    Fault(
        "generation: temperature multiplies",
        f"{FOLDER}/sample.py",
        "/ temperature\n",
        "* temperature\n",
        SAMPLE,
    ),
    Fault(
        "generation: top_p leaves the token out that reaches p",
        f"{FOLDER}/sample.py",
        "weights[:, 1:][sums[:, :-1] >= top_p * sums[:, -1:]] = 0",
        "weights[:, 1:][sums[:, 1:] >= top_p * sums[:, -1:]] = 0",
        SAMPLE,
    ),
    Fault(
        "generation: all rows draw with one generator's numbers",
        f"{FOLDER}/sample.py",
        "u[rows, step % AT_ONCE]",
        "u[np.arange(len(rows)), step % AT_ONCE]",
        SAMPLE,
    ),
    Fault(
        "generation: each block of a row's numbers is the first",
        f"{FOLDER}/sample.py",
        "generator.random(AT_ONCE) for generator",
        "__import__('copy').deepcopy(generator).random(AT_ONCE) for generator",
        SAMPLE,
    ),
    Fault(
        "generation: the streams of the fewest rows are kept",
        f"{FOLDER}/spares.py",
        "for stream in reversed(self._used)",
        "for stream in self._used",
        GENERATE,
    ),
    Fault(
        "generation: two threads go on with one stream",
        f"{FOLDER}/spares.py",
        "                    continue",
        "                    pass",
        GENERATE,
    ),
    Fault(
        "bound runs: what is masked holds what was carried",
        "src/everystep/layers/together.py",
        "partial(np.copyto, h, found.h, where=found.seen[..., None])",
        "partial(np.copyto, h, found.h)",
        RUNS,
    ),
    Fault(
        "streams: masks of static inputs stay as they were",
        "src/everystep/models/stream_plan.py",
        "            (call.masks, for_masks, call.mask),\n",
        "",
        ROWS,
    ),
    Fault(
        "streams: what is held before the first step stays",
        "src/everystep/models/stream_again.py",
        "any(call.held for call in plan.calls)",
        "False",
        GENERATE,
    ),
    Fault(
        "streams: reordered rows keep what is constant",
        "src/everystep/models/stream.py",
        "(self._sources[changed] != self._sources[came_from]).any()",
        "False",
        ROWS,
    ),
    Fault(
        "streams: a fork of rows has the first rows' static inputs",
        "src/everystep/models/stream.py",
        "static = {name: array[index] for name, array in self._static.items()}",
        "static = {name: np.resize(array, (len(self._sources[index]), *array.shape[1:]))"
        " for name, array in self._static.items()}",
        ROWS,
    ),
    Fault(
        "streams: used again, one keeps its old static inputs",
        "src/everystep/models/stream_again.py",
        "np.copyto(value.array, known[value])",
        "pass",
        ROWS,
    ),
    Fault(
        "attention at a step: masked values count",
        "src/everystep/layers/bound.py",
        "partial(np.logical_not, of_value[:, None], unseen)",
        "partial(unseen.fill, False)",
        ATTENTION,
    ),
]
