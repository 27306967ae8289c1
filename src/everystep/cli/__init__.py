"""The command `everystep`: a file of this package for each subcommand, and for each kind of data."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Runs the command that the process was started with."""
    try:
        import click  # noqa: F401  # an extra
    except ImportError:
        sys.exit("everystep: the command line needs click, which is not installed: pip install 'everystep[cli]'")
    importlib.import_module("everystep.cli.commands").everystep(prog_name="everystep")
