"""Lease: what one viewer wants to see, as relays and workers learn it. It runs out when the viewer is gone."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

from dispatcher.event import Event, users_of

#: Seconds after which nothing is sent to a viewer that has not said again that it looks.
LEASE_SECONDS: Final = 10.0
#: How many viewers are served at a time in one Redis. Each may take STREAM_ENTRIES * ENTRY_BYTES there: 32 MB.
MAX_LEASES: Final = 4
#: Entries of a viewer's stream, and bytes of one: what is not read in time is lost to the viewer, and to nobody else.
STREAM_ENTRIES: Final = 500
ENTRY_BYTES: Final = 64_000

# Of a CRC-32.
_HASHES: Final = 1 << 32


class Lease(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a viewer wants.

    Args:
        id: The viewer's; the name of its stream.
        name: A name of events, or a glob with ``*`` and ``?``; empty for all.
        destination: Only what concerns this one; empty for all.
        user: Only events about this user, by the id or the name in the event's context or data; empty for all.
        event_id: Only this event; empty for all.
        fraction: Of the events that match, how many are shown: the viewer lowers it where more come than it can show.
    """

    id: str
    name: str = ""
    destination: str = ""
    user: str = ""
    event_id: str = ""
    fraction: float = 1.0

    @property
    def wants_all(self) -> bool:
        """Whether no event has to be looked into to know that the viewer wants it."""
        return not (self.name or self.user or self.event_id)

    def wants(self, event: Event) -> bool:
        """Whether the event is one that the viewer asked for, whatever its fraction is."""
        return (
            (not self.event_id or event.id == self.event_id)
            and (not self.name or _compile(self.name).match(event.name) is not None)
            and (not self.user or self.user in users_of(event))
        )

    def samples(self, event_id: str) -> bool:
        """Whether the event is in the fraction. The same everywhere, so that an event comes with all its deliveries."""
        return self.fraction >= 1 or crc32(event_id.encode()) < self.fraction * _HASHES


def encode_lease(lease: Lease) -> bytes:
    """The lease as it stands in Redis."""
    return msgspec.json.encode(lease)


def decode_lease(text: bytes) -> Lease | None:
    """The lease that stands in Redis; None where another version has put something else there."""
    try:
        return msgspec.json.decode(text, type=Lease)
    except msgspec.DecodeError:
        return None


@lru_cache(maxsize=64)
def _compile(glob: str) -> re.Pattern[str]:
    # As in an allowlist: brackets stand for themselves.
    return re.compile(translate(glob.replace("[", "[[]")))
