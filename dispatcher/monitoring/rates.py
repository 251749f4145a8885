"""Rates: events a second, from one snapshot after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

# Deliveries come in batches; averaged over this time, they become a steady number.
_SECONDS: Final = 10.0


class Rates:
    """How fast each destination takes events, averaged over the last ten seconds."""

    def __init__(self) -> None:
        self._snapshots: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at: float, delivered: Mapping[str, int]) -> dict[str, float]:
        """Take in the events delivered so far.

        Args:
            at: When they were counted, in seconds of any clock.
            delivered: For each destination.

        Returns:
            Events a second for each destination; empty after the first call.
        """
        self._snapshots.append((at, dict(delivered)))
        # One older snapshot stays, so that the span is not shorter than ten seconds, once there are enough.
        while len(self._snapshots) > 2 and at - self._snapshots[1][0] >= _SECONDS:
            self._snapshots.popleft()
        since, first = self._snapshots[0]
        if at <= since:
            return {}
        # A Redis that comes back empty counts from zero again.
        return {name: max(0, number - first.get(name, number)) / (at - since) for name, number in delivered.items()}
