"""Wanted: the events that are looked for, and what is known of each as the search goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from dispatcher.event import decode
from dispatcher.monitoring.traces import remove_traces
from dispatcher.receipts.block import id_of

if TYPE_CHECKING:
    from dispatcher.event import Event

# Clocks of two hosts may differ by some.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)


@dataclass(slots=True)
class Finding:
    """One event that is looked for.

    Args:
        id: Its id.
        emitted: When it was emitted, by the clock of its host, if its id says so.
        payload: The event without its trace, where it was found.
        event: The event; that of its line in a log where it was found nowhere else.
        places: Where it was found, in the order of the search: objects for JSON.
    """

    id: str
    emitted: datetime | None
    payload: bytes | None = None
    event: Event | None = None
    places: list[dict[str, Any]] = field(default_factory=list)

    @property
    def since(self) -> datetime | None:
        """A time before which nobody had it, by the clock of any host."""
        return None if self.emitted is None else self.emitted - _CLOCKS_DIFFER

    def add(self, destination: str, state: str, **known: Any) -> None:
        """Add a place."""
        self.places.append({"destination": destination, "state": state, **known})

    def take(self, payload: bytes) -> None:
        """Keep the event, if it is one and was not found before."""
        if self.payload is None:
            try:
                event = decode(payload)
            except (msgspec.DecodeError, RecursionError):
                return
            (self.payload,) = remove_traces([payload]).payloads
            self.event = event


class Wanted:
    """Several events that are looked for at a time.

    Args:
        event_ids: Their ids.
    """

    def __init__(self, event_ids: Iterable[str]) -> None:
        self.findings: Final = {one: Finding(one, emitted_at(one)) for one in event_ids}
        #: Sentences on what was not looked through.
        self.partial: list[str] = []
        #: The hosts whose workers' receipts were looked through.
        self.hosts_with_receipts: Set[str] = frozenset()
        self._texts = [id_text(one) for one in self.findings]

    @property
    def ids(self) -> Sequence[str]:
        """The ids."""
        return list(self.findings)

    @property
    def since(self) -> datetime | None:
        """Before this nobody had any of them; None where an id does not say its time."""
        times = [finding.since for finding in self.findings.values()]
        return None if None in times else min((time for time in times if time is not None), default=None)

    @property
    def since_seconds(self) -> float:
        """The same in seconds since 1970; 0 where it is not known."""
        return 0.0 if self.since is None else self.since.timestamp()

    def of(self, payload: bytes) -> Finding | None:
        """The finding of an encoded event; None for another one."""
        return self.findings.get(id_of(payload))

    def are_in(self, content: bytes) -> bool:
        """Whether the id of any stands somewhere in some bytes."""
        return any(text in content for text in self._texts)

    def note(self, sentence: str) -> None:
        """Note what was not looked through, once."""
        if sentence not in self.partial:
            self.partial.append(sentence)


def id_text(event_id: str) -> bytes:
    """An id as it stands in JSON, without the quotes."""
    return msgspec.json.encode(event_id)[1:-1]


def emitted_at(event_id: str) -> datetime | None:
    """When an event was emitted, from its id; None where the id does not say it."""
    try:
        uuid = UUID(event_id)
        if uuid.version != 7:
            return None
        # The first 48 bits are milliseconds since 1970 (RFC 9562).
        return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
