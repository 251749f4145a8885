"""The batch store: what waits for each destination, and until when. The truth; the Celery messages only name it.

Every method is one atomic step in Redis (batches.lua), blocks up to the pool's timeout, and raises
StoreUnavailableError where Redis does not answer: then it may or may not have happened, and asking again is harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import zstandard
from redis.exceptions import NoScriptError

from dispatcher.redis_pool import Command, RedisPool

_SCRIPT: Final = (files("dispatcher") / "batches.lua").read_bytes()
# Redis names scripts by their SHA-1.
_SHA: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest()

# Level 1 packs events of one kind to a tenth and costs a microsecond an event; level 3 gains a tenth for twice that.
_LEVEL: Final = 1

#: The ledger's name for what emit itself buried or a processor dropped, before any destination was chosen.
EMIT: Final = "emit"


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that will not be delivered, and why."""

    reason: str
    error: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """One destination's share of a range of a journal.

    Args:
        destination: Whose it is.
        journal: The name of the outbox directory.
        start: The position in the journal where the range begins.
        end: The position behind it.
        packed: The events for the destination, packed; empty where it has none.
        count: How many these are.
        filtered: How many of the range's events are not for it, by reason.
        dead: Events that emit could not take.
    """

    destination: str
    journal: str
    start: int
    end: int
    packed: bytes = b""
    count: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()

    @property
    def batch_id(self) -> str:
        """The same whenever the same range is put."""
        return f"{self.journal}-{self.start:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch that this worker holds until the lease runs out.

    Args:
        payloads: Its events, oldest first.
        attempts: How often it was parked before.
        maybe_delivered: It was claimed before by one of whom nothing was heard.
        token: What ``settle`` and ``release`` know the holder by.
    """

    destination: str
    batch_id: str
    token: str
    payloads: tuple[bytes, ...]
    attempts: int
    maybe_delivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a claimed batch. Events that are ``left`` are parked until ``due_ms``."""

    delivered: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()
    left: Sequence[bytes] = ()
    due_ms: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A batch to ring for."""

    batch_id: str
    count: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The ledger of one destination. ``accepted`` is always the sum of the other four; all count events.

    ``oldest_ms`` and ``due_ms`` are times in milliseconds since 1970: when the oldest waiting batch was put, and when
    the next parked one is due.
    """

    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    filtered: int = 0
    queued: int = 0
    claimed: int = 0
    parked: int = 0
    retried: int = 0
    batches: int = 0
    oldest_ms: int | None = None
    due_ms: int | None = None
    last_delivered_ms: int | None = None
    last_error: str = ""
    last_error_ms: int | None = None
    dead_by_reason: Mapping[str, int] = field(default_factory=dict)
    filtered_by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Events that are in the store."""
        return self.queued + self.claimed + self.parked

    @property
    def closes(self) -> bool:
        """Whether the sum is right."""
        return self.accepted == self.delivered + self.waiting + self.dead + self.filtered


class BatchStore:
    """The batch store in one Redis. Safe in threads and after fork.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._clock = clock

    def put(self, puts: Sequence[Put], *more: Command) -> list[int | None]:
        """Put several shares in one round trip, and carry out ``more`` commands behind them.

        Returns:
            For each share None if it is in the store now, whether by this call or an earlier one. Otherwise the
            position up to which its range was put before: nothing of it was put now, and it has to be cut anew.
        """
        answers = self._run([self._put_command(put) for put in puts], more)
        return [int(answer[0]) if isinstance(answer, list) else None for answer in answers]

    def positions(self, destinations: Sequence[str], journal: str) -> dict[str, int]:
        """Up to where a journal was put for each destination; -1 where nothing was, or not in the last week."""
        answers = self._run([self._command(name, "positions", journal) for name in destinations])
        return {name: int(answer[0]) for name, answer in zip(destinations, answers, strict=True)}

    def claim(self, destination: str, batch_id: str, *, token: str, lease_seconds: float) -> Claim | str:
        """Take a batch for ``lease_seconds``. What keeps it from being taken otherwise: claimed, parked or settled."""
        lease_ms = int(lease_seconds * 1000)
        answer = self._run([self._command(destination, "claim", batch_id, lease_ms, token)])[0]
        if isinstance(answer, bytes):
            return answer.decode()
        packed, _, attempts, claims = answer
        return Claim(
            destination=destination,
            batch_id=batch_id,
            token=token,
            payloads=unpack(packed),
            attempts=int(attempts),
            maybe_delivered=int(claims) > 0,
        )

    def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Record what became of a batch. False when the lease was lost: then nothing was recorded."""
        # Packing again is only needed where some of the batch has gone.
        repack = settlement.left and len(settlement.left) < len(claim.payloads)
        answer = self._run(
            [
                self._command(
                    claim.destination,
                    "settle",
                    claim.batch_id,
                    claim.token,
                    settlement.delivered,
                    *_reasons(settlement.filtered),
                    *_dead(settlement.dead),
                    len(settlement.left),
                    pack(settlement.left) if repack else b"",
                    settlement.due_ms,
                    settlement.error[:500],
                )
            ]
        )[0]
        return bool(answer)

    def release(self, claim: Claim) -> bool:
        """Give a batch back untried. False when the lease was lost."""
        return bool(self._run([self._command(claim.destination, "release", claim.batch_id, claim.token)])[0])

    def due(
        self,
        destination: str,
        *,
        idle: bool,
        limit: int = 500,
        overtaken_seconds: float = 60.0,
        every_seconds: float = 1.0,
    ) -> list[Due]:
        """What to ring for now; asked for by every worker, answered to one of them in ``every_seconds``.

        Args:
            idle: The Celery queue is empty, so what was rung for a few seconds ago is not coming any more.
            limit: How many at the most.
            overtaken_seconds: By how much a later ring must have been answered for an earlier one to be lost.
        """
        command = self._command(
            destination, "due", limit, int(idle), int(overtaken_seconds * 1000), int(every_seconds * 1000)
        )
        answer = self._run([command])[0]
        return [Due(answer[at].decode(), int(answer[at + 1]), int(answer[at + 2])) for at in range(0, len(answer), 3)]

    def revive(self, destination: str, batch_id: str, payloads: Sequence[bytes], letters: Sequence[str]) -> bool:
        """Turn dead letters back into a batch, which is queued. False when one of them is gone: nothing has changed."""
        command = self._command(destination, "revive", batch_id, len(payloads), pack(payloads), *letters)
        return bool(self._run([command])[0])

    def drop(self, destination: str, letters: Sequence[str]) -> int:
        """Delete dead letters for good; they count as filtered from then on. Returns how many there were."""
        return int(self._run([self._command(destination, "drop", *letters)])[0])

    def counts(self, destinations: Sequence[str]) -> dict[str, Counts]:
        """The ledger of each destination."""
        answers = self._run([self._command(name, "counts") for name in destinations])
        return {name: _counts(answer) for name, answer in zip(destinations, answers, strict=True)}

    def _put_command(self, put: Put) -> Command:
        return self._command(
            put.destination,
            "put",
            put.journal,
            put.start,
            put.end,
            put.batch_id,
            put.count,
            put.packed,
            *_reasons(put.filtered),
            *_dead(put.dead),
        )

    def _command(self, destination: str, name: str, *arguments: Any) -> Command:
        return ("EVALSHA", _SHA, 1, prefix(destination), name, int(self._clock() * 1000), *arguments)

    def _run(self, commands: list[Command], more: Sequence[Command] = ()) -> list[Any]:
        try:
            answers = self._pool.execute_many([*commands, *more])
        except NoScriptError:
            # A Redis that has restarted, or that never saw the script. All commands may be sent again: each of the
            # script's changes nothing when it comes twice, and none of them has run.
            answers = self._pool.execute_many([("SCRIPT", "LOAD", _SCRIPT), *commands, *more])[1:]
        return answers[: len(commands)]


def prefix(destination: str) -> str:
    """What all keys of a destination start with. The braces keep them on one node of a cluster."""
    return f"dispatcher:{{{destination}}}:"


def pack(payloads: Sequence[bytes]) -> bytes:
    """Events as one compressed text, a line each."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"\n".join(payloads))


def unpack(packed: bytes) -> tuple[bytes, ...]:
    """What ``pack`` packed."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    return tuple(decompressor.decompress(packed).split(b"\n"))


def _reasons(reasons: Mapping[str, int]) -> list[str | int]:
    return [len(reasons), *(part for pair in reasons.items() for part in pair)]


def _dead(dead: Sequence[DeadEvent]) -> list[str | int | bytes]:
    return [len(dead), *(part for letter in dead for part in (letter.reason, letter.error, letter.payload))]


def _counts(answer: list[bytes]) -> Counts:
    values = {answer[at].decode(): answer[at + 1] for at in range(0, len(answer), 2)}

    def number(name: str) -> int:
        return int(values.get(name, 0))

    def moment(name: str) -> int | None:
        return int(float(values[name])) if name in values else None

    def by_reason(kind: str) -> dict[str, int]:
        start = f"{kind}:"
        # A plain dict: dataclasses.asdict, which makes the JSON of `dispatcher status`, spoils a Counter.
        return {name[len(start) :]: int(n) for name, n in values.items() if name.startswith(start)}

    return Counts(
        accepted=number("accepted"),
        delivered=number("delivered"),
        dead=number("dead"),
        filtered=number("filtered"),
        queued=number("queued"),
        claimed=number("claimed"),
        parked=number("parked"),
        retried=number("retried"),
        batches=number("batches"),
        oldest_ms=moment("oldest"),
        due_ms=moment("due"),
        last_delivered_ms=moment("last_delivered_at"),
        last_error=values.get("last_error", b"").decode(),
        last_error_ms=moment("last_error_at"),
        dead_by_reason=by_reason("dead"),
        filtered_by_reason=by_reason("filtered"),
    )
