"""What every benchmark reports: when, where and of what it was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

NAMES = {
    "engine": "everystep, NumPy",
    "keras_everystep": "everystep.keras, JAX",
    "pytorch": "PyTorch",
    "onnx_runtime": "ONNX Runtime",
    "keras_jax": "Keras on JAX",
    "keras_tensorflow": "Keras on TensorFlow",
    "keras_torch": "Keras on PyTorch",
}
OURS = ("engine", "keras_everystep")


def warn_if_busy() -> None:
    if os.getloadavg()[0] > 0.5:
        print("Other programs are busy on this machine: the times below are not to be trusted.", file=sys.stderr)


def circumstances(versions: dict[str, str], threads: int) -> dict[str, Any]:
    """When, where and of what it was measured."""
    ours = {"python": platform.python_version(), "everystep": commit()}
    return dict(date=today(), processor=processor(), threads=threads, versions=ours | versions)


def today() -> str:
    return datetime.date.today().isoformat()


def commit() -> str:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.machine()


def duration(seconds: float) -> str:
    units = (("s", 1), ("ms", 1e3))
    unit, scale = next((unit for unit in units if seconds * unit[1] >= 0.9995), ("µs", 1e6))  # 0.9995 is shown as 1
    return f"{seconds * scale:.3g} {unit}"


def heading(title: str, found: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [
        f"# {title}",
        "",
        f"{found['date']}, {found['processor']}, {found['threads']} thread(s), float32. {versions}.",
        "",
    ]


def write(name: str, found: dict[str, Any], text: str) -> None:
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
