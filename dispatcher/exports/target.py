"""Target: where an export's files go, each at once: a directory, or a bucket's folder. One export at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from dispatcher.errors import DispatcherError
from dispatcher.process import system_calls


class Target(Protocol):
    """Where files go. Names of files are paths within it; those that begin with ``_`` are not data.

    Attributes:
        work: The directory of this machine in which files are made. What is there outlives a run that is killed.
    """

    work: Path

    def __str__(self) -> str:
        """As it was named on the command line."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """Hold it. Raises DispatcherError where another export does."""
        ...

    def names(self, folder: str) -> set[str]:
        """The names of the files of a folder, without the folder's; empty where it is missing."""
        ...

    def open(self, name: str) -> BufferedReader:
        """A file, to be read."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a small file, in place of one that may be there."""
        ...

    def place(self, file: Path, name: str) -> None:
        """Give a file, which is in ``work``, its final name. It is gone from there."""
        ...


class DirectoryTarget:
    """A directory of this machine. See ``Target``.

    Args:
        directory: It is made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.work = directory / "_work"

    def __str__(self) -> str:
        return str(self._directory)

    def held(self) -> AbstractContextManager[None]:
        """See ``Target``."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return held(self._directory)

    def names(self, folder: str) -> set[str]:
        """See ``Target``."""
        try:
            return set(os.listdir(self._directory / folder))
        except FileNotFoundError:
            return set()

    def open(self, name: str) -> BufferedReader:
        """See ``Target``."""
        return (self._directory / name).open("rb")

    def put(self, name: str, content: bytes) -> None:
        """See ``Target``."""
        unfinished = self.work / "put.tmp"
        unfinished.write_bytes(content)
        self.place(unfinished, name)

    def place(self, file: Path, name: str) -> None:
        """See ``Target``."""
        place(file, self._directory / name)


@contextmanager
def held(directory: Path, what: object = None) -> Iterator[None]:
    """Hold the directory. Raises DispatcherError where another export does.

    Args:
        directory: The directory.
        what: What the error names in its place.
    """
    (directory / "_work").mkdir(exist_ok=True)
    with held_file(directory / "_work" / "lock", what or directory):
        yield


@contextmanager
def held_file(lock: Path, target: object) -> Iterator[None]:
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
