"""Tail: follows a log that other processes write."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

_BLOCK_BYTES: Final = 1 << 20


class Tail:
    """Reads what was appended since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._fd = -1

    def count(self) -> int:
        """The number of line breaks since the last call."""
        return sum(block.count(b"\n") for block in self._blocks())

    def lines(self) -> list[bytes]:
        """The whole lines since the last call."""
        text = b"".join(self._blocks())
        whole, _, rest = text.rpartition(b"\n")
        self._offset -= len(rest)
        return whole.split(b"\n") if whole else []

    def wait_for(self, lines: int, *, timeout_seconds: float, look_seconds: float = 0.01) -> int:
        """Wait for ``lines`` more lines, or for the timeout. Returns how many came."""
        deadline = time.monotonic() + timeout_seconds
        found = self.count()
        while found < lines and time.monotonic() < deadline:
            time.sleep(look_seconds)
            found += self.count()
        return found

    def _blocks(self) -> Iterator[bytes]:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return
        while block := os.pread(self._fd, _BLOCK_BYTES, self._offset):
            self._offset += len(block)
            yield block


class _Data(msgspec.Struct):
    sequence: int


class _Line(msgspec.Struct):
    event: _Data


_decode = msgspec.json.Decoder(_Line).decode


def sequence_of(line: bytes) -> int:
    """The number of the event in a line of ours or a peer's."""
    return _decode(line).event.sequence


def account(path: Path, *, first: int, events: int) -> dict[str, Any]:
    """How many of the events from number ``first`` on are missing in the log, and how many lines are doubled."""
    seen: dict[int, int] = {}
    with path.open("rb") as log:
        for line in log:
            sequence = sequence_of(line)
            seen[sequence] = seen.get(sequence, 0) + 1
    wanted = range(first, first + events)
    return {
        "missing": sum(1 for sequence in wanted if sequence not in seen),
        "doubled": sum(times - 1 for times in seen.values()),
    }
