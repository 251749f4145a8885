"""Deletion: asks a vendor to delete what it has of a person, and remembers whom it was asked for.

The record is a file with keyed hashes, so that a repeat asks nothing twice and nobody is named in it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.event import Event, utc_text
from dispatcher.forgetting.place import Found
from dispatcher.process.system_calls import sync

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.forgetting.change import Change
    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Watcher
    from dispatcher.rules.rules import Rules

#: The file of the record within the state directory, for all destinations.
RECORD: Final = "forgetting/deletions.json"
_KEY_BYTES: Final = 32
_HASH_BYTES: Final = 16

#: What a vendor knows somebody by: the vendor's word for the kind of id, and the id as it has got it.
Subject: TypeAlias = tuple[str, str]


def identified(rules: Rules | None, key: str, id_: str) -> Event:
    """An event whose context has one id, as a destination gets it: hashed, or not at all, if its privacy says so.

    Args:
        rules: The destination's.
        key: What the context calls the id.
        id_: The id.
    """
    event = Event(id="forget", name="forget", timestamp=datetime.now(UTC), data={}, context={key: id_})
    return event if rules is None else rules.hide(event)


class NotAskedError(DispatcherError):
    """The vendor could not be asked, or refused; says what to do, and holds no id."""


class DeletionPlace:
    """A vendor as a place of `dispatcher forget`: ``Place``. For one thread.

    Args:
        destination: The name of the destination.
        label: What receipts and errors call the vendor's API.
        path: The file of the record; made when the vendor is first asked.
        subjects: Whom a person is known as at the vendor, none twice.
        ask: Asks for some of them in one request. Blocks for as long as a request may take, returns what the vendor
            calls the request, and raises NotAskedError.
        at_once: The most subjects of one request.
    """

    def __init__(
        self,
        destination: str,
        *,
        label: str,
        path: Path,
        subjects: Callable[[Person], Sequence[Subject]],
        ask: Callable[[Sequence[Subject]], str],
        at_once: int,
    ) -> None:
        self.name: Final = destination
        self._label = label
        self._record = DeletionRecord(path, destination)
        self._subjects = subjects
        self._ask = ask
        self._at_once = at_once

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many requests are still to be sent for the person. Asks the vendor nothing."""
        watch(self._label, 0, 0)
        try:
            unsent = self._record.unsent(self._subjects(person))
        except (OSError, DispatcherError) as error:
            yield Found(place=self.name, where=self._label, left=str(error))
        else:
            yield Found(place=self.name, where=self._label, events=-(-len(unsent) // self._at_once))

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Send them, whatever becomes of events here. What fails is left, and sent when this is called again."""
        try:
            unsent = self._record.unsent(self._subjects(person))
            for start in range(0, len(unsent), self._at_once):
                watch(self._label, start, len(unsent))
                subjects = unsent[start : start + self._at_once]
                request = self._ask(subjects)
                # Killed before this, it is asked again, of which vendors think nothing.
                self._record.note(subjects, request)
                yield Found(place=self.name, where=f"{self._label}, request {request}", events=1)
        except (OSError, DispatcherError) as error:
            yield Found(place=self.name, where=self._label, left=str(error))


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """When a vendor was asked, and what it calls the request."""

    at: str
    request: str


class _Content(msgspec.Struct, kw_only=True):
    """The record as it is in its file."""

    key: str
    asked: dict[str, _Request] = msgspec.field(default_factory=dict)


class DeletionRecord:
    """Whom a vendor was asked to delete. Several destinations and processes may share a file.

    Methods raise OSError, and DispatcherError where the file is something else.

    Args:
        path: The file, which need not exist.
        destination: Its name: what one destination was asked says nothing of another.
    """

    def __init__(self, path: Path, destination: str) -> None:
        self._path = path
        self._destination = destination

    def unsent(self, subjects: Sequence[Subject]) -> list[Subject]:
        """Those of the subjects whom the vendor was not asked to delete."""
        content = self._read()
        return [subject for subject in subjects if self._hash(content, subject) not in content.asked]

    def note(self, subjects: Iterable[Subject], request: str) -> None:
        """Remember that the vendor was asked. On the disk when this returns."""
        with self._held():
            content = self._read()
            now = _Request(at=utc_text(datetime.now(UTC), "seconds"), request=request)
            content.asked |= {self._hash(content, subject): now for subject in subjects}
            self._write(content)

    def _read(self) -> _Content:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return _Content(key=secrets.token_hex(_KEY_BYTES))
        except msgspec.DecodeError as error:
            problem = f"{self._path} is not a record of deletion requests: {error}"
            raise DispatcherError(f"{problem}; take it from a backup, or away, and all are sent again") from error

    def _write(self, content: _Content) -> None:
        unfinished = self._path.with_suffix(".tmp")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
            file.flush()
            sync(file.fileno())
        unfinished.rename(self._path)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the file against another command."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _hash(self, content: _Content, subject: Subject) -> str:
        text = "\0".join((self._destination, *subject))
        return blake2b(
            text.encode(errors="replace"), key=bytes.fromhex(content.key), digest_size=_HASH_BYTES
        ).hexdigest()
