"""What the model of the batch store holds: batches that wait, and dead letters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Batch:
    """A waiting batch: its events, its state, and since or until when it has it."""

    id: str
    payloads: list[bytes]
    put_ms: int
    state: str = "queued"
    score: int = 0
    attempts: int = 0
    unheard: int = 0
    token: str = ""
    bytes: int = 0
    example: str = ""
    journal: str = ""
    start: int = 0
    end: int = 0
    #: Leases lost in a row; among how many of its first events the fatal one is, 0 if unknown; how many of them the
    #: last claim gave; whether that one is to be a dead letter; how many events were settled before.
    lost: int = 0
    within: int = 0
    part: int | None = None
    condemned: bool = False
    first: int = 0

    @property
    def handed_out(self) -> list[bytes]:
        """The events that a claim gives."""
        return self.payloads[: self.part]


#: The size of a dead letter beside its texts, and the limit for all of them by default.
ENVELOPE_BYTES, LETTERS_BYTES = 150, 64 * 1024 * 1024


@dataclass
class Letter:
    """A dead event, in the form in which the store keeps it."""

    reason: str
    error: str
    body: bytes
    attempts: int
    at_ms: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return ENVELOPE_BYTES + len(self.reason) + len(self.error) + len(self.body)
