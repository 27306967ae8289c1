"""Models drawn until every layer and every option was compared with stock Keras often enough.

    KERAS_BACKEND=numpy python tests/drawn/drawn_parity.py [--hits N] [--part K N] [--jobs N] [--write FILE]

Keras runs on NumPy here, where a small model takes milliseconds, and not the second in which JAX compiles it.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "numpy")
for folder in ("", "drawn"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))

import keras  # noqa: E402
from drawn_compare import Refused, compare, compare32, stream  # noqa: E402
from drawn_models import Drawn, Hit, drawn, every_hit  # noqa: E402
from hypothesis import HealthCheck, Phase, given, reject, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from wide_floats import float64  # noqa: E402

ENOUGH = 5  # failures, to stop at
AT_ONCE = 10  # examples of a target before others have their turn


class Tally:
    """What was compared.

    Attributes:
        hits: how many compared models had each of `every_hit()`.
        steps: in how many of them step and prefix were compared.
    """

    def __init__(self) -> None:
        self.hits: collections.Counter[Hit] = collections.Counter()
        self.models = self.narrow = self.steps = 0
        self.refused: collections.Counter[str] = collections.Counter()
        self.failed: list[tuple[Hit, str]] = []
        self.streamless: collections.Counter[str] = collections.Counter()

    def __add__(self, other: Tally) -> Tally:
        both = Tally()
        for name in vars(self):
            setattr(both, name, getattr(self, name) + getattr(other, name))
        return both

    def missing(self, wanted: int, of: list[Hit]) -> list[Hit]:
        return [hit for hit in of if self.hits[hit] < wanted]


def try_target(target: Hit, count: int, number: int, tally: Tally, folder: Path, shrink: bool) -> None:
    """`count` models that have the target, each compared."""

    @seed(number)
    @settings(max_examples=count + 1,  # of which the first is the simplest, whatever the seed
        deadline=None, database=None, phases=[Phase.generate, Phase.shrink][: 1 + shrink],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data(), st.integers(0, 2**31))
    def compared(data: Any, numbers: int) -> None:
        try:
            model, hits = data.draw(drawn(target))
        except (ValueError, TypeError, NotImplementedError) as error:
            words = str(error).splitlines()[0][:100]
            tally.refused[f"{target.kind}: {type(error).__name__}: {words}"] += 1
            reject()
        try:
            one(Drawn(model, hits), numbers, tally, folder)
        except Exception as error:
            error.add_note(described(model))
            raise

    try:
        compared()
    except Unsatisfiable:  # Keras refused every model; the target stays missing
        pass
    except Exception as error:
        tally.failed.append((target, "".join(traceback.format_exception(error))))


def described(model: Any, indent: str = "  ") -> str:
    """A model's layers, each with what is in its config that is not as its class has it."""
    lines = []
    for layer in model.layers:
        config = keras.saving.serialize_keras_object(layer)["config"]
        plain = {k: v for k, v in config.items() if not isinstance(v, (dict, list)) and v not in (None, True, False, 0)}
        lines.append(f"{indent}{type(layer).__name__} {plain} {getattr(layer, 'input', None)}")
        if hasattr(layer, "layers"):
            lines.append(described(layer, indent + "    "))
    return "\n".join(lines)


def one(model: Drawn, numbers: int, tally: Tally, folder: Path) -> None:
    try:
        ours = compare(model.model, numbers, folder)
    except Refused as error:
        tally.refused[str(error).splitlines()[0][:140]] += 1
        reject()
    obstacle = stream(ours, numbers)
    if obstacle is None:
        tally.steps += 1
    else:
        tally.streamless[obstacle.split(": ", 1)[-1][:100]] += 1
    if numbers % 6 == 0:
        tally.narrow += compare32(model.model, ours, numbers)
    tally.models += 1
    tally.hits.update(model.hits)


def run(wanted: int, part: int = 0, parts: int = 1, shrink: bool = False) -> Tally:
    """Until every hit of this part was had so often; a target that cannot be had stays missing."""
    tally, of = Tally(), every_hit()[part::parts]
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    warnings.simplefilter("ignore")
    with float64(), tempfile.TemporaryDirectory() as folder:
        for turn in range(4):
            missing = tally.missing(wanted, of)
            for place, target in enumerate(missing):
                if len(tally.failed) >= ENOUGH:
                    return tally
                count = min(AT_ONCE, wanted - tally.hits[target])
                if count > 0:
                    try_target(target, count, 1000 * turn + place, tally, Path(folder), shrink)
            print(f"part {part}, turn {turn}: {tally.models} models, {len(missing)} targets", flush=True)
            if not missing:
                break
    return tally


def table(tally: Tally) -> str:
    """Counts, a line for each layer and function: its options, and of each value how many models had it."""
    rows: dict[str, dict[str, list[str]]] = {}
    for hit in every_hit():
        options = rows.setdefault(hit.kind, {})
        count = tally.hits[hit]
        if hit.option == "":
            options.setdefault("", []).append(str(count))
        else:
            options.setdefault(hit.option, []).append(f"{hit.value} {count}".strip())
    lines = ["| layer | models | options: of each value, how many models |", "|---|---:|---|"]
    for kind, options in rows.items():
        own = options.pop("", [""])[0]
        words = "; ".join(f"{name}: {', '.join(values)}" for name, values in options.items())
        lines.append(f"| {kind} | {own} | {words.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def report(tally: Tally, wanted: int) -> str:
    least = min(tally.hits[hit] for hit in every_hit())
    return f"""# Parity with Keras

Made by `make parity`. Models drawn by hypothesis out of every layer, option and function that is run, made in stock
Keras {keras.__version__} on NumPy, saved, loaded by everystep, and compared on the same numbers: {tally.models} models
in float64, {tally.narrow} of them in float32 too; for {tally.steps} each step of a stream was compared with
`predict` on the prefix. Each value of each option was in {least} compared models or more (asked for: {wanted}).

"any" counts values together that are no case of their own; options of training alone are among those, since they must
be read. "call" is of the call. A function has a count for each way in which it is called.

{table(tally)}
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hits", type=int, default=20)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="K N: every Nth target, from the Kth on")
    parser.add_argument("--jobs", type=int, default=1, help="processes, among which the part is shared out")
    parser.add_argument("--shrink", action="store_true", help="make failures smaller, which takes long")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    began = time.monotonic()
    (part, parts), count = arguments.part, arguments.jobs
    jobs = [(arguments.hits, part + parts * job, parts * count, arguments.shrink) for job in range(count)]
    with concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        tally = sum(pool.map(run, *zip(*jobs, strict=True)), Tally())
    text = report(tally, arguments.hits)
    print(text)
    print(f"{tally.models} models in {time.monotonic() - began:.0f} s; stock Keras refused {tally.refused.total()}")
    for words, count in tally.refused.most_common(25):
        print(f"  {count:5} {words}")
    print("not streamed:")
    for words, count in tally.streamless.most_common(25):
        print(f"  {count:5} {words}")
    missing = tally.missing(arguments.hits, every_hit()[arguments.part[0] :: arguments.part[1]])
    for target, words in tally.failed:
        print(f"---- failed, drawn for {target}:\n{words}")
    for hit in missing:
        print(f"missing: {hit.kind} {hit.option} {hit.value}: {tally.hits[hit]}")
    if arguments.write and not missing and not tally.failed:
        arguments.write.write_text(text)
    return bool(missing or tally.failed)


if __name__ == "__main__":
    sys.exit(main())
