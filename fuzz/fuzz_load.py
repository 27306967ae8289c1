"""Looks for files that break the loader: `make fuzz`, or `python fuzz/fuzz_load.py --seconds 120`.

atheris evolves strings of bytes by which lines of the loader they reach. Each string makes changes to the file of a
small model (mutate_zip.py, mutate_json.py, mutate_hdf5.py), and oracle.py says what may come of it. What broke the
loader is kept under build/fuzz; `python fuzz/fuzz_load.py FILE` does it again, without atheris.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOUND = HERE.parent / "build" / "fuzz"
COUNTS = "EVERYSTEP_FUZZ_COUNTS"  # a file, in the environment of the process that fuzzes
MEMORY = 4096  # MiB, of the whole process


def target() -> Any:
    """The function that is fuzzed, and the counts that it keeps."""
    from choices import Choices
    from mutate_zip import fuzzed
    from oracle import outcome
    from seeds import seeds

    files, counts = seeds(), Counter[str]()
    path = Path(tempfile.mkdtemp()) / "fuzzed.keras"

    def load(data: bytes) -> None:
        path.write_bytes(fuzzed(files, Choices(data)))
        counts[outcome(path)] += 1
        if counts.total() % 100 == 0 and COUNTS in os.environ:
            Path(os.environ[COUNTS]).write_text(json.dumps(counts))

    return load, counts


def fuzz(seconds: int, seed: int) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["everystep.saved", "everystep.models", "everystep.layers"]):
        import everystep.saved.legacy_h5
        import everystep.saved.load  # noqa: F401
    load, _ = target()
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=256", "-len_control=10", "-timeout=20",
               f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={FOUND}/", "-verbosity=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], load)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", type=Path, help="what an earlier run kept")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        load, counts = target()
        for file in arguments.file:
            load(file.read_bytes())
        print(dict(counts))
        return 0
    if arguments.inside:
        fuzz(arguments.seconds, arguments.seed)
    try:
        import atheris  # noqa: F401
    except ImportError:
        print(f"atheris, which has no build for this Python and system, is needed ({sys.version.split()[0]})")
        return 1
    FOUND.mkdir(parents=True, exist_ok=True)
    log = FOUND / "log.txt"
    with tempfile.TemporaryDirectory() as folder, log.open("w") as out:
        counts_file = Path(folder) / "counts.json"
        command = [sys.executable, __file__, "--inside", f"--seconds={arguments.seconds}", f"--seed={arguments.seed}"]
        done = subprocess.run(command, env=os.environ | {COUNTS: str(counts_file)}, stdout=out, stderr=out)
        found = json.loads(counts_file.read_text()) if counts_file.exists() else {}
    print(f"{sum(found.values())} files in {arguments.seconds} s (seed {arguments.seed}):")
    for what, count in sorted(found.items(), key=lambda each: -each[1]):
        print(f"{count:8} {what}")
    if done.returncode or not found:
        print(f"The loader broke; {log} ends with:\n" + "\n".join(log.read_text().splitlines()[-40:]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
