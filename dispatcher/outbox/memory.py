"""The memory twin of the outbox, for tests: it keeps the payloads in a list."""

from __future__ import annotations

from typing import Final


class MemoryOutbox:
    """Takes events as ``Outbox`` does and forgets them with the process. Safe in threads."""

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
        """Nothing to let go of."""

    def abandon(self) -> None:
        """Nothing was inherited."""
