"""Target: the directory that an export writes to, one export at a time, each file at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.errors import DispatcherError
from dispatcher.process import system_calls


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the directory. Raises DispatcherError where another export does."""
    (directory / "_work").mkdir(exist_ok=True)
    with (directory / "_work" / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DispatcherError(f"another export writes to {directory}: wait for its end") from None
        yield


def place(unfinished: Path, target: Path) -> None:
    """Give a file its final name, once it is on disk."""
    target.parent.mkdir(exist_ok=True)
    with unfinished.open("rb") as file:
        system_calls.sync(file.fileno())
    unfinished.rename(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        system_calls.sync(descriptor)
    finally:
        os.close(descriptor)
