"""A saved reader of dates in a process without a framework: it writes a day in ISO 8601, character by character.

    python examples/dates_decode.py MODEL.keras VOCABULARY.json [--picture FILE.png] [--without keras ...]

It reads days that it never saw in training, in patterns that it saw and in those that it did not. It runs free: what it
goes on from is what it wrote itself. An answer is exact if all of its ten characters are right.
"""

from __future__ import annotations

import argparse
import sys
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

START = time.perf_counter()

from seed_cases import forbid  # noqa: E402  # which imports NumPy: the clock runs from before

WIDTH = 4
LONGEST = 12  # ten characters, the end, and one more for a model that does not end
METHODS: dict[str, dict[str, Any]] = {"greedy": {}, f"beam of {WIDTH}": {"method": "beam", "beam_width": WIDTH}}
PRINTED = ("de", "el", "en_GB", "en_US", "es", "hu", "ja", "ko", "pl", "vi")
ENOUGH = 0.95


class Answers(NamedTuple):
    """What was read of B strings.

    Attributes:
        strings: (B) of dates.Written, the truth among them.
        texts: by method, (B) what the model wrote.
        probabilities: by method, (B) how likely the model finds what it wrote.
        exact: by method, (B) bool.
        seconds: by method, of all at once.
    """

    strings: list[Any]
    texts: dict[str, list[str]]
    probabilities: dict[str, Any]
    exact: dict[str, Any]
    seconds: dict[str, float]


def read(model: Any, text: Any, strings: list[Any]) -> Answers:
    import numpy as np

    answers = Answers(strings, {}, {}, {}, {})
    for method, options in METHODS.items():
        started = time.perf_counter()
        source = text.encode([one.source for one in strings])
        tokens, scores = model.generate(
            source, start=text.start, end=text.end, max_length=LONGEST, return_scores=True, **options
        )
        written = text.decode(tokens)
        answers.seconds[method] = time.perf_counter() - started
        answers.texts[method] = written
        answers.probabilities[method] = np.exp(scores)
        answers.exact[method] = np.array([mine == one.iso for mine, one in zip(written, strings, strict=True)])
    return answers


def totals(answers: dict[str, Answers]) -> str:
    lines = [f"{'exact answers':46}{'strings':>9}" + "".join(f"{method:>12}" for method in METHODS)]
    for name, its in answers.items():
        shares = "".join(f"{100 * its.exact[method].mean():10.1f} %" for method in METHODS)
        lines.append(f"{name:46}{len(its.strings):9,}{shares}")
    strings = sum(len(its.strings) for its in answers.values())
    seconds = "".join(f"{sum(its.seconds[method] for its in answers.values()):10.2f} s" for method in METHODS)
    return "\n".join([*lines, f"{'time for all of them':46}{strings:9,}{seconds}"])


def by_locale(answers: Answers) -> str:
    lines = [f"{'pattern':38}{'for example':34}" + "".join(f"{method:>12}" for method in METHODS)]
    for locale in dict.fromkeys(one.locale for one in answers.strings):
        rows = [k for k, one in enumerate(answers.strings) if one.locale == locale]
        first = answers.strings[rows[0]]
        shares = "".join(f"{100 * answers.exact[method][rows].mean():10.0f} %" for method in METHODS)
        lines.append(f"{locale:8}{columns(first.pattern, 30)}{columns(first.text, 34)}{shares}")
    return "\n".join(lines)


def listed(answers: Answers, rows: Sequence[int], unseen: str = "") -> str:
    """A line for each of these strings, with what was written and how likely the model finds it."""
    lines = []
    for k in rows:
        one = answers.strings[k]
        wrote = "".join(f"{answers.texts[method][k]:>14}{answers.probabilities[method][k]:8.1%}" for method in METHODS)
        lines.append(f"{one.locale:8}{columns(one.text, 36)}{unseen:14}{wrote}{one.iso:>14}")
    return "\n".join(lines)


def columns(string: str, width: int) -> str:
    """Filled up with spaces; an East Asian character takes two columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in string)
    return string + " " * (width - len(string) - wide)


def main() -> None:
    parser = argparse.ArgumentParser(description="Read dates with a saved model.")
    parser.add_argument("model", help="the .keras file")
    parser.add_argument("vocabulary", help="the file that Text.save wrote")
    parser.add_argument("--picture", type=Path, help="where to draw what the decoder attends to")
    parser.add_argument("--without", nargs="*", default=[], help="packages that must not be imported")
    options = parser.parse_args()
    forbid(options.without)

    import dates

    import everystep
    from everystep.seq2seq import Text

    imported = time.perf_counter()
    model = everystep.load_model(options.model)
    text = Text.load(options.vocabulary)
    loaded = time.perf_counter()
    print(f"Python's start to a loaded model: imports {imported - START:.2f} s, ", end="")
    print(f"h5py, the model and the vocabulary {1000 * (loaded - imported):.0f} ms\n")

    known, unknown = (read(model, text, strings) for strings in dates.questions())
    print(totals({"unseen days": known, "unseen days in unseen patterns": unknown}))
    print(f"\nThe unseen patterns, one for each locale:\n\n{by_locale(unknown)}")

    print("\nTen of the strings, and how likely the model finds what it wrote:\n")
    print(f"{'':8}{'string':36}{'unseen':14}" + "".join(f"{method:>14}{'':8}" for method in METHODS) + f"{'true':>14}")
    for place, locale in enumerate(PRINTED):
        answers, unseen = ((known, "day"), (unknown, "day, pattern"))[place % 2]
        first = next(k for k, one in enumerate(answers.strings) if one.locale == locale)
        print(listed(answers, [first], unseen))
    for answers, unseen in ((known, "day"), (unknown, "day, pattern")):
        wrong = [k for k, right in enumerate(answers.exact["greedy"]) if not right]
        if wrong:
            print(f"\nWrong by greedy, {min(len(wrong), 3)} of {len(wrong)}:\n{listed(answers, wrong[:3], unseen)}")

    if options.picture:
        from dates_picture import draw

        draw(model, text, known.strings, unknown.strings, options.picture)
        print(f"\nWhere the decoder looks in the string: {options.picture.parent.name}/{options.picture.name}")
    if options.without:
        found = sorted({name.split(".")[0] for name in sys.modules} & set(options.without))
        print(f"\nof {', '.join(options.without)} {', '.join(found) or 'none'} was imported")
    if known.exact["greedy"].mean() < ENOUGH:
        raise SystemExit(f"less than {100 * ENOUGH:.0f} % of the unseen days were read exactly")


if __name__ == "__main__":
    main()
