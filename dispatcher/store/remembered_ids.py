"""RememberedIds: the ids that came with events, by which a relay knows an event that comes again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import script
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.event_ids import IdMemory, IdWindow
from dispatcher.store.keys import IDS
from dispatcher.store.script import Call, ScriptCaller

# Redis does nothing else while it looks for so many: some two milliseconds.
_IDS_IN_CALL: Final = 250
# Calls in one round trip, so that none takes longer than the pool waits.
_CALLS_AT_ONCE: Final = 8


class RememberedIds:
    """The ids in one Redis. Safe in threads and after a fork. Each method raises StoreUnavailableError.

    Args:
        scripts: Calls the store's scripts.
        pool: The same connections.
    """

    def __init__(self, scripts: ScriptCaller, pool: RedisPool) -> None:
        self._scripts = scripts
        self._pool = pool

    def find_repeats(
        self, journal: str, fingerprints: Sequence[bytes], ends: Sequence[int], window: IdWindow, *, after: int = -1
    ) -> list[bool] | None:
        """Whether each event came before: one of the same id and source, at another place. Remembers all of them.

        For the same events it answers the same, as long as it remembers them. Blocks for a round trip for some thousand
        events.

        Args:
            journal: The name of the journal.
            fingerprints: Events of it, in their order, as ``event_ids.fingerprints`` makes them.
            ends: The position behind each.
            window: For how long ids are remembered.
            after: The position up to which the caller has asked for ids of the journal before; -1 if it does not know.

        Returns:
            None where Redis has lost that: then it has remembered nothing.
        """
        calls: list[Call] = []
        for start in range(0, len(ends), _IDS_IN_CALL):
            finish = ends[min(start + _IDS_IN_CALL, len(ends)) - 1]
            arguments = {
                "window_ms": window.window_ms,
                "limit": window.limit,
                "journal": journal,
                "after": after,
                "finish": finish,
            }
            calls.append((NOT_TAKEN, arguments, [b"".join(fingerprints[start : start + _IDS_IN_CALL])]))
            after = max(after, finish)
        answers: list[bytes] = []
        for start in range(0, len(calls), _CALLS_AT_ONCE):
            answers += self._scripts.call_many(script.REPEATS, calls[start : start + _CALLS_AT_ONCE])
        return None if b"" in answers else [answer == ord("1") for answer in b"".join(answers)]

    def memory(self) -> IdMemory:
        """How many ids are remembered, for ``dispatcher status`` and metrics."""
        return IdMemory.from_json(self._pool.execute("GET", IDS.of(NOT_TAKEN)))
