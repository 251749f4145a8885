"""What emit relies on in an outbox: the durable one on disk, or its memory twin."""

from __future__ import annotations

from typing import Protocol


class OutboxLike(Protocol):
    """A queue of payloads with one writing process. Safe in threads; only ``sync`` and ``close`` may block."""

    @property
    def position(self) -> int:
        """The position of the next event. It only grows."""
        ...

    def has_relayed(self, position: int) -> bool:
        """Whether every event before ``position`` is in the batch store."""
        ...

    def append(self, payload: bytes) -> None:
        """Take one encoded event. Raises OutboxError where it cannot."""
        ...

    def sync(self) -> None:
        """Wait until every event so far is on the disk. Raises OSError where the disk does not take it."""
        ...

    def close(self) -> None:
        """Release what belongs to the process. Events that were not relayed stay. May be called twice."""
        ...

    def abandon(self) -> None:
        """Release, in a forked child, what the child inherited, and leave alone what its parent uses."""
        ...
