"""The batch store: what waits for each destination, and until when. The truth; the Celery messages only name it.

Every method is one atomic step in Redis (batches.lua), blocks up to the pool's timeout, and raises
StoreUnavailableError where Redis does not answer: then it may or may not have happened, and asking again is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from struct import Struct
from typing import Any, Final, Literal
from zlib import crc32

import msgspec
import zstandard
from redis.exceptions import NoScriptError

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.errors import BatchDamagedError
from dispatcher.store.dead_letter_form import kept, short

_SCRIPT: Final = (files("dispatcher.store") / "batches.lua").read_bytes()
# Redis names scripts by their SHA-1.
_SHA: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest()

# Level 1 packs events of one kind to a tenth and costs a microsecond an event; level 3 gains a tenth for twice that.
_LEVEL: Final = 1

# What a packed batch begins with: the version of its form, and a checksum of the zstd frame behind it. Version 0 had
# no head: it was a zstd frame, which begins with a magic number, of events joined by line breaks.
_HEAD: Final = Struct("<BI")
_VERSION: Final = 1
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# Length and bytes of each event: a batch is taken apart the same way whatever its events hold.
_frame: Final = msgspec.msgpack.Encoder().encode
_unframe: Final = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode

#: What no batch is larger than, unpacked: the settings allow half of it for a batch and for an event.
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
# What is kept of a batch that cannot be unpacked: more than a batch of the usual size takes, packed.
_MAX_DAMAGED_BYTES: Final = 1024 * 1024

# Characters of a dead letter's error: some quote what a server has said.
_ERROR_LENGTH: Final = 2000

#: The ledger's name for what emit itself buried or a processor dropped, before any destination was chosen.
NOT_TAKEN: Final = "emit"

#: Reasons that the store itself counts dead letters by: those that went to a file, and those that not even one could
#: be kept of, since nobody took the others to a file.
FILED: Final = "filed"
UNKEPT: Final = "unkept"


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
        after: Up to where the journal was put for the destination before: a store that has less takes nothing. Else a
            share that is refused would let the next one leave a gap, which looks as if it had been put.
        packed: The events for the destination, packed; empty where it has none.
        count: How many these are.
        example: The name of one of them, for people who watch.
        filtered: How many of the range's events are not for it, by reason.
        dead: Events that emit could not take.
        again: The store had it before and has lost it, so that it may have been delivered.
    """

    destination: str
    journal: str
    start: int
    end: int
    after: int = -1
    packed: bytes = b""
    count: int = 0
    example: str = ""
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()
    again: bool = False

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
        maybe_delivered: It was claimed before by one of whom nothing was heard, or the store had lost it.
        put_ms: When it was put, in milliseconds since 1970, by the store's clock.
        claimed_ms: When it was claimed, by the same clock.
        token: What ``settle`` knows the holder by.
        lost: How many claims before this one, in a row, ended with the lease.
        condemned: It is one event, over which alone the lease was lost: not to be delivered, but to be buried.
        first: How many events of the batch are settled already; what is left comes after these.
        rest: What is held back until these events are settled, as one of the batch ends the workers that take it.
    """

    destination: str
    batch_id: str
    token: str
    payloads: tuple[bytes, ...]
    attempts: int
    maybe_delivered: bool
    put_ms: int
    claimed_ms: int
    lost: int = 0
    condemned: bool = False
    first: int = 0
    rest: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Damaged:
    """A batch that could not be read: its ``count`` events are dead letters now, the first of which has its bytes."""

    count: int
    error: str


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """A batch that the breaker does not let be tried: it is parked, and no attempt was burnt.

    Args:
        until_ms: When the destination is tried again, in milliseconds since 1970; not before.
        error: Why the breaker is open.
    """

    until_ms: int
    error: str


#: What a try says of a destination; nothing where it was not asked.
BreakerResult = Literal["ok", "transient", "throttled", "setup", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSignal:
    """What a try says of the destination, for its breaker.

    Args:
        result: ok closes the breaker; throttled and setup open it at once, transient after so many in a row.
        failures: So many.
        first_seconds: How long it is open at first; twice as long each time until it was closed.
        max_seconds: The longest that it is open, unless the destination asked for more.
        asked_seconds: What the destination asked for.
    """

    result: BreakerResult = ""
    failures: int = 5
    first_seconds: float = 5.0
    max_seconds: float = 60.0
    asked_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a claimed batch. Events that are ``left`` are parked until ``due_ms``.

    ``burns_attempt`` is whether the next backoff is longer for it. ``error`` is kept as the destination's last one;
    ``waits_for`` is why something waits where nothing is wrong, for who looks at the task.
    """

    delivered: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()
    left: Sequence[bytes] = ()
    due_ms: int = 0
    burns_attempt: bool = True
    error: str = ""
    waits_for: str = ""
    signal: BreakerSignal = field(default_factory=BreakerSignal)


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome that was recorded, and what it did to the breaker."""

    breaker: Literal["", "opened", "closed"] = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A batch to ring for; ``example`` is the name of one of its events."""

    batch_id: str
    count: int
    attempts: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a journal has come at one destination; -1 where the store knows nothing of it.

    Args:
        put: The position up to which it was put.
        open: Where its first batch starts that is not settled; -1 where all are.
    """

    put: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Whether a destination is left alone. Times are in milliseconds since 1970.

    Args:
        state: closed: everything is tried. open: nothing is, before ``until_ms``. half-open: one batch at a time.
        cause: transient, throttled or setup.
        error: What the destination last said.
        opened_ms: Since when it is not closed.
        failures: How many in a row, also while it is closed.
        opened: How often it has opened in all.
    """

    state: Literal["closed", "open", "half-open"] = "closed"
    cause: str = ""
    error: str = ""
    opened_ms: int | None = None
    until_ms: int | None = None
    failures: int = 0
    opened: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How fast all workers together may send to a destination, in requests a second.

    Args:
        per_second: What is set, as workers last used it.
        current_per_second: What holds now: less while the destination's throttling has slowed it down.
        until_ms: No request goes before; None where that does not keep any.
        error: What the destination said when it last throttled; empty while the rate is not slowed down.
    """

    per_second: float
    current_per_second: float
    until_ms: int | None = None
    error: str = ""

    @property
    def is_slowed(self) -> bool:
        """Whether it is slower than it was set to."""
        return self.current_per_second < self.per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The ledger of one destination. ``accepted`` is always the sum of the other four; all count events.

    ``oldest_ms`` and ``due_ms`` are times in milliseconds since 1970: when the oldest waiting batch was put, and when
    the next parked one is due. Dead letters take up ``dead_bytes`` of Redis, of ``dead_limit_bytes`` that they may:
    None before a worker has said it; ``dead_oldest_ms`` is when the oldest died, and ``dead_cut`` is how many have lost
    their events to the limit. ``rate`` is None where there is no limit, or no worker has asked for two days.
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
    dead_bytes: int = 0
    dead_limit_bytes: int | None = None
    dead_oldest_ms: int | None = None
    dead_cut: int = 0
    dead_by_reason: Mapping[str, int] = field(default_factory=dict)
    filtered_by_reason: Mapping[str, int] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)
    rate: RateLimit | None = None

    @property
    def waiting(self) -> int:
        """Events that are in the store."""
        return self.queued + self.claimed + self.parked

    @property
    def dead_filed(self) -> int:
        """Dead events that are in files of the workers' machines, and no longer in Redis."""
        return self.dead_by_reason.get(FILED, 0)

    @property
    def dead_unkept(self) -> int:
        """Dead events of which nothing was kept but this number."""
        return self.dead_by_reason.get(UNKEPT, 0)

    @property
    def closes(self) -> bool:
        """Whether the sum is right."""
        return self.accepted == self.delivered + self.waiting + self.dead + self.filtered


class BatchStore:
    """The batch store in one Redis. Safe in threads and after fork.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._clock = clock

    def put(self, puts: Sequence[Put], *more: Command) -> list[int | None]:
        """Put several shares in one round trip, and carry out ``more`` commands behind them.

        Returns:
            For each share None if it is in the store now, whether by this call or an earlier one. Otherwise the
            position from which on it has to be cut anew: nothing of it was put now.
        """
        answers = self._run([self._put_command(put) for put in puts], more)
        return [int(answer[0]) if isinstance(answer, list) else None for answer in answers]

    def progress(self, destinations: Sequence[str], journal: str) -> dict[str, Progress]:
        """How far a journal has come at each destination. It is remembered for a week after this or its last put."""
        answers = self._run([self._command(name, "position", journal) for name in destinations])
        return {name: Progress(*map(int, answer)) for name, answer in zip(destinations, answers, strict=True)}

    def claim(
        self, destination: str, batch_id: str, *, token: str, lease_seconds: float, spread_seconds: float = 0.0
    ) -> Claim | BreakerOpen | Damaged | str:
        """Take a batch for ``lease_seconds``. What keeps it from being taken otherwise: claimed, parked or settled.

        Of a batch over which several leases in a row were lost, this is a part: halves, until the event is found that
        does it. The lease is longer by ``spread_seconds`` there, at random, so that it does not come again at the same
        moment as what was lost together with it.
        """
        lease_ms, spread_ms = int(lease_seconds * 1000), int(spread_seconds * 1000)
        answer = self._run([self._command(destination, "claim", batch_id, lease_ms, token, spread_ms)])[0]
        if isinstance(answer, bytes):
            return answer.decode()
        if answer[0] == b"held back":
            return BreakerOpen(int(answer[1]), (answer[2] or b"").decode())
        packed, *numbers = answer
        count, attempts, claims, put_at, now, lost, part, first, condemned = map(int, numbers)
        damage, payloads = "", tuple[bytes, ...]()
        try:
            payloads = unpack(packed, count)
        except BatchDamagedError as error:
            damage = str(error)
        claim = Claim(
            destination=destination,
            batch_id=batch_id,
            token=token,
            payloads=payloads[:part],
            attempts=attempts,
            maybe_delivered=claims > 0,
            put_ms=put_at,
            claimed_ms=now,
            lost=lost,
            condemned=bool(condemned),
            first=first,
            rest=payloads[part:],
        )
        return self._bury_damaged(claim, packed, count, damage) if damage else claim

    def _bury_damaged(self, claim: Claim, packed: bytes | None, count: int, damage: str) -> Damaged:
        error = f"the batch {claim.batch_id} of {count} events is damaged in Redis: {damage}"
        # A letter for each event, so that the ledger closes; nobody knows any more which bytes are whose.
        first = DeadEvent("damaged", f"{error}; what was there is kept here", (packed or b"")[:_MAX_DAMAGED_BYTES])
        others = DeadEvent("damaged", f"{error}; what was there is kept in the first of its letters", b"")
        letters = [first, *[others] * (count - 1)] if count else []
        self.settle(claim, Settlement(dead=letters, error=error))
        return Damaged(count, error)

    def settle(self, claim: Claim, settlement: Settlement) -> Settled | None:
        """Record what became of a batch. None when the lease was lost: then nothing was recorded."""
        signal = settlement.signal
        # Packing again is only needed where some of the batch has gone.
        left = (*settlement.left, *claim.rest)
        repack = left and len(left) < len(claim.payloads) + len(claim.rest)
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
                    len(claim.rest),
                    pack(left) if repack else b"",
                    settlement.due_ms,
                    int(settlement.burns_attempt),
                    settlement.error[:500],
                    signal.result,
                    signal.failures,
                    int(signal.first_seconds * 1000),
                    int(signal.max_seconds * 1000),
                    int(signal.asked_seconds * 1000),
                )
            ]
        )[0]
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
            idle: The Celery queue is empty, so what was rung for a few seconds ago is not coming any more.
            limit: How many at the most.
            overtaken_seconds: By how much a later ring must have been answered for an earlier one to be lost.
        """
        command = self._command(
            destination, "due", limit, int(idle), int(overtaken_seconds * 1000), int(every_seconds * 1000)
        )
        answer = self._run([command])[0]
        rows = zip(*[iter(answer)] * 4, strict=True)
        return [Due(name.decode(), int(n), int(tries), example.decode()) for name, n, tries, example in rows]

    def revive(self, destination: str, batch_id: str, payloads: Sequence[bytes], letters: Sequence[str]) -> bool:
        """Turn dead letters back into a batch, which is queued. False when one of them is gone: nothing has changed."""
        command = self._command(destination, "revive", batch_id, len(payloads), pack(payloads), *letters)
        return bool(self._run([command])[0])

    def drop(self, destination: str, letters: Sequence[str]) -> int:
        """Delete dead letters for good; they count as filtered from then on. Returns how many there were."""
        return int(self._run([self._command(destination, "drop", *letters)])[0])

    def overdue(
        self, destination: str, *, max_bytes: int, max_age_seconds: float, every_seconds: float, going_on: bool = False
    ) -> list[str]:
        """The oldest dead letters, which are to go to a file now; a few megabytes of them. Then tell ``filed``.

        Args:
            max_bytes: What they may take up; from now on also what the store itself sees to.
            max_age_seconds: How old they may get; 0: as old as they like.
            every_seconds: It answers once in so many, whoever asks.
            going_on: Answer again, to the one who has just filed some.
        """
        limits = (max_bytes, int(max_age_seconds * 1000), max(1, int(every_seconds * 1000)), int(going_on))
        answer = self._run([self._command(destination, "overdue", *limits)])[0]
        return [letter.decode() for letter in answer]

    def filed(self, destination: str, letters: Sequence[str]) -> int:
        """Take dead letters out that are in a file now. Returns how many events there were."""
        return int(self._run([self._command(destination, "filed", *letters)])[0])

    def restore(self, put: Put) -> int | None:
        """Put events of a file of dead letters, as ``put`` does; they are dead no longer."""
        answer = self._run([self._put_command(put, "restore")])[0]
        return int(answer[0]) if isinstance(answer, list) else None

    def forget_filed(self, destination: str) -> int:
        """Have dead letters that are not in Redis count as filtered from now on. Returns how many there were."""
        return int(self._run([self._command(destination, "forget")])[0])

    def counts(self, destinations: Sequence[str]) -> dict[str, Counts]:
        """The ledger of each destination."""
        answers = self._run([self._command(name, "counts") for name in destinations])
        return {name: _counts(answer) for name, answer in zip(destinations, answers, strict=True)}

    def _put_command(self, put: Put, name: str = "put") -> Command:
        return self._command(
            put.destination,
            name,
            put.journal,
            put.after,
            put.start,
            put.end,
            put.batch_id,
            put.count,
            put.packed,
            put.example,
            *_reasons(put.filtered),
            *_dead(put.dead),
            int(put.again),
        )

    def _command(self, destination: str, name: str, *arguments: Any) -> Command:
        now_ms = 0 if self._clock is None else int(self._clock() * 1000)
        return ("EVALSHA", _SHA, 1, prefix(destination), name, now_ms, *arguments)

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
    """Events of any bytes, compressed together."""
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(_frame(payloads))
    return _HEAD.pack(_VERSION, crc32(frame)) + frame


def unpack(packed: bytes | None, count: int | None = None) -> tuple[bytes, ...]:
    """What ``pack`` packed, ``count`` events if that is known.

    Raises:
        BatchDamagedError: It is not what was packed, or larger than any batch can be.
    """
    if not packed:
        raise BatchDamagedError("its payload is missing")
    if packed.startswith(_ZSTD_MAGIC):
        return _unpack_lines(packed, count)
    if len(packed) < _HEAD.size or packed[0] != _VERSION:
        raise BatchDamagedError(
            f"its payload begins with the byte {packed[0]}, which no version of dispatcher up to this one writes"
        )
    frame = memoryview(packed)[_HEAD.size :]
    if crc32(frame) != _HEAD.unpack_from(packed)[1]:
        raise BatchDamagedError("its payload has another checksum than when it was put")
    try:
        payloads: tuple[bytes, ...] = _unframe(_decompressed(frame))
    except msgspec.DecodeError as error:
        raise BatchDamagedError(f"its payload is not a list of events: {error}") from error
    if count is not None and len(payloads) != count:
        raise BatchDamagedError(f"its payload holds {len(payloads)} events")
    return payloads


def _unpack_lines(packed: bytes, count: int | None) -> tuple[bytes, ...]:
    # As the version before wrote it: what is put during an upgrade may be in this form.
    text = _decompressed(packed)
    payloads = tuple(text.split(b"\n"))
    if count is None or len(payloads) == count:
        return payloads
    if count == 1:
        return (text,)
    raise BatchDamagedError(f"its payload has {len(payloads)} lines: a line break inside of an event")


def _decompressed(frame: bytes | memoryview) -> bytes:
    # The size is in the frame's head, and what is larger than that says is refused, so that no memory is taken for it.
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= MAX_UNPACKED_BYTES:
            said = f"{size:,}" if size >= 0 else "an unknown number of"
            raise BatchDamagedError(
                f"its payload would unpack to {said} bytes, and no batch is larger than {MAX_UNPACKED_BYTES:,}"
            )
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise BatchDamagedError(f"its payload cannot be unpacked: {error}") from error


def _reasons(reasons: Mapping[str, int]) -> list[str | int]:
    return [len(reasons), *(part for pair in reasons.items() for part in pair)]


def _dead(dead: Sequence[DeadEvent]) -> list[str | int | bytes]:
    # Packed here, since Redis is one for all.
    return [
        len(dead),
        *(
            part
            for letter in dead
            for part in (letter.reason, letter.error[:_ERROR_LENGTH], kept(letter.payload), short(letter.payload))
        ),
    ]


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
        dead_bytes=number("dead_bytes"),
        dead_limit_bytes=moment("dead_limit"),
        dead_oldest_ms=moment("dead_oldest"),
        dead_cut=number("dead_cut"),
        dead_by_reason=by_reason("dead"),
        filtered_by_reason=by_reason("filtered"),
        breaker=_breaker({name: value.decode() for name, value in values.items()}),
        rate=_rate({name: value.decode() for name, value in values.items()}),
    )


def _breaker(values: Mapping[str, str]) -> Breaker:
    until = int(values.get("breaker_until", 0))
    return Breaker(
        state="closed" if not until else "open" if int(values["now"]) < until else "half-open",
        cause=values.get("breaker_cause", ""),
        error=values.get("breaker_error", ""),
        opened_ms=int(values["breaker_since"]) if until else None,
        until_ms=until or None,
        failures=int(values.get("breaker_failures", 0)),
        opened=int(values.get("breaker_opened", 0)),
    )


def _rate(values: Mapping[str, str]) -> RateLimit | None:
    if "rate_per_second" not in values:
        return None
    per_second, share = float(values["rate_per_second"]), float(values.get("rate_share", 1))
    until = int(float(values.get("rate_until", 0)))
    return RateLimit(
        per_second=per_second,
        current_per_second=per_second * share,
        until_ms=until if until > int(values["now"]) else None,
        error=values.get("rate_error", "") if share < 1 else "",
    )
