"""The batch store: the batches that wait for each destination. It is the truth; Celery's messages only name batches.

Each method is one atomic step in Redis (lua/), blocks up to the pool's timeout, and raises StoreUnavailableError where
Redis does not answer: then the step may or may not have happened, and it is harmless to take it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.errors import BatchDamagedError
from dispatcher.outcomes import DAMAGED
from dispatcher.store import script
from dispatcher.store.claim import BreakerOpen, Claim, Damaged, Paused
from dispatcher.store.counts import Counts
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.packing import unpack
from dispatcher.store.put import Progress, Put
from dispatcher.store.script import ScriptCaller
from dispatcher.store.settlement import Settled, Settlement

# Bytes that are kept of a batch that cannot be unpacked: more than a batch of the usual size takes, packed.
_MAX_DAMAGED_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Due:
    """A batch to ring for; ``example`` is the name of one of its events."""

    batch_id: str
    count: int
    attempts: int
    example: str = ""


class BatchStore:
    """The batch store in one Redis. Safe in threads and after a fork.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._scripts = ScriptCaller(pool, clock)

    def put(self, puts: Sequence[Put], *more: Command) -> list[int | None]:
        """Put several ranges in one round trip, and carry out ``more`` commands after them.

        Returns:
            For each range None if it is in the store now, whether by this call or an earlier one. Otherwise the
            position from which on the journal has to be put anew: nothing of the range was put now.
        """
        calls = [(put.destination, put.arguments, put.data) for put in puts]
        answers = self._scripts.call_many(script.PUT, calls, *more)
        return [int(answer[0]) if isinstance(answer, list) else None for answer in answers]

    def restore(self, put: Put) -> int | None:
        """Put events that were dead letters in a file, and are dead no longer. Returns what ``put`` does."""
        arguments = {**put.arguments, "restored": True}
        answer = self._scripts.call(script.PUT, put.destination, arguments, *put.data)
        return int(answer[0]) if isinstance(answer, list) else None

    def progress(self, destinations: Sequence[str], journal: str) -> dict[str, Progress]:
        """How far a journal has come at each destination; forgotten a week after the last call of this or ``put``."""
        calls = [(name, {"journal": journal}, ()) for name in destinations]
        answers = self._scripts.call_many(script.PROGRESS, calls)
        return {name: Progress(*map(int, answer)) for name, answer in zip(destinations, answers, strict=True)}

    def claim(
        self, destination: str, batch_id: str, *, token: str, lease_seconds: float, spread_seconds: float = 0.0
    ) -> Claim | BreakerOpen | Paused | Damaged | str:
        """Claim a batch for ``lease_seconds``.

        Args:
            destination: The one that the batch is for.
            batch_id: The name of the batch.
            token: A name for this claim, which no other claim has.
            lease_seconds: After which another worker may claim it.
            spread_seconds: By how much longer the lease is where leases were lost over the batch; random, so that it
                does not end again at the same time as another that was lost together with it.

        Returns:
            The claim. Where several leases in a row were lost over the batch, it is of a part only: a half, then a
            half of that, until the event is found that does it. Or what keeps the batch from being claimed, which may
            be one word: claimed, parked or settled.
        """
        arguments = {
            "id": batch_id,
            "lease_ms": int(lease_seconds * 1000),
            "token": token,
            "spread_ms": int(spread_seconds * 1000),
        }
        answer = self._scripts.call(script.CLAIM, destination, arguments)
        if isinstance(answer, bytes):
            return answer.decode()
        if answer[0] == b"paused":
            return Paused(int(answer[1]) or None, (answer[2] or b"").decode())
        if answer[0] == b"breaker open":
            return BreakerOpen(int(answer[1]), (answer[2] or b"").decode())
        packed, count, damage = answer[0], int(answer[1]), ""
        try:
            payloads = unpack(packed, count)
        except BatchDamagedError as error:
            payloads, damage = (), str(error)
        claim = Claim.from_answer(destination, batch_id, token, answer, payloads)
        return self._settle_damaged(claim, packed or b"", count, damage) if damage else claim

    def _settle_damaged(self, claim: Claim, packed: bytes, count: int, damage: str) -> Damaged:
        error = f"the batch {claim.batch_id} of {count} events is damaged in Redis: {damage}"
        # A dead letter for each event, so that the ledger closes. Which bytes belonged to which event is unknown.
        first = DeadEvent(DAMAGED, f"{error}; what was there is kept here", packed[:_MAX_DAMAGED_BYTES])
        others = DeadEvent(DAMAGED, f"{error}; what was there is kept in the first of its letters", b"")
        dead = [first, *[others] * (count - 1)] if count else []
        self.settle(claim, Settlement(dead=dead, error=error))
        return Damaged(count, error)

    def settle(self, claim: Claim, settlement: Settlement) -> Settled | None:
        """Record what became of a batch.

        Returns:
            What it did to the breaker; None where the lease was lost: then nothing was recorded.
        """
        answer = self._scripts.call(
            script.SETTLE, claim.destination, settlement.arguments(claim), *settlement.data(claim)
        )
        return None if answer is None else Settled(answer.decode())

    def due(
        self,
        destination: str,
        *,
        idle: bool,
        limit: int = 500,
        overtaken_seconds: float = 60.0,
        every_seconds: float = 1.0,
    ) -> list[Due]:
        """Find the batches to ring for now. Every worker asks, and one of them in ``every_seconds`` gets an answer.

        Args:
            destination: The one to ring for.
            idle: Whether the Celery queue is empty, so that a ring of a few seconds ago is lost.
            limit: How many batches at the most.
            overtaken_seconds: A ring is lost if another one that came so much later was answered by a claim.
            every_seconds: All others get an empty list for so long.
        """
        arguments = {
            "limit": limit,
            "idle": idle,
            "overtaken_ms": int(overtaken_seconds * 1000),
            "every_ms": int(every_seconds * 1000),
        }
        answer = self._scripts.call(script.DUE, destination, arguments)
        rows = zip(*[iter(answer)] * 4, strict=True)
        return [Due(name.decode(), int(n), int(attempts), example.decode()) for name, n, attempts, example in rows]

    def counts(self, destinations: Sequence[str]) -> dict[str, Counts]:
        """The ledger of each destination."""
        answers = self._scripts.call_many(script.COUNTS, [(name, {}, ()) for name in destinations])
        return {name: Counts.from_answer(answer) for name, answer in zip(destinations, answers, strict=True)}
