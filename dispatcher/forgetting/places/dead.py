"""Dead: the dead letters in Redis, and those in the files that workers of this host have written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.forgetting.places.waiting import names_in_payload
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.suppression.tombstone import tombstone

# Dead letters that are dropped in one step.
_DROPPED_AT_ONCE: Final = 200
_ALL: Final = DeadLetterFilter()


class Dead:
    """The dead letters in Redis. Those of the person are dropped, and count as that.

    Methods raise StoreUnavailableError.

    Args:
        pool: The batch store's Redis.
        destinations: Their names.
    """

    name = "dead_letters"

    def __init__(self, pool: RedisPool, destinations: Sequence[str]) -> None:
        self._letters = DeadLetters(pool)
        self._destinations = destinations

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many dead letters of each destination name the person."""
        for destination in self._destinations:
            watch(self.name, 0, 0)
            ids, of = self._find(destination, person)
            yield Found(place=self.name, where=destination, events=len(ids), of=of)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Drop them."""
        for destination in self._destinations:
            watch(self.name, 0, 0)
            ids, of = self._find(destination, person)
            for start in range(0, len(ids), _DROPPED_AT_ONCE):
                self._letters.drop(destination, ids[start : start + _DROPPED_AT_ONCE])
            yield Found(place=self.name, where=destination, events=len(ids), of=of)

    def _find(self, destination: str, person: Person) -> tuple[list[str], int]:
        ids, of = [], 0
        for letter in self._letters.select(destination, _ALL):
            of += 1
            if names_in_payload(person, letter.payload):
                ids.append(letter.id)
        return ids, of


class DeadFiles:
    """The files of dead letters. A tombstone takes the event's place: files are known by their lines' numbers.

    Args:
        directory: Where they are.
    """

    name = "dead_letter_files"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many dead letters of each file name the person."""
        yield from count_each(self.name, self._files(), person, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Rewrite the files that have some."""
        for found in list(count_each(self.name, self._files(), person, watch)):
            if found.events:
                yield rewrite_one(self.name, Path(found.where), person, _bury, watch)
            else:
                yield found

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl.gz"))


def _bury(line: bytes) -> bytes:
    """The line of a dead letter, with a tombstone for its event and without what was said of it."""
    letter: dict[str, Any] = msgspec.json.decode(line)
    letter["event"] = msgspec.Raw(tombstone(msgspec.json.encode(letter.get("event"))))
    letter |= {"error": "", "answer": "", "other": ""}
    return msgspec.json.encode(letter)
