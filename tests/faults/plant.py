"""Plants faults, one at a time, in a copy of the project, and checks that the tests notice each of them.

    python tests/faults/plant.py [--jobs N] [--only WORDS]

Needs a C++ compiler and an environment in which everystep is built. For each fault in `faults.py` it copies the sources
and the tests, puts the faulty text in the place of the right one, compiles the engine anew where the fault is in it
(one instruction set, float64 only: float32 stays as it is), and runs the tests that should fail. Before that it does
the same without a fault: then all must pass. The exit status is 1 if a fault went unnoticed, or cannot be planted.

The bindings in `engine/bind` are copied as they are built, so a fault in them cannot be planted.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fault import Fault
from faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
COMPILE = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-fPIC", "-pthread", "-fvisibility=default", "-Iengine"]
# An editable install finds everystep where it was installed from, whatever PYTHONPATH says; Python runs this after it.
SITECUSTOMIZE = """
import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "ScikitBuildRedirectingFinder"]
"""


class PlantError(Exception):
    """A fault that cannot be planted, or a copy that does not build."""


def copy(to: Path) -> None:
    """The sources, the tests and the built bindings, without the engine's library."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("engine", "src", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, to)
    for module in ("_engine", "_xla"):
        found = importlib.util.find_spec(f"everystep.{module}")
        if found is None or found.origin is None:
            raise PlantError(f"everystep.{module} is not built: run `make test` first")
        shutil.copy(found.origin, to / "src" / "everystep")
    (to / "sitecustomize.py").write_text(SITECUSTOMIZE)


def plant(fault: Fault, tree: Path) -> None:
    if fault.file.startswith("engine/bind/"):
        raise PlantError(f"{fault.file} is not built anew")
    file = tree / fault.file
    text = file.read_text()
    if text.count(fault.old) != 1:
        raise PlantError(f"{fault.file} has {text.count(fault.old)} places, not 1, that read:\n{fault.old}")
    file.write_text(text.replace(fault.old, fault.new))


def compile_kernels(tree: Path, real: str, to: Path) -> None:
    flags = ["-ffp-contract=off", "-DEVERYSTEP_ISA=baseline", f"-DEVERYSTEP_REAL={real}"]
    _run([*COMPILE, *flags, "-c", "engine/kernels.cc", "-o", str(to)], tree)


def link(tree: Path, objects: list[Path]) -> None:
    rest = [str(file) for file in (tree / "engine").glob("*.cc") if file.name != "kernels.cc"]
    rest.append("engine/tests/stand_ins.cc")
    to = tree / "src" / "everystep" / "libeverystep_engine.so"
    _run([*COMPILE, "-shared", *rest, *map(str, objects), "-o", str(to)], tree)


def _run(command: list[str], tree: Path) -> None:
    found = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if found.returncode:
        raise PlantError(f"{' '.join(command)}\n{found.stderr[-2000:]}")


def tests_fail(tree: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether one does, and the first that did."""
    environment = dict(os.environ, EVERYSTEP_INSTRUCTION_SET="baseline", EVERYSTEP_TEST_SHARE="0.3")
    folders = (tree, tree / "src", tree / "tests", tree / "tests" / "keras")
    environment["PYTHONPATH"] = os.pathsep.join(map(str, folders))
    environment["LD_LIBRARY_PATH"] = str(tree / "src" / "everystep")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        found = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    except subprocess.TimeoutExpired:
        return True, "no end in 300 s"
    if found.returncode not in (0, 1):
        raise PlantError(f"the tests did not run:\n{found.stdout[-2000:]}{found.stderr[-2000:]}")
    failed = [line.split(" ")[1] for line in found.stdout.splitlines() if line.startswith("FAILED")]
    return found.returncode == 1, failed[0].rsplit("/", 1)[-1] if failed else ""


def try_fault(fault: Fault, unfaulted: Path) -> tuple[bool, str]:
    """Whether the fault was noticed, and by which test."""
    with tempfile.TemporaryDirectory(prefix="everystep-fault-") as folder:
        tree = Path(folder)
        copy(tree)
        plant(fault, tree)
        objects = [unfaulted / "float.o", unfaulted / "double.o"]
        if fault.file == "engine/kernels.cc" or (fault.file.startswith("engine/") and fault.file.endswith(".h")):
            objects[1] = tree / "double.o"
            compile_kernels(tree, "double", objects[1])
        link(tree, objects)
        return tests_fail(tree, fault.tests)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="faults tried at the same time")
    parser.add_argument("--only", default="", help="faults whose description has these words")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if arguments.only in fault.what]

    with tempfile.TemporaryDirectory(prefix="everystep-no-fault-") as folder:
        unfaulted = Path(folder)
        copy(unfaulted)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda real: compile_kernels(unfaulted, real, unfaulted / f"{real}.o"), ("float", "double")))
        link(unfaulted, [unfaulted / "float.o", unfaulted / "double.o"])
        for tests in dict.fromkeys(fault.tests for fault in faults):
            failed, which = tests_fail(unfaulted, tests)
            if failed:
                print(f"without a fault, {which} fails already", file=sys.stderr)
                return 1
        print(f"without a fault: all pass\n\n{'fault':<66} {'s':>4}  noticed by")

        def attempt(fault: Fault) -> bool:
            start = time.monotonic()
            try:
                noticed, by = try_fault(fault, unfaulted)
            except PlantError as error:
                noticed, by = False, f"NOT PLANTED: {error}"
            else:
                by = by if noticed else "NOBODY"
            print(f"{fault.what:<66} {time.monotonic() - start:4.0f}  {by}", flush=True)
            return noticed

        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            noticed = list(pool.map(attempt, faults))
    print(f"\n{sum(noticed)} of {len(noticed)} faults noticed")
    return 0 if all(noticed) else 1


if __name__ == "__main__":
    sys.exit(main())
