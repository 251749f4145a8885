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
    with held_file(directory / "_work" / "lock", directory):
        yield


@contextmanager
def held_file(lock: Path, target: Path) -> Iterator[None]:
    """Hold a file that stands for a target, for one export at a time. It is made where it is missing, and stays.

    Raises:
        DispatcherError: Another export holds it.
        OSError: It cannot be made.
    """
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DispatcherError(f"another export writes to {target}: wait for its end") from None
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
