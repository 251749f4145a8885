"""Outboxes: what the journals of this host hold, put or not. Its bytes are overwritten where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from dispatcher.forgetting.change import Change
from dispatcher.forgetting.payload import names_in_payload
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.forgetting.search import LineSearch
from dispatcher.outbox.journal import frame, frame_bytes, journal_path, parse, resynchronise
from dispatcher.outbox.listing import DAMAGED, find_outboxes, journal_indexes, names
from dispatcher.process.system_calls import sync
from dispatcher.suppression.tombstone import tombstone

_BLANK: Final = b"*"


class _GoThrough(Protocol):
    def __call__(self, path: Path, person: Person, *, is_change: bool) -> tuple[int, int]: ...


class Outboxes:
    """The outboxes under one directory, and the damaged pieces beside them.

    An event becomes a tombstone of its size in one write, so that positions stay true; its writer and a relay may go on
    meanwhile. A relay that reads an event in that very moment reads it once more.

    Args:
        root: The directory of all outboxes.
    """

    name = "outboxes"

    def __init__(self, root: Path) -> None:
        self._root = root

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many events of each journal name the person."""
        yield from self._go_through(person, watch, is_change=False)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Put tombstones in their places, as they may go anywhere; blank the person's names in damaged pieces."""
        yield from self._go_through(person, watch, is_change=True)

    def _go_through(self, person: Person, watch: Watcher, *, is_change: bool) -> Iterator[Found]:
        journals = [
            journal_path(outbox, index) for outbox in find_outboxes(self._root) for index in journal_indexes(outbox)
        ]
        for number, journal in enumerate(journals):
            watch(self.name, number, len(journals))
            yield from self._try(journal, person, _go_through_journal, is_change=is_change)
        damaged = self._root / DAMAGED
        for name in sorted(names(damaged)):
            if name.endswith(".bin"):
                yield from self._try(damaged / name, person, _go_through_piece, is_change=is_change)

    def _try(self, path: Path, person: Person, go_through: _GoThrough, *, is_change: bool) -> Iterator[Found]:
        try:
            events, of = go_through(path, person, is_change=is_change)
        except FileNotFoundError:
            return  # its events are settled, and it is deleted
        except (OSError, ValueError) as error:
            yield Found(place=self.name, where=str(path), left=f"{error}")
        else:
            yield Found(place=self.name, where=str(path), events=events, of=of)


def _go_through_journal(path: Path, person: Person, *, is_change: bool) -> tuple[int, int]:
    content = path.read_bytes()
    named = of = offset = 0
    with _opened(path, is_change=is_change) as descriptor:
        while True:
            frames = parse(content, offset)
            for payload, end in zip(frames.payloads, frames.ends, strict=True):
                if names_in_payload(person, payload):
                    named += 1
                    if is_change:
                        _overwrite(descriptor, payload, end)
            of += len(frames.payloads)
            found = resynchronise(content, frames.offset) if frames.damaged else None
            if found is None:
                break
            offset = found
        if is_change and named:
            sync(descriptor)
    return named, of


def _overwrite(descriptor: int, payload: bytes, end: int) -> None:
    os.pwrite(descriptor, frame(tombstone(payload, same_size=True)), end - frame_bytes(len(payload)))


def _go_through_piece(path: Path, person: Person, *, is_change: bool) -> tuple[int, int]:
    """A piece is nobody's record, so that only the names in it go. It counts as one event."""
    content = path.read_bytes()
    blanked = LineSearch(person).blank(content, _BLANK)
    if is_change and blanked != content:
        with _opened(path, is_change=True) as descriptor:
            os.pwrite(descriptor, blanked, 0)
            sync(descriptor)
    return int(blanked != content), 1


@contextmanager
def _opened(path: Path, *, is_change: bool) -> Iterator[int]:
    descriptor = os.open(path, (os.O_RDWR if is_change else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
