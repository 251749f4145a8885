"""Puts: ranges of journals that go into the batch store, each for one destination; and how far a journal was put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.doorbell import Ring
from dispatcher.store.packing import unpacked_bytes
from dispatcher.store.slots import slot_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What one destination gets of a range of a journal.

    Args:
        destination: Which one.
        journal: The name of the outbox directory.
        start: The position in the journal where the range begins.
        end: The position behind it.
        after: The position up to which the journal was put for the destination before: a store that has less takes
            nothing. Otherwise, after a put that was refused, the next one would leave a gap that looks as if it had
            been put.
        packed: The events for the destination, packed; empty where the range has none.
        count: How many these are.
        example: The name of one of them, for people who watch.
        filtered: How many of the range's events are not for it, by reason.
        dead: Events that emit could not take.
        again: The store had it before and has lost it, so that it may have been delivered.
        slot: The slot of the destination to which the journal belongs.
    """

    destination: str
    journal: str
    start: int
    end: int
    after: int = -1
    packed: bytes = b""
    count: int = 0
    example: str = ""
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()
    again: bool = False
    slot: int = 0

    @property
    def slot_name(self) -> str:
        """Whose keys it goes to."""
        return slot_name(self.destination, self.slot)

    @property
    def batch_id(self) -> str:
        """The same whenever the same range is put."""
        return f"{self.journal}-{self.start:x}"

    @property
    def ring(self) -> Ring:
        """The doorbell for the batch."""
        return Ring(
            destination=self.destination,
            batch_id=self.batch_id,
            count=self.count,
            example=self.example,
            slot=self.slot,
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """As put.lua takes them."""
        return {
            "journal": self.journal,
            "after": self.after,
            "start": self.start,
            "finish": self.end,
            "id": self.batch_id,
            "n": self.count,
            "bytes": unpacked_bytes(self.packed),
            "example": self.example,
            "filtered": dict(self.filtered),
            "dead": [one.why for one in self.dead],
            "again": self.again,
        }

    @property
    def data(self) -> list[bytes]:
        """The bytes behind the arguments."""
        return [self.packed, *(part for one in self.dead for part in one.data)]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a journal has come at one destination; -1 where the store knows nothing of it.

    Args:
        put: The position up to which it was put.
        open: The position where its first batch starts that is not settled; -1 where all are.
        slot: The slot to which it belongs.
    """

    put: int
    open: int
    slot: int = 0
