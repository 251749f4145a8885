"""Event ids: UUIDs of version 7 (RFC 9562 §5.7), which sort by the time at which they were made."""

from __future__ import annotations

import os
from random import Random
from time import time_ns
from typing import Final

_VARIANT: Final = 0b10 << 62


class IdSource:
    """Makes event ids. Safe in threads; a forked child needs one of its own, or the two would repeat each other."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        # Seeded from the system, so that no two processes share a sequence. Ids need to be unlike, not unguessable.
        self._bits = Random(os.urandom(32)).getrandbits

    def new(self) -> str:
        """A new id, as 36 lower-case characters. Takes under a microsecond and never blocks."""
        bits = self._bits(74)
        milliseconds = time_ns() // 1_000_000
        tail = _VARIANT | (bits >> 12)
        return (
            f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{bits & 0xFFF:03x}"
            f"-{tail >> 48:04x}-{tail & 0xFFFFFFFFFFFF:012x}"
        )
