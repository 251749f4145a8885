"""The memory twin of the outbox, for tests: it keeps the payloads in a list."""

from __future__ import annotations

from typing import Final


class MemoryOutbox:
    """Takes events as ``Outbox`` does, and keeps them as long as the process lives. Safe in threads."""

    def __init__(self) -> None:
        self.payloads: Final[list[bytes]] = []

    @property
    def position(self) -> int:
        return len(self.payloads)

    def has_relayed(self, position: int) -> bool:
        return position <= len(self.payloads)

    def append(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def close(self) -> None:
        """Does nothing: there are no files to close."""

    def abandon(self) -> None:
        """Does nothing: a forked child may read the copy that it has."""
