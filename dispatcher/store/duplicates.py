"""Duplicates: how many events came again, by source: counted by relays, read by ``dispatcher status``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import script
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import DUPLICATES
from dispatcher.store.script import Call, ScriptCaller

# Redis does nothing else while it counts so many: some milliseconds.
_REPEATS_IN_SCRIPT: Final = 5_000


class Duplicates:
    """The counts in one Redis. Safe in threads and after a fork.

    Args:
        scripts: Calls the store's scripts.
        pool: The same connections.
    """

    def __init__(self, scripts: ScriptCaller, pool: RedisPool) -> None:
        self._scripts = scripts
        self._pool = pool

    def count(self, journal: str, repeats: Sequence[tuple[str, int]]) -> None:
        """Count events that had come before. Counts none twice when it is called again. Blocks for a round trip.

        Args:
            journal: The name of the journal.
            repeats: The source of each, and the position behind it, in order.

        Raises:
            StoreUnavailableError: Redis did not answer. Call again with the same, or with more.
        """
        calls: list[Call] = []
        for start in range(0, len(repeats), _REPEATS_IN_SCRIPT):
            part = repeats[start : start + _REPEATS_IN_SCRIPT]
            places: dict[str, int] = {}
            numbers: list[int] = []
            for source, end in part:
                numbers += (places.setdefault(source, len(places) + 1), end)
            arguments = {"journal": journal, "finish": part[-1][1], "sources": list(places), "repeats": numbers}
            calls.append((NOT_TAKEN, arguments, ()))
        self._scripts.call_many(script.DUPLICATES, calls)

    def read(self) -> dict[str, int]:
        """How many, by source. Blocks for one round trip. Raises StoreUnavailableError."""
        answer = self._pool.execute("HGETALL", DUPLICATES.of(NOT_TAKEN))
        pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
        return {source.decode(): int(count) for source, count in pairs}
