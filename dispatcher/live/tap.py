"""Tap: where relays and workers let viewers see what passes. Without debug it does nothing, and without a viewer it
looks for one once a second at most, when something passes.

Nothing that goes wrong here may touch a delivery: what cannot be shown is not shown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.errors import StoreUnavailableError
from dispatcher.live.lease import ENTRY_BYTES, LEASE_SECONDS, MAX_LEASES, STREAM_ENTRIES, Lease, decode_lease
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import VIEWED, VIEWERS

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.event import Event

logger = logging.getLogger(__name__)

# Seconds between two looks for viewers.
_LOOK_SECONDS: Final = 1.0
# Bytes of an event, or of a request, beyond which only its head is shown.
_SHOWN_BYTES: Final = 16_000
# Seconds after which a stream goes that nobody reads any more.
_STREAM_SECONDS: Final = 60


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """One event that passes a tap.

    Args:
        event: The event.
        destinations: Those that it concerns here, for viewers who asked for one.
        describe: Makes what is shown of it: an object for JSON. Called for what is shown only.
    """

    event: Event
    destinations: Sequence[str]
    describe: Callable[[], dict[str, Any]]


class Tap:
    """Shows what passes to whoever looks. Safe in threads and after a fork. Each method makes one round trip, blocks up
    to the pool's timeout, and raises nothing for a Redis that is away.

    Args:
        pool: The connections to use.
        is_on: Whether anything may be shown: ``debug`` in the settings.
    """

    def __init__(self, pool: RedisPool, *, is_on: bool) -> None:
        self._pool = pool
        #: Whether anything may be shown.
        self.is_on = is_on
        self._leases: tuple[Lease, ...] = ()
        self._looked_at = float("-inf")
        self._looking = threading.Lock()

    def leases(self) -> tuple[Lease, ...]:
        """Who looks; empty for nobody. Asks Redis at most once a second, and never without debug."""
        if not self.is_on:
            return ()
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            # Others wait for the answer: two deliveries of one event would not both be shown otherwise.
            with self._looking:
                if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
                    self._leases = self._read()
                    self._looked_at = time.monotonic()
        return self._leases

    def show(self, lease: Lease, passing: Sequence[Passing], *, matched: int = 0) -> None:
        """Show one viewer what it wants of some events that passed.

        Args:
            lease: The viewer's.
            passing: What it wants and what is in its fraction, in order.
            matched: How many events it wanted, with those outside of its fraction; 0 for deliveries, since the rate is
                that of events.
        """
        shown: list[bytes] = []
        room = ENTRY_BYTES
        for one in passing:
            encoded = _encode(one.describe())
            if len(encoded) > room:
                break
            room -= len(encoded)
            shown.append(encoded)
        if not (matched or shown):
            return
        stream = VIEWED.of(NOT_TAKEN, lease.id)
        # One line, since a page gets it as a line of a stream: in JSON a line break can only stand between values.
        items = b",".join(shown).replace(b"\n", b" ").replace(b"\r", b" ")
        try:
            self._pool.execute_many(
                [
                    (
                        "XADD",
                        stream,
                        "MAXLEN",
                        STREAM_ENTRIES,
                        "*",
                        "matched",
                        matched,
                        "shown",
                        len(shown),
                        "items",
                        items,
                    ),
                    ("EXPIRE", stream, _STREAM_SECONDS),
                ]
            )
        except StoreUnavailableError as error:
            logger.debug("what passes cannot be shown: %s", error)

    def _read(self) -> tuple[Lease, ...]:
        try:
            (seconds, _), found = self._pool.execute_many(
                [("TIME",), ("ZRANGE", VIEWERS.of(NOT_TAKEN), 0, 2 * MAX_LEASES - 1, "WITHSCORES")]
            )
        except StoreUnavailableError:
            return ()
        # By the clock of Redis, as it was written. A viewer that changes what it wants may stand there twice.
        alive = [(decode_lease(text), float(until)) for text, until in zip(found[::2], found[1::2], strict=True)]
        leases = {lease.id: lease for lease, until in alive if lease is not None and until > float(seconds)}
        return tuple(leases.values())[:MAX_LEASES]


def shown_json(value: bytes) -> msgspec.Raw | None:
    """JSON as it may be shown; None where it is too large."""
    return msgspec.Raw(value) if len(value) <= _SHOWN_BYTES else None


def _encode(item: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(item)
    except (TypeError, ValueError, RecursionError):  # what a plugin's preview holds may be anything
        return b"{}"


assert LEASE_SECONDS > 2 * _LOOK_SECONDS
