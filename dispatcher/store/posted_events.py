"""Posted events: what waits for pages of its visitors, event by event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.dead_event import unpack_event
from dispatcher.store.keys import MAILBOX, POSTED

# Events read in one round trip.
_PAGE: Final = 200
# Before the calls stands when they were posted, in milliseconds; see parts/mailboxes.lua.
_SINCE_DIGITS: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class EventForPage:
    """An event that waits for a page of its visitor. Times are in milliseconds since 1970.

    Args:
        id: The event's.
        since_ms: When it was posted.
        until_ms: When it becomes a dead letter.
        tries: How many pages have tried, and made no calls.
        reason: Why the last of them did not; empty where none has tried.
        payload: The event, encoded.
        mailbox: The name of the mailbox that it is in.
    """

    id: str
    since_ms: int
    until_ms: int
    tries: int
    reason: str
    payload: bytes
    mailbox: str = ""


class PostedEvents:
    """The events that wait for pages, in one Redis. Safe in threads and after a fork.

    Each method blocks for a few round trips, and raises StoreUnavailableError where Redis does not answer.

    Args:
        pool: The connections to use.
    """

    def __init__(self, pool: RedisPool) -> None:
        self._pool = pool

    def select(self, destination: str) -> Iterator[EventForPage]:
        """All that wait, those that end first at the beginning. One that a page takes meanwhile is left out."""
        start = 0
        while page := self._pool.execute("ZRANGE", POSTED.of(destination), start, start + _PAGE - 1, "WITHSCORES"):
            names = [name.decode() for name in page[::2]]
            yield from self._read(destination, list(zip(names, page[1::2], strict=True)))
            start += len(names)

    def find(self, destination: str, event_id: str) -> EventForPage | None:
        """The event of an id; None where none waits. Reads all of them."""
        return next((one for one in self.select(destination) if one.id == event_id), None)

    def _read(self, destination: str, entries: list[tuple[str, bytes]]) -> Iterator[EventForPage]:
        names = [name.split(" ", 1) for name, _ in entries]
        answers = self._pool.execute_many(
            [("HMGET", MAILBOX.of(destination, box), f"c:{id}", f"e:{id}", f"s:{id}") for box, id in names]
        )
        for (box, event_id), (_, until), (calls, event, tried) in zip(names, entries, answers, strict=True):
            if calls is None or event is None:
                continue
            reason, _, tries = (tried or b"").decode().partition(" ")
            yield EventForPage(
                id=event_id,
                since_ms=int(calls[:_SINCE_DIGITS]),
                until_ms=int(float(until)),
                tries=int(tries or 0),
                reason=reason,
                payload=unpack_event(event),
                mailbox=box,
            )
