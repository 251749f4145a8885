"""Dead: the dead letters in Redis, and those in the files that workers of this host have written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.forgetting.change import Change, Deletion
from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.payload import change_payload, names_in_payload
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.forgetting.places.by_destination import ByDestination
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter
from dispatcher.store.dead_letter_files import destination_of
from dispatcher.store.dead_letters import DeadLetters

# Dead letters that are dropped, or replayed, in one step.
_AT_ONCE: Final = 200
_ALL: Final = DeadLetterFilter()


class Dead(ByDestination):
    """The dead letters in Redis. Those that go are dropped, and count as that.

    In Redis a dead letter cannot be changed: what an own destination keeps under pseudonyms is delivered again, and is
    a dead letter again if that fails.

    Args:
        pool: The batch store's Redis.
        destinations: Their names.
        own: See ``ByDestination``.
    """

    name = "dead_letters"

    def __init__(self, pool: RedisPool, destinations: Sequence[str], own: Collection[str]) -> None:
        super().__init__(destinations, own)
        self._letters = DeadLetters(pool)

    def _go_through(self, destination: str, person: Person, change: Change | None) -> Found:
        named, of = [], 0
        for letter in self._letters.select(destination, _ALL):
            of += 1
            if names_in_payload(person, letter.payload):
                named.append(letter)
        if change is not None:
            for start in range(0, len(named), _AT_ONCE):
                self._forget(destination, named[start : start + _AT_ONCE], change)
        return Found(place=self.name, where=destination, events=len(named), of=of)

    def _forget(self, destination: str, letters: Sequence[DeadLetter], change: Change) -> None:
        changed = [(letter, change.line(letter.payload)) for letter in letters]
        self._letters.drop(destination, [letter.id for letter, payload in changed if payload is None])
        self._letters.replay([replace(letter, payload=payload) for letter, payload in changed if payload is not None])


class DeadFiles:
    """The files of dead letters. A tombstone takes the place of an event that goes: files are known by their lines.

    Args:
        directory: Where they are.
        own: See ``ByDestination``.
    """

    name = "dead_letter_files"

    def __init__(self, directory: Path, own: Collection[str]) -> None:
        self._directory = directory
        self._own = own

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many dead letters of each file name the person."""
        yield from count_each(self.name, self._files(), person, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Rewrite the files that have some."""
        for found in list(count_each(self.name, self._files(), person, watch)):
            path = Path(found.where)
            one = change if destination_of(path) in self._own else Deletion()
            yield rewrite_one(self.name, path, person, partial(_change, one), watch) if found.events else found

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl.gz"))


def _change(change: Change, line: bytes) -> bytes:
    """The line of a dead letter, with what becomes of its event, and without what was said of that."""
    letter: dict[str, Any] = msgspec.json.decode(line)
    event = msgspec.json.encode(letter.get("event"))
    letter["event"] = msgspec.Raw(change_payload(event, change))
    letter |= {"error": "", "answer": "", "other": ""}
    return msgspec.json.encode(letter)
