"""A progress bar over rows, by tqdm."""

from __future__ import annotations

from typing import Any

from everystep.errors import DependencyError


def progress_bar(shown: bool, total: int | None) -> Any:
    """A context with `update(rows)`: a bar on standard error, or nothing that is seen.

    Args:
        shown: whether there is a bar.
        total: how many rows there will be, if that is known.

    Raises:
        DependencyError: a bar is asked for, and tqdm is not installed.
    """
    if not shown:
        return Unseen()
    try:
        from tqdm import tqdm  # an extra
    except ImportError as error:
        raise DependencyError(
            "progress is shown by tqdm, which is not installed: pip install tqdm, or do without progress"
        ) from error
    return tqdm(total=total, desc="predict", unit="row")


class Unseen:
    """No bar."""

    def __enter__(self) -> Unseen:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, rows: int) -> None:
        """Nothing."""
