"""Mailboxes: events that wait for their visitor's page, which takes them where the vendor's script runs.

A mailbox is known by a name of which only who has the collector's secret can make another (secrecy/visitor.py). Events
come into it by a batch's settlement, and leave it by the page's acknowledgement, or as dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.outcomes import NOT_PRESENT
from dispatcher.store import script
from dispatcher.store.keys import BREAKER, MAILBOX
from dispatcher.store.script import ScriptCaller

#: What a page can say of an event that it got.
STATUSES: Final = frozenset({"handed", "no_consent", NOT_PRESENT, "error"})
# A page waits for the vendor's script for ten seconds, and may be slow.
_LEASE_MS: Final = 60_000
# Dead letters made in one step: some milliseconds of Redis.
_EXPIRED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class WaitingCalls:
    """An event that waits for a page.

    Args:
        destination: Whose calls they are.
        id: The event's.
        calls: What the page is to do, as JSON.
    """

    destination: str
    id: str
    calls: bytes


class Mailboxes:
    """The mailboxes in one Redis. Safe in threads and after a fork.

    Each method takes one round trip, blocks up to the pool's timeout, and raises StoreUnavailableError where Redis does
    not answer; it may be repeated then.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._scripts = ScriptCaller(pool, clock)

    def fetch(self, destinations: Iterable[str], mailboxes: Sequence[str], *, limit: int) -> list[WaitingCalls]:
        """What waits in a visitor's mailboxes: up to ``limit`` events for each destination, the oldest first.

        Nothing is taken out: the acknowledgement does that. What is not in the first mailbox, the browser's own, is
        kept from other browsers for a minute.
        """
        names = list(destinations)
        arguments = {"mailboxes": list(mailboxes), "limit": limit, "lease_ms": _LEASE_MS}
        answers = self._scripts.call_many(script.FETCH_POSTED, [(name, arguments, ()) for name in names])
        return [
            WaitingCalls(name, answer[place].decode(), answer[place + 1])
            for name, answer in zip(names, answers, strict=True)
            for place in range(0, len(answer), 2)
        ]

    def have_events(self, destinations: Sequence[str], mailboxes: Sequence[str]) -> list[bool]:
        """Whether anything waits in each mailbox, for any of the destinations."""
        found = self._pool.execute_many(
            [("EXISTS", MAILBOX.of(name, one)) for one in mailboxes for name in destinations]
        )
        width = len(destinations)
        return [any(found[start : start + width]) for start in range(0, len(found), width)]

    def find_paused(self, destinations: Sequence[str]) -> frozenset[str]:
        """Those that somebody has paused. By this host's clock, where a pause ends by itself."""
        found = self._pool.execute_many(
            [("HMGET", BREAKER.of(name), "paused", "paused_until") for name in destinations]
        )
        now_ms = time.time() * 1000
        return frozenset(
            name
            for name, (since, until) in zip(destinations, found, strict=True)
            if since is not None and not 0 < int(until or 0) <= now_ms
        )

    def acknowledge(self, mailboxes: Sequence[str], acks: Mapping[str, Sequence[tuple[str, str]]]) -> int:
        """Record what a page made of a visitor's events, each once, however often the page says so.

        Args:
            mailboxes: The visitor's: an acknowledgement counts for no other.
            acks: By destination, ids and statuses. An id that is unknown is remembered for a day: its event may be
                posted later.

        Returns:
            How many of them counted now.
        """
        calls = [
            (name, {"mailboxes": list(mailboxes), "acks": list(of_name)}, ())
            for name, of_name in acks.items()
            if of_name
        ]
        return sum(self._scripts.call_many(script.ACKNOWLEDGE, calls))

    def expire(self, destination: str) -> int:
        """Make dead letters of what has waited for too long. Returns how many, up to a limit: call it again then."""
        return int(self._scripts.call(script.EXPIRE_POSTED, destination, {"limit": _EXPIRED_AT_ONCE}))
