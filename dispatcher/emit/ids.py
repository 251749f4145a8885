"""Event ids: UUIDs of version 7 (RFC 9562 §5.7), which sort by the time at which they were made."""

from __future__ import annotations

import os
from itertools import count
from typing import Final

from dispatcher.process.clock import time_ns

# The low twelve bits of the counter, as text: looking one up takes a third of the time of formatting it.
_LOW: Final = tuple(f"{number:03x}" for number in range(4096))


class IdSource:
    """Makes event ids. Safe in threads. A forked child needs a source of its own, or parent and child repeat ids.

    An id is the time in milliseconds, a counter of 26 bits (RFC 9562 §6.2, method 1) that starts at random, and 48
    random bits of the source. The counter keeps the ids of one source apart, the random bits those of two sources.
    """

    __slots__ = ("_block", "_next", "_node", "_stamp")

    def __init__(self) -> None:
        self._node = os.urandom(6).hex()
        self._next = count(int.from_bytes(os.urandom(3))).__next__
        # Both are replaced whole, never changed, so that threads need no lock.
        self._stamp = (0, "")
        self._block = (-1, "")

    def new(self) -> str:
        """A new id of 36 lower-case characters. Takes half a microsecond; neither blocks nor raises."""
        number = self._next()
        milliseconds = time_ns() // 1_000_000
        then, stamp = self._stamp
        if milliseconds != then:
            digits = (
                f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"  # before 1970, where a test has set the clock, it is negative
            )
            stamp = f"{digits[:8]}-{digits[8:]}-7"
            self._stamp = (milliseconds, stamp)
        block, rest = self._block
        if number >> 12 != block:
            block = number >> 12
            # The variant, 10, and the counter's upper fourteen bits.
            rest = f"-{0x8000 | block & 0x3FFF:04x}-{self._node}"
            self._block = (block, rest)
        return f"{stamp}{_LOW[number & 4095]}{rest}"
