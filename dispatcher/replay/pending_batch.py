"""Share: the lines of a log that go to the batch store in one step, and the place in the log where that is."""

from __future__ import annotations

from dataclasses import dataclass

from dispatcher.edx_log.source import Line
from dispatcher.replay.checkpoint import Marker
from dispatcher.store.batches import Put, pack


@dataclass(slots=True)
class Place:
    """Where a replay stands in a log.

    Args:
        identity: What the log is known by.
        marker: As it was written down last.
        put: Up to where the store has the log; -1 where it knows nothing of it.
    """

    identity: str
    marker: Marker
    put: int

    @property
    def start(self) -> int:
        """Where to read on. The marker is asked where the store has forgotten the log."""
        return self.marker.position if self.put < 0 else self.put

    @property
    def journal(self) -> str:
        """The name that the store knows the log by."""
        return self.marker.journal(self.identity)


class Share:
    """Collects lines from a position on. ``payloads`` are the chosen events among them."""

    __slots__ = ("end", "example", "last", "payloads", "size", "start")

    def __init__(self, start: int) -> None:
        self.end = start
        self.clear()

    def clear(self) -> None:
        """Begin anew where it ended."""
        self.start = self.end
        self.payloads: list[bytes] = []
        self.size = 0
        self.example = ""
        self.last: Line | None = None

    def add(self, line: Line, payload: bytes | None, name: str) -> None:
        """Add a line, with the event that is chosen of it."""
        self.end = line.end
        self.last = line
        if payload is not None:
            self.payloads.append(payload)
            self.size += len(payload)
            self.example = self.example or name

    def has_room_for(self, payload: bytes | None, most_bytes: int) -> bool:
        """Whether an event may be added. An empty share has room for every one."""
        return payload is None or not self.payloads or self.size + len(payload) <= most_bytes

    def put(self, destination: str, place: Place) -> Put:
        """What the store is to take."""
        return Put(
            destination=destination,
            journal=place.journal,
            after=place.put,
            start=self.start,
            end=self.end,
            packed=pack(self.payloads) if self.payloads else b"",
            count=len(self.payloads),
            example=self.example,
        )

    def settle(self, place: Place) -> None:
        """The store has taken it: the place moves on."""
        assert self.last is not None, "it is empty"
        place.put = self.end
        place.marker = Marker(token=place.marker.token, position=self.end, number=self.last.number, tail=self.last.tail)
