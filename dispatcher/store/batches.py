"""The batch store: what waits for each destination, and until when. The truth; the Celery messages only name it.

Every method is one atomic step in Redis (lua/), blocks up to the pool's timeout, and raises StoreUnavailableError where
Redis does not answer: then the step may or may not have happened, and taking it again is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.outcomes import DAMAGED
from dispatcher.store import script
from dispatcher.store.claim import BreakerOpen, Claim, ClaimedBytes, Damaged, read_claim
from dispatcher.store.counts import Counts
from dispatcher.store.dead_event import DeadEvent
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
        """Put several ranges in one round trip, and carry out ``more`` commands behind them.

        Returns:
            For each range None if it is in the store now, whether by this call or an earlier one. Otherwise the
            position from which on the journal has to be put anew: nothing of the range was put now.
        """
        calls = [(put.destination, put.arguments, put.data) for put in puts]
        answers = self._scripts.call_many(script.PUT, calls, *more)
        return [int(answer[0]) if isinstance(answer, list) else None for answer in answers]

    def restore(self, put: Put) -> int | None:
        """Put events of a file of dead letters; they are dead no longer. Returns what ``put`` does."""
        arguments = {**put.arguments, "restored": True}
        answer = self._scripts.call(script.PUT, put.destination, arguments, *put.data)
        return int(answer[0]) if isinstance(answer, list) else None

    def progress(self, destinations: Sequence[str], journal: str) -> dict[str, Progress]:
        """How far a journal has come at each destination. It is remembered for a week after this or its last put."""
        calls = [(name, {"journal": journal}, ()) for name in destinations]
        answers = self._scripts.call_many(script.PROGRESS, calls)
        return {name: Progress(*map(int, answer)) for name, answer in zip(destinations, answers, strict=True)}

    def claim(
        self, destination: str, batch_id: str, *, token: str, lease_seconds: float, spread_seconds: float = 0.0
    ) -> Claim | BreakerOpen | Damaged | str:
        """Claim a batch for ``lease_seconds``.

        Args:
            destination: For which the batch is.
            batch_id: Its name.
            token: A new one for each claim.
            lease_seconds: After which another worker may claim it.
            spread_seconds: By how much longer the lease is where leases were lost over the batch; random, so that it
                does not end again at the same time as another that was lost together with it.

        Returns:
            The claim. Where several leases in a row were lost over the batch, only a part of it: a half, and a half of
            that, until the event is found that does it. Or what keeps it from being claimed, which may be a word:
            claimed, parked or settled.
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
        if answer[0] == b"breaker open":
            return BreakerOpen(int(answer[1]), (answer[2] or b"").decode())
        claimed = read_claim(destination, batch_id, token, answer)
        return self._settle_damaged(claimed) if claimed.damage else claimed.claim

    def _settle_damaged(self, claimed: ClaimedBytes) -> Damaged:
        batch_id, count = claimed.claim.batch_id, claimed.count
        error = f"the batch {batch_id} of {count} events is damaged in Redis: {claimed.damage}"
        # A dead letter for each event, so that the ledger closes; nobody knows any more which bytes are whose.
        kept = claimed.packed[:_MAX_DAMAGED_BYTES]
        first = DeadEvent(DAMAGED, f"{error}; what was there is kept here", kept)
        others = DeadEvent(DAMAGED, f"{error}; what was there is kept in the first of its letters", b"")
        dead = [first, *[others] * (count - 1)] if count else []
        self.settle(claimed.claim, Settlement(dead=dead, error=error))
        return Damaged(count, error)

    def settle(self, claim: Claim, settlement: Settlement) -> Settled | None:
        """Record what became of a batch. None when the lease was lost: then nothing was recorded."""
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
        """What to ring for at this moment; asked for by every worker, answered to one of them in ``every_seconds``.

        Args:
            destination: The one to ring for.
            idle: The Celery queue is empty, so a ring of a few seconds ago will not arrive any more.
            limit: How many batches at the most.
            overtaken_seconds: By how much a later ring must have been answered for an earlier one to be lost.
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
