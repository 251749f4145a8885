"""The memory twin of the outbox, for tests."""

from __future__ import annotations

from typing import Final


class MemoryOutbox:
    """Takes events as ``Outbox`` does, and keeps them as long as the process lives. Safe in threads.

    Args:
        limit: How many payloads are kept, the newest ones; None keeps all.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.payloads: Final[list[bytes]] = []
        self._limit = limit

    @property
    def position(self) -> int:
        return len(self.payloads)

    def has_relayed(self, position: int) -> bool:
        """True: nobody relays them, so nobody need wait for it."""
        return True

    def append(self, payload: bytes) -> None:
        self.payloads.append(payload)
        if self._limit is not None and len(self.payloads) > self._limit:
            del self.payloads[0]

    def sync(self) -> None:
        """Nothing: it has only memory."""

    def close(self) -> None:
        """Does nothing: there are no files to close."""

    def abandon(self) -> None:
        """Does nothing: a forked child may read the copy that it has."""
