"""Requests: who is to be forgotten on this host and is not yet, a file for each person.

A file names the person until it is done, and says afterwards only when and by which receipt. Its own name is a hash by
the host's key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.event import utc_text
from dispatcher.process.system_calls import sync
from dispatcher.suppression.suppression_list import DIRECTORY, suppression_list

if TYPE_CHECKING:
    from dispatcher.config import Settings

_SUFFIX: Final = ".json"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says.

    Args:
        at: When it was asked for, as ISO 8601.
        user_id: Who is meant; empty once it is done.
        done_at: When it was done; empty until then.
        receipt: The receipt of that.
    """

    at: str
    user_id: str = ""
    done_at: str = ""
    receipt: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the person was forgotten."""
        return bool(self.done_at)


class Requests:
    """The requests of one host. Safe in threads and in several processes. Methods raise OSError.

    Args:
        settings: Where the state directory is.
    """

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.state_directory / DIRECTORY / "requests"
        self._list = suppression_list(settings.state_directory)

    def add(self, user_id: str) -> Request:
        """Ask for somebody to be forgotten, or find what was asked before. On the disk when this returns.

        Raises:
            DispatcherError: The host's key, or what was asked before, cannot be read.
        """
        path = self._path(user_id)
        try:
            return _read(path)
        except FileNotFoundError:
            request = Request(at=_now(), user_id=user_id)
            self._write(path, request)
            return request

    def waiting(self) -> Iterator[Request]:
        """Those that are not done, the oldest first. Raises DispatcherError for a file that is something else."""
        found = [_read(path) for path in self._directory.glob(f"*{_SUFFIX}")]
        yield from sorted((request for request in found if not request.is_done), key=lambda request: request.at)

    def finish(self, request: Request, receipt: str) -> None:
        """Note that a person was forgotten, and name the person no more.

        Args:
            request: One of ``waiting``.
            receipt: The id of the receipt.
        """
        done = Request(at=request.at, done_at=_now(), receipt=receipt)
        self._write(self._path(request.user_id), done)

    def _path(self, user_id: str) -> Path:
        (name,) = self._list.hashes_of([user_id])
        return self._directory / f"{name}{_SUFFIX}"

    def _write(self, path: Path, request: Request) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(request))
            file.flush()
            sync(file.fileno())
        unfinished.replace(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync(directory)
        finally:
            os.close(directory)


def _read(path: Path) -> Request:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Request)
    except msgspec.DecodeError as error:
        raise DispatcherError(f"{path} is not a request to forget somebody: {error}; take it away") from error


def _now() -> str:
    return utc_text(datetime.now(UTC), "seconds")
