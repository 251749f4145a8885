"""Rates: events a second, from looks that follow one another."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

# Batches come in jumps; over this many seconds they become a number that can be read.
_SECONDS: Final = 10.0


class Rates:
    """How fast each destination takes events, over the last ten seconds of looks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at: float, delivered: Mapping[str, int]) -> dict[str, float]:
        """Take in a look, made ``at`` seconds of any clock. Returns events a second; nothing after the first look."""
        self._looks.append((at, dict(delivered)))
        # One look that is older stays: the span then never is shorter than asked for, once there are enough.
        while len(self._looks) > 2 and at - self._looks[1][0] >= _SECONDS:
            self._looks.popleft()
        since, first = self._looks[0]
        if at <= since:
            return {}
        # A Redis that came back empty counts from zero again.
        return {name: max(0, number - first.get(name, number)) / (at - since) for name, number in delivered.items()}
