"""Dead letters: the events that gave up, with their reasons. Read them, have them delivered again, or drop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import zstandard

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, decode
from dispatcher.store.batches import BatchStore, Put, pack, prefix
from dispatcher.store.dead_letter_form import whole

# Letters read in one round trip, and where each may be large.
_PAGE: Final = 500
_SMALL_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that will not be delivered unless somebody has it replayed.

    Args:
        letter_id: Its place in the stream: the time at which it died, in milliseconds, and a number.
        reason: In a word, as the ledger counts it.
        error: The last error, as a sentence.
        attempts: How often it was tried.
        payload: The event.
        count: How many events it stands for; more than one where these are gone.
    """

    destination: str
    letter_id: str
    reason: str
    error: str
    attempts: int
    payload: bytes
    count: int = 1

    @property
    def died_ms(self) -> int:
        """When it was buried, in milliseconds since 1970."""
        return int(self.letter_id.partition("-")[0])

    @property
    def event(self) -> Event | None:
        """The event, or None where it cannot be decoded."""
        try:
            return decode(self.payload)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def can_be_replayed(self) -> bool:
        """Whether there is an event that a destination could be given. What emit could not take is only described."""
        event = self.event
        return event is not None and event.type not in ("dead", "dropped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant. Everything that is given has to hold.

    Args:
        reason: Their reason.
        name: The event's name, or a glob of it.
        since: Buried then or later.
        until: Buried before then.
        letter_ids: These only.
    """

    reason: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    letter_ids: Sequence[str] = ()

    def __contains__(self, letter: DeadLetter) -> bool:
        if self.reason is not None and letter.reason != self.reason:
            return False
        if self.letter_ids and letter.letter_id not in self.letter_ids:
            return False
        if self.name is None:
            return True
        event = letter.event
        return event is not None and fnmatchcase(event.name, self.name)

    def has(self, letter: DeadLetter) -> bool:
        """The same with the times, for letters that were not chosen by ``bounds``."""
        if self.since is not None and letter.died_ms < self.since.timestamp() * 1000:
            return False
        if self.until is not None and letter.died_ms >= self.until.timestamp() * 1000:
            return False
        return letter in self

    @property
    def bounds(self) -> tuple[str, str]:
        """The part of the stream to look at."""
        first = "-" if self.since is None else str(int(self.since.timestamp() * 1000))
        last = "+" if self.until is None else f"({int(self.until.timestamp() * 1000)}"
        return first, last


class DeadLetters:
    """The dead letters of every destination. Each method blocks up to the pool's timeout for each page it reads.

    All raise StoreUnavailableError where Redis does not answer.
    """

    def __init__(self, pool: RedisPool, store: BatchStore) -> None:
        self._pool = pool
        self._store = store

    def select(self, destination: str, selection: Selection) -> Iterator[DeadLetter]:
        """The letters that are meant, oldest first, read a page at a time.

        Those that are buried meanwhile are not among them: what is replayed and fails again must not come round.
        """
        stream = f"{prefix(destination)}dead"
        newest = self._pool.execute("XREVRANGE", stream, "+", "-", "COUNT", 1)
        if not newest:
            return
        newest_id = newest[0][0].decode()
        first, last = selection.bounds
        if _place(newest_id) < _place(last):
            last = newest_id
        while True:
            page = self._pool.execute("XRANGE", stream, first, last, "COUNT", _PAGE)
            for letter_id, fields in page:
                letter = _letter(destination, letter_id, fields)
                if letter in selection:
                    yield letter
            if len(page) < _PAGE:
                return
            first = f"({page[-1][0].decode()}"

    def read(self, destination: str, letter_ids: Sequence[str]) -> Iterator[DeadLetter]:
        """These letters, as far as they are there, read a few at a time."""
        stream = f"{prefix(destination)}dead"
        for at in range(0, len(letter_ids), _SMALL_PAGE):
            page = letter_ids[at : at + _SMALL_PAGE]
            for found in self._pool.execute_many([("XRANGE", stream, one, one) for one in page]):
                yield from (_letter(destination, letter_id, fields) for letter_id, fields in found)

    def replay(self, letters: Sequence[DeadLetter]) -> int:
        """Have letters of one destination delivered again, as one batch. Returns how many are on their way.

        The next bell of a worker rings for it. Letters that are gone, as when somebody else replays them too, do not
        keep the others; those then go as several batches. What fails again is buried again.
        """
        if not letters:
            return 0
        destination = letters[0].destination
        batch_id = f"replay-{letters[0].letter_id}"
        payloads = [letter.payload for letter in letters]
        if self._store.revive(destination, batch_id, payloads, [letter.letter_id for letter in letters]):
            return len(payloads)
        if len(letters) == 1:
            return 0
        half = len(letters) // 2
        return self.replay(letters[:half]) + self.replay(letters[half:])

    def restore(self, letters: Sequence[tuple[int, DeadLetter]], source: str) -> bool:
        """Have letters of a file delivered again, as one batch. False where somebody else does so right now.

        Args:
            letters: Of one destination, each with its number in the file, in order.
            source: What the file and the choice of its letters is known by: what was restored of it is not again.
        """
        chosen = [letter for _, letter in letters]
        event = chosen[0].event
        put = Put(
            destination=chosen[0].destination,
            journal=source,
            start=letters[0][0],
            end=letters[-1][0] + 1,
            packed=pack([letter.payload for letter in chosen]),
            count=len(chosen),
            example="" if event is None else event.name,
        )
        return self._store.restore(put) is None

    def restored(self, destination: str, source: str) -> int:
        """Up to which number a file was restored; 0 where nothing of it was in the last week."""
        return max(0, self._store.progress([destination], source)[destination].put)

    def forget_filed(self, destination: str) -> int:
        """Have letters that are in files, or of which nothing was kept, count as filtered. Returns how many."""
        return self._store.forget_filed(destination)

    def drop(self, letters: Sequence[DeadLetter]) -> int:
        """Delete letters of one destination for good. Returns how many there were."""
        if not letters:
            return 0
        return self._store.drop(letters[0].destination, [letter.letter_id for letter in letters])


def _place(bound: str) -> tuple[bool, int, int]:
    """A bound of XRANGE as something that can be compared. Those that exclude end before their own place."""
    if bound == "+":
        return True, 0, 0
    milliseconds, _, number = bound.removeprefix("(").partition("-")
    return False, int(milliseconds), int(number or "-1")


def _letter(destination: str, letter_id: bytes, fields: Sequence[bytes]) -> DeadLetter:
    values = {fields[at].decode(): fields[at + 1] for at in range(0, len(fields), 2)}
    return DeadLetter(
        destination=destination,
        letter_id=letter_id.decode(),
        reason=values["reason"].decode(),
        error=values["error"].decode(),
        attempts=int(values["attempts"]),
        payload=_whole(values["event"]),
        count=int(values.get("n", 1)),
    )


def _whole(event: bytes) -> bytes:
    try:
        return whole(event)
    except zstandard.ZstdError:
        return b""  # damaged: the letter can be seen and dropped all the same
