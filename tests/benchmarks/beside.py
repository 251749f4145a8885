"""Beside: the code of another checkout, measured by the benchmarks of this one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks.child import ROOT

# Folders and links of a checkout that are imported.
_PACKAGES: Final = ("dispatcher", "tasks", "settings")


@contextmanager
def other_root(checkout: Path | None) -> Iterator[Path | None]:
    """A directory to start in: there ``dispatcher`` is the other checkout's, ``tests`` is ours. None without one.

    Packages that both need are those of the environment that runs this.
    """
    if checkout is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as directory:
        for name in _PACKAGES:
            if (checkout / name).exists():
                (Path(directory) / name).symlink_to((checkout / name).resolve())
        (Path(directory) / "tests").symlink_to(ROOT / "tests")
        yield Path(directory)
