"""SuppressionList: who is to be forgotten on this host, by keyed hashes in a file that relays and workers look at.

The key never leaves its file. Without it a hash says nothing, and with it whoever has it can try all numbers of users.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.outbox.permissions import pass_on_group
from dispatcher.process.clock import monotonic
from dispatcher.process.system_calls import sync
from dispatcher.suppression.names import names_in
from dispatcher.suppression.shapes import Name, Shapes
from dispatcher.suppression.tombstone import tombstone

logger = logging.getLogger(__name__)

#: The directory of the list within the state directory.
DIRECTORY: Final = "forgetting"
#: Seconds after which every relay and worker of this host knows of a change.
REFRESH_SECONDS: Final = 1.0
_KEY_BYTES: Final = 32
_HASH_BYTES: Final = 16
# Names whose hashes are remembered, so that users who do much cost little: some ten megabytes.
_MAX_KNOWN: Final = 50_000

_decode_json: Final = msgspec.json.Decoder().decode


class SuppressedPerson(msgspec.Struct, frozen=True, kw_only=True):
    """One person on the list.

    Args:
        receipt: The receipt of the command that put the person there.
        at: When, as ISO 8601.
        hashes: Of the identifiers.
    """

    receipt: str
    at: str
    hashes: list[str]


class SuppressionList:
    """The list of one host. Safe in threads, after a fork and in several processes.

    Args:
        directory: Where it is; it need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "suppressed.json"
        self._key_path = directory / "key"
        self._stamp: tuple[int, int, int] | None = None
        self._looked_at = float("-inf")
        self._key = b""
        self._hashes: frozenset[str] = frozenset()
        self._known: dict[str, bool] = {}
        self._others: set[Name] = set()
        self._shapes = Shapes()
        self._failed = False

    def is_empty(self) -> bool:
        """Whether nobody is on the list. Looks at the file once in ``REFRESH_SECONDS``, which takes a microsecond.

        A list that cannot be read is logged as an error, and counts as it was read last.
        """
        now = monotonic()
        if now - self._looked_at >= REFRESH_SECONDS:
            self._looked_at = now
            try:
                self.refresh()
                self._failed = False
            except (OSError, DispatcherError) as error:
                if not self._failed:
                    logger.error("who is to be forgotten cannot be read, so that they are let through: %s", error)
                self._failed = True
        return not self._hashes

    def refresh(self) -> None:
        """Read the list again if it has changed.

        Raises:
            OSError: It cannot be read.
            DispatcherError: It is something else.
        """
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._hashes, self._stamp = frozenset(), None
            return
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if stamp == self._stamp:
            return
        people = _read(self._path)
        self._key = _read_key(self._key_path)
        self._hashes = frozenset(one for person in people for one in person.hashes)
        self._known, self._others = {}, set()
        self._stamp = stamp

    def has_any_of(self, names: Iterable[str]) -> bool:
        """Whether one of these names is on the list. As it was read last."""
        known = self._known
        for name in names:
            found = known.get(name)
            if found is None:
                if len(known) >= _MAX_KNOWN:
                    known = self._known = {}
                found = known[name] = _hash(self._key, name) in self._hashes
            if found:
                return True
        return False

    def is_named_in(self, value: Any) -> bool:
        """Whether an event, or a line of a log, names somebody who is to be forgotten.

        Args:
            value: As JSON decodes it.
        """
        return self.has_any_of(names_in(value))

    def is_named_in_payload(self, payload: bytes) -> bool:
        """The same for an encoded event; False for other bytes."""
        people = self._shapes.people(payload)
        if people is not None:
            return self._has_any_person(people)
        try:
            event = _decode_json(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return False
        self._shapes.learn(payload, event)
        return self.is_named_in(event)

    def _has_any_person(self, people: Iterable[Name]) -> bool:
        """The same for what stands under the keys of people. Remembers those who are not on the list."""
        others = self._others
        if others.issuperset(people):
            return False
        for name in people:
            if name not in others:
                if self.is_named_in({"user": name}):
                    return True
                if len(others) >= _MAX_KNOWN:
                    others.clear()
                others.add(name)
        return False

    def replace_forgotten(self, payloads: Sequence[bytes]) -> Sequence[bytes]:
        """The payloads, with a tombstone in the place of each that names somebody who is to be forgotten.

        Costs nothing while the list is empty, else some four microseconds for an event that looks like earlier ones
        of its name, and twenty for another.
        """
        if self.is_empty():
            return payloads
        return [tombstone(payload) if self.is_named_in_payload(payload) else payload for payload in payloads]

    def people(self) -> list[SuppressedPerson]:
        """Everybody on the list, by hashes. Raises as ``refresh``."""
        return _read(self._path) if self._path.exists() else []

    def hashes_of(self, identifiers: Iterable[str]) -> list[str]:
        """The hashes of identifiers, in order of the hashes. Makes the key where it is missing. Raises OSError."""
        key = self._make_key()
        return sorted(_hash(key, one) for one in identifiers)

    def add(self, identifiers: Iterable[str], *, receipt: str) -> None:
        """Put a person on the list. Done again, it changes nothing. Raises as ``refresh``."""
        hashes = self.hashes_of(identifiers)
        with self._held():
            people = self.people()
            missing = set(hashes) - {one for person in people for one in person.hashes}
            if missing:
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                self._write([*people, SuppressedPerson(receipt=receipt, at=at, hashes=sorted(missing))])

    def remove(self, identifiers: Iterable[str]) -> int:
        """Take a person off the list. Returns how many of the identifiers were on it. Raises as ``refresh``."""
        hashes = set(self.hashes_of(identifiers))
        with self._held():
            people = self.people()
            left = [
                msgspec.structs.replace(person, hashes=[one for one in person.hashes if one not in hashes])
                for person in people
            ]
            removed = sum(len(person.hashes) for person in people) - sum(len(person.hashes) for person in left)
            if removed:
                self._write([person for person in left if person.hashes])
        return removed

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the list against other commands that change it."""
        if not self._path.parent.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            pass_on_group(self._path.parent, self._path.parent.parent)
        fd = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _write(self, people: list[SuppressedPerson]) -> None:
        _put(self._path, msgspec.json.format(msgspec.json.encode(people), indent=1) + b"\n")
        self._looked_at = float("-inf")

    def _make_key(self) -> bytes:
        with self._held():
            if not self._key_path.exists():
                _put(self._key_path, secrets.token_hex(_KEY_BYTES).encode())
        return _read_key(self._key_path)


def suppression_list(state_directory: Path) -> SuppressionList:
    """The list of the host whose state directory that is."""
    return SuppressionList(state_directory / DIRECTORY)


def _hash(key: bytes, name: str) -> str:
    return blake2b(name.encode(errors="replace"), key=key, digest_size=_HASH_BYTES).hexdigest()


def _read(path: Path) -> list[SuppressedPerson]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[SuppressedPerson])
    except msgspec.DecodeError as error:
        raise DispatcherError(f"{path} does not hold people to be forgotten: {error}; take it from a backup") from error


def _read_key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text())
    except ValueError as error:
        raise DispatcherError(
            f"{path} does not hold a key, without which nobody is known: take it from a backup"
        ) from error


def _put(path: Path, content: bytes) -> None:
    """Write a file at once: whoever reads it finds the old or the new one."""
    unfinished = path.with_suffix(".tmp")
    with suppress(FileNotFoundError):
        unfinished.unlink()
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        pass_on_group(fd, path.parent)
        os.write(fd, content)
        sync(fd)
    finally:
        os.close(fd)
    unfinished.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        sync(directory)
    finally:
        os.close(directory)
