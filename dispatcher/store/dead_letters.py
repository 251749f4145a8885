"""Dead letters: the events that gave up, with their reasons. Read them, have them delivered again, or drop them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, Self

import msgspec
import zstandard

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, decode
from dispatcher.store import script
from dispatcher.store.batches import BatchStore
from dispatcher.store.dead_event import unpack_event
from dispatcher.store.keys import DEAD
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.script import Script, ScriptCaller

# Dead letters read in one round trip, and where each may be large.
_PAGE: Final = 500
_SMALL_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that will not be delivered unless somebody has it replayed.

    Args:
        destination: That did not get it.
        id: Its place in the stream: the time at which it died, in milliseconds, and a number.
        reason: In a word, as the ledger counts it.
        error: The last error, as a sentence.
        attempts: How often it was tried.
        payload: The event.
        count: How many events it stands for; more than one where these are gone.
        answer: What the destination answered, in its own words, cut and without credentials; may be empty.
    """

    destination: str
    id: str
    reason: str
    error: str
    attempts: int
    payload: bytes
    count: int = 1
    answer: str = ""

    @classmethod
    def from_entry(cls, destination: str, entry: Sequence[Any]) -> Self:
        """Read an entry of the stream.

        Args:
            destination: Whose dead letter it is.
            entry: As Redis answers it.

        Returns:
            The dead letter. Its payload is empty if the event is damaged.
        """
        letter_id, pairs = entry
        fields = {pairs[at].decode(): pairs[at + 1] for at in range(0, len(pairs), 2)}
        try:
            payload = unpack_event(fields["event"])
        except zstandard.ZstdError:
            payload = b""  # the dead letter can be seen and dropped all the same
        return cls(
            destination=destination,
            id=letter_id.decode(),
            reason=fields["reason"].decode(),
            error=fields["error"].decode(),
            attempts=int(fields["attempts"]),
            payload=payload,
            count=int(fields.get("n", 1)),
            answer=fields.get("answer", b"").decode(),
        )

    @property
    def died_ms(self) -> int:
        """When it died, in milliseconds since 1970."""
        return int(self.id.partition("-")[0])

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the order in which events died: the numbers of its id."""
        return _place(self.id)[1:]

    @property
    def event(self) -> Event | None:
        """The event, or None where it cannot be decoded."""
        try:
            return decode(self.payload)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def can_be_replayed(self) -> bool:
        """Whether a destination could be given its event. An event that emit could not take is only described."""
        event = self.event
        return event is not None and event.type not in ("dead", "dropped")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant. Everything that is given has to hold.

    Args:
        reason: Their reason.
        name: The event's name, or a glob of it.
        since: They died then or later.
        until: They died before then.
        ids: These only.
        event_ids: Those of these events.
        user: Those of events about this user, by the id or the name in the event's context or data.
        where: Those of events that have this text, number, true, false or null at this path: ``data.course_id``. In a
            list, one item has to have it.
        after: Those behind this one in the order of a list: the id of a dead letter and the name of its destination,
            which may be empty.
    """

    reason: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[str] = ()
    event_ids: Sequence[str] = ()
    user: str | None = None
    where: Sequence[tuple[str, str]] = ()
    after: tuple[str, str] | None = None

    def __contains__(self, dead_letter: DeadLetter) -> bool:
        if self.reason is not None and dead_letter.reason != self.reason:
            return False
        if self.ids and dead_letter.id not in self.ids:
            return False
        if self.after is not None and _is_at_or_before(dead_letter, *self.after):
            return False
        if self.name is None and self.user is None and not self.event_ids and not self.where:
            return True
        event = dead_letter.event
        return event is not None and self._has_event(event)

    def _has_event(self, event: Event) -> bool:
        whole = {"id": event.id, "name": event.name, "type": event.type, "data": event.data, "context": event.context}
        return (
            (self.name is None or fnmatchcase(event.name, self.name))
            and (not self.event_ids or event.id in self.event_ids)
            and (self.user is None or self.user in _users_of(event))
            and all(text in _texts_at(whole, path.split(".")) for path, text in self.where)
        )

    def has(self, dead_letter: DeadLetter) -> bool:
        """The same with the times, for dead letters that were not read within the ``bounds``."""
        if self.since is not None and dead_letter.died_ms < self.since.timestamp() * 1000:
            return False
        if self.until is not None and dead_letter.died_ms >= self.until.timestamp() * 1000:
            return False
        return dead_letter in self

    @property
    def bounds(self) -> tuple[str, str]:
        """The part of the stream to read, as XRANGE takes it."""
        first = "-" if self.since is None else str(int(self.since.timestamp() * 1000))
        last = "+" if self.until is None else f"({int(self.until.timestamp() * 1000)}"
        return first, last


class DeadLetters:
    """The dead letters of every destination in one Redis. Safe in threads and after a fork.

    Each method blocks up to the pool's timeout, for each page that it reads, and raises StoreUnavailableError where
    Redis does not answer.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._store = BatchStore(pool, clock=clock)
        self._scripts = ScriptCaller(pool, clock)

    def select(self, destination: str, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
        """The dead letters that are wanted, oldest first, read a page at a time.

        Those that come meanwhile are not among them: an event that is replayed and fails again must not come round.
        """
        stream = DEAD.of(destination)
        newest = self._pool.execute("XREVRANGE", stream, "+", "-", "COUNT", 1)
        if not newest:
            return
        newest_id = newest[0][0].decode()
        first, last = wanted.bounds
        if _place(newest_id) < _place(last):
            last = newest_id
        while True:
            page = self._pool.execute("XRANGE", stream, first, last, "COUNT", _PAGE)
            for entry in page:
                dead_letter = DeadLetter.from_entry(destination, entry)
                if dead_letter in wanted:
                    yield dead_letter
            if len(page) < _PAGE:
                return
            first = f"({page[-1][0].decode()}"

    def read(self, destination: str, ids: Sequence[str]) -> Iterator[DeadLetter]:
        """Read some dead letters, a few at a time. Blocks for each trip to Redis.

        Args:
            destination: Whose they are.
            ids: Their ids; those of dead letters that are gone are left out.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        stream = DEAD.of(destination)
        for at in range(0, len(ids), _SMALL_PAGE):
            commands = [("XRANGE", stream, letter_id, letter_id) for letter_id in ids[at : at + _SMALL_PAGE]]
            for entries in self._pool.execute_many(commands):
                yield from (DeadLetter.from_entry(destination, entry) for entry in entries)

    def replay(self, dead_letters: Sequence[DeadLetter]) -> int:
        """Have dead letters of one destination delivered again, as one batch. Returns how many are on their way.

        The next bell of a worker rings for it. Where some are gone, as when somebody else replays them too, the others
        go as several batches. An event that fails again becomes a dead letter again.
        """
        if not dead_letters:
            return 0
        batch_id = f"replay-{dead_letters[0].id}"
        payloads = [dead_letter.payload for dead_letter in dead_letters]
        if self.revive(
            dead_letters[0].destination, batch_id, payloads, [dead_letter.id for dead_letter in dead_letters]
        ):
            return len(payloads)
        if len(dead_letters) == 1:
            return 0
        half = len(dead_letters) // 2
        return self.replay(dead_letters[:half]) + self.replay(dead_letters[half:])

    def revive(self, destination: str, batch_id: str, payloads: Sequence[bytes], ids: Sequence[str]) -> bool:
        """Turn dead letters into a batch, in one atomic step.

        Args:
            destination: Whose they are.
            batch_id: The id of the new batch.
            payloads: Their events.
            ids: The dead letters, which go.

        Returns:
            False if one of them is gone: nothing has changed then.

        Raises:
            StoreUnavailableError: Redis does not answer; whether it was done is not known.
        """
        arguments = {"batch": batch_id, "ids": ids}
        return bool(self._scripts.call(script.REVIVE, destination, arguments, pack(payloads)))

    def restore(self, dead_letters: Sequence[tuple[int, DeadLetter]], source: str) -> bool:
        """Have dead letters of a file delivered again, as one batch. False where somebody else does so right now.

        Args:
            dead_letters: Of one destination, each with its number in the file, in order.
            source: Names the file and the choice of its dead letters: what was restored under a name is not restored
                again under it.
        """
        chosen = [dead_letter for _, dead_letter in dead_letters]
        event = chosen[0].event
        put = Put(
            destination=chosen[0].destination,
            journal=source,
            start=dead_letters[0][0],
            end=dead_letters[-1][0] + 1,
            packed=pack([dead_letter.payload for dead_letter in chosen]),
            count=len(chosen),
            example="" if event is None else event.name,
        )
        return self._store.restore(put) is None

    def restored_until(self, destination: str, source: str) -> int:
        """How far a file of dead letters was restored.

        Args:
            destination: Whose file it is.
            source: What the file is known by.

        Returns:
            The number of the last line that was restored; 0 if none was in the last week.
        """
        return max(0, self._store.progress([destination], source)[destination].put)

    def drop(self, destination: str, ids: Sequence[str]) -> int:
        """Delete dead letters for good. Their events count as filtered from then on.

        Args:
            destination: Whose they are.
            ids: Those to delete; ids of dead letters that are gone do no harm.

        Returns:
            How many events they were.
        """
        return self._take_out(script.DROP, destination, ids)

    def overdue(
        self, destination: str, *, max_bytes: int, max_age_seconds: float, every_seconds: float, going_on: bool = False
    ) -> list[str]:
        """The oldest dead letters, which are to go to a file now; a few megabytes of them. Then call ``mark_filed``.

        Args:
            destination: Whose they are.
            max_bytes: What they may take up. The store itself keeps to it from now on.
            max_age_seconds: How old they may get; 0: as old as they like.
            every_seconds: It answers once in so many, whoever asks; all others get an empty list.
            going_on: Answer again, to the worker that has just filed some.

        Returns:
            Their ids.
        """
        arguments = {
            "max_bytes": max_bytes,
            "max_age_ms": int(max_age_seconds * 1000),
            "every_ms": max(1, int(every_seconds * 1000)),
            "going_on": going_on,
        }
        return [letter_id.decode() for letter_id in self._scripts.call(script.OVERDUE, destination, arguments)]

    def mark_filed(self, destination: str, ids: Sequence[str]) -> int:
        """Take dead letters out of Redis that are in a file now.

        Args:
            destination: Whose they are.
            ids: Those that the file has.

        Returns:
            How many events they were.
        """
        return self._take_out(script.FILED, destination, ids)

    def forget_filed(self, destination: str) -> int:
        """Have dead events count as filtered that went to a file or were only counted. Returns how many."""
        return int(self._scripts.call(script.FORGET_FILED, destination, {}))

    def _take_out(self, how: Script, destination: str, ids: Sequence[str]) -> int:
        return int(self._scripts.call(how, destination, {"ids": ids}))


def _is_at_or_before(dead_letter: DeadLetter, letter_id: str, destination: str) -> bool:
    here, there = _place(dead_letter.id), _place(letter_id)
    return here < there or (here == there and (not destination or dead_letter.destination <= destination))


def _users_of(event: Event) -> set[str]:
    """What names the event's user: as a person would type it."""
    places = [table for table in (event.context, event.data) if isinstance(table, dict)]
    keys = ("user_id", "userId", "username", "anonymous_id", "anonymousId")
    return {str(table[key]) for table in places for key in keys if table.get(key) not in (None, "")}


def _texts_at(value: Any, path: Sequence[str]) -> set[str]:
    """The values at a path, as a person would type them: text, or a number, true, false or null as in JSON."""
    if isinstance(value, list):
        return set().union(*(_texts_at(item, path) for item in value)) if value else set()
    if not path:
        return set() if isinstance(value, dict) else {value if isinstance(value, str) else json.dumps(value)}
    if not isinstance(value, dict):
        return set()
    # A key may have full stops in it, as the names of some fields do.
    found: set[str] = set()
    for end in range(1, len(path) + 1):
        key = ".".join(path[:end])
        if key in value:
            found |= _texts_at(value[key], path[end:])
    return found


def _place(bound: str) -> tuple[bool, int, int]:
    """A bound of XRANGE as something that can be compared. Those that exclude end before their own place."""
    if bound == "+":
        return True, 0, 0
    milliseconds, _, number = bound.removeprefix("(").partition("-")
    return False, int(milliseconds), int(number or "-1")
