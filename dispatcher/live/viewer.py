"""Viewer: one who looks. It says what it wants as long as it looks, and reads what relays and workers show it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from msgspec.structs import replace

from dispatcher.errors import DispatcherError
from dispatcher.live.lease import LEASE_SECONDS, MAX_LEASES, Lease, encode_lease
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import VIEWED, VIEWERS

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

#: Events a second that a viewer is shown; of more, a part.
SHOWN_PER_SECOND: Final = 200
# Seconds between two renewals of the lease.
_RENEW_SECONDS: Final = 1.0
# Seconds of which the rate is taken.
_RATE_SECONDS: Final = 2.0
# By how much the rate may grow before the fraction is lowered, so that it does not change with every second.
_SLACK: Final = 1.1
# Entries that are read in one round trip.
_PAGE: Final = 200


class TooManyViewersError(DispatcherError):
    """As many look as are served."""


def refusal(settings: Settings) -> str | None:
    """Why nobody is shown any events, and the way out; None where they may be shown."""
    if settings.is_debug:
        return None
    return (
        f"debug is off in the environment {settings.environment!r}, so events are shown to nobody: set "
        "DISPATCHER_DEBUG=true for relays, workers and whatever shows events, and start them again"
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What has come since the last look.

    Args:
        items: JSON objects, separated by commas; empty for nothing. Each is of an event or of a delivery.
        per_second: How many events that the viewer wants come in a second.
        shown_per_second: How many of them are shown.
    """

    items: bytes
    per_second: float
    shown_per_second: float


class Viewer:
    """Looks at what passes. One thread at a time. Each method blocks for a round trip or two, up to the pool's timeout
    for each, and raises StoreUnavailableError where Redis does not answer; call it again then.

    Args:
        pool: The connections to use.
        wanted: What to look at; its ``id`` is replaced.
    """

    def __init__(self, pool: RedisPool, wanted: Lease) -> None:
        self._pool = pool
        self._lease = replace(wanted, id=uuid4().hex)
        self._written = b""
        self._last = "-"
        self._renewed_at = float("-inf")
        self._counts: deque[tuple[float, int, int]] = deque()

    def open(self) -> None:
        """Begin to look: what passes from a second later on is seen.

        Raises:
            TooManyViewersError: Others look already, and no more are served.
        """
        (seconds, _), found = self._pool.execute_many(
            [("TIME",), ("ZRANGE", VIEWERS.of(NOT_TAKEN), 0, -1, "WITHSCORES")]
        )
        # Of those that went away without a word, and of what a viewer wanted before.
        gone = [text for text, until in zip(found[::2], found[1::2], strict=True) if float(until) <= float(seconds)]
        if gone:
            self._pool.execute("ZREM", VIEWERS.of(NOT_TAKEN), *gone)
        if len(found) // 2 - len(gone) >= MAX_LEASES:
            raise TooManyViewersError(
                f"{MAX_LEASES} look at live events already: end a `dispatcher tail`, or close a live page"
            )
        self._renew()

    def read(self) -> Seen:
        """What has come since the last call. Renews the lease where that is due."""
        now = time.monotonic()
        if now - self._renewed_at >= _RENEW_SECONDS:
            self._steer(now)
            self._renew()
        items: list[bytes] = []
        stream = VIEWED.of(NOT_TAKEN, self._lease.id)
        for place, fields in self._pool.execute("XRANGE", stream, self._last, "+", "COUNT", _PAGE):
            self._last = f"({place.decode()}"
            entry = dict(zip(fields[::2], fields[1::2], strict=True))
            if entry[b"items"]:
                items.append(entry[b"items"])
            # Deliveries match nothing: the rates are those of events.
            if matched := int(entry[b"matched"]):
                self._counts.append((now, matched, int(entry[b"shown"])))
        per_second, shown_per_second = self._rates(now)
        return Seen(b",".join(items), per_second, shown_per_second)

    def close(self) -> None:
        """Look no longer. What was not read is dropped."""
        self._pool.execute_many(
            [
                ("ZREM", VIEWERS.of(NOT_TAKEN), self._written),
                ("DEL", VIEWED.of(NOT_TAKEN, self._lease.id)),
            ]
        )

    def _rates(self, now: float) -> tuple[float, float]:
        """How many events that it wants come in a second, and how many it is shown."""
        while self._counts and now - self._counts[0][0] > _RATE_SECONDS:
            self._counts.popleft()
        return (
            sum(matched for _, matched, _ in self._counts) / _RATE_SECONDS,
            sum(shown for _, _, shown in self._counts) / _RATE_SECONDS,
        )

    def _steer(self, now: float) -> None:
        """Want as large a part of the events as can be shown."""
        rate, _ = self._rates(now)
        fraction = 1.0 if rate <= SHOWN_PER_SECOND * _SLACK else SHOWN_PER_SECOND / rate
        if abs(fraction - self._lease.fraction) > (_SLACK - 1) * self._lease.fraction:
            self._lease = replace(self._lease, fraction=fraction)

    def _renew(self) -> None:
        text, before = encode_lease(self._lease), self._written
        key = VIEWERS.of(NOT_TAKEN)
        seconds = int(self._pool.execute("TIME")[0])
        commands: list[tuple[object, ...]] = [("ZADD", key, seconds + LEASE_SECONDS, text)]
        if before and before != text:
            commands.append(("ZREM", key, before))
        commands.append(("EXPIRE", key, int(2 * LEASE_SECONDS)))
        self._pool.execute_many(commands)
        self._written, self._renewed_at = text, time.monotonic()
