"""PendingBatch: the lines of a log that go to the batch store in one step, and how far the log was put before."""

from __future__ import annotations

from dataclasses import dataclass

from dispatcher.edx_log.source import Line
from dispatcher.replay.checkpoint import Checkpoint
from dispatcher.store.packing import pack
from dispatcher.store.put import Put


@dataclass(slots=True)
class LogProgress:
    """How far a log was replayed to a destination.

    Args:
        identity: What the log is known by.
        checkpoint: As it was saved last.
        put: Up to where the store has the log; -1 where it knows nothing of it.
    """

    identity: str
    checkpoint: Checkpoint
    put: int

    @property
    def start(self) -> int:
        """Where to read on. The checkpoint decides where the store has forgotten the log."""
        return self.checkpoint.position if self.put < 0 else self.put

    @property
    def journal(self) -> str:
        """The name by which the store knows the log."""
        return self.checkpoint.journal(self.identity)


class PendingBatch:
    """Collects the lines of a log from a position on, and the payloads of the events that the filter takes."""

    __slots__ = ("end", "example", "last", "payloads", "size", "start")

    def __init__(self, start: int) -> None:
        self.end = start
        self.clear()

    def clear(self) -> None:
        """Begin anew where it ended."""
        self.start = self.end
        self.payloads: list[bytes] = []
        self.size = 0
        # The name of one of the events.
        self.example = ""
        self.last: Line | None = None

    def add(self, line: Line, payload: bytes | None, name: str) -> None:
        """Add a line, with the payload and name of its event where the filter takes that."""
        self.end = line.end
        self.last = line
        if payload is not None:
            self.payloads.append(payload)
            self.size += len(payload)
            self.example = self.example or name

    def has_room_for(self, payload: bytes | None, max_bytes: int) -> bool:
        """Whether an event may be added. An empty batch takes an event of any size."""
        return payload is None or not self.payloads or self.size + len(payload) <= max_bytes

    def to_put(self, destination: str, progress: LogProgress) -> Put:
        """What the store is to take."""
        return Put(
            destination=destination,
            journal=progress.journal,
            after=progress.put,
            start=self.start,
            end=self.end,
            packed=pack(self.payloads) if self.payloads else b"",
            count=len(self.payloads),
            example=self.example,
        )

    def advance(self, progress: LogProgress) -> None:
        """Move the log's progress to the end of the batch, once the store has taken it."""
        assert self.last is not None, "it is empty"
        token = progress.checkpoint.token
        progress.put = self.end
        progress.checkpoint = Checkpoint(token=token, position=self.end, number=self.last.number, tail=self.last.tail)
