"""Counts: the ledger of one destination, with its breaker, its pause and its rate limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from dispatcher.outcomes import FILED, UNKEPT
from dispatcher.store.operator_note import OperatorNote
from dispatcher.store.slots import read_slots
from dispatcher.store.workers import ServingWorker

#: The ledger's name for events that emit could not take or a processor dropped, before any destination was chosen.
NOT_TAKEN: Final = "emit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Whether a destination is left alone. Times are in milliseconds since 1970.

    Args:
        state: closed: everything is tried. open: nothing is, before ``until_ms``. half-open: one batch at a time.
        cause: Why it opened: transient, throttled or setup.
        error: What the destination last said.
        opened_ms: Since when it is not closed.
        until_ms: When the destination is tried again.
        failures: How many there were in a row, also while it is closed.
        opened: How often it has opened in all.
    """

    state: Literal["closed", "open", "half-open"] = "closed"
    cause: str = ""
    error: str = ""
    opened_ms: int | None = None
    until_ms: int | None = None
    failures: int = 0
    opened: int = 0

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """Read the answer of counts.lua."""
        until = int(fields.get("breaker_until", 0))
        return cls(
            state="closed" if not until else "open" if int(fields["now"]) < until else "half-open",
            cause=fields.get("breaker_cause", ""),
            error=fields.get("breaker_error", ""),
            opened_ms=int(fields["breaker_since"]) if until else None,
            until_ms=until or None,
            failures=int(fields.get("breaker_failures", 0)),
            opened=int(fields.get("breaker_opened", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """That somebody has paused a destination. Times are in milliseconds since 1970.

    Args:
        since_ms: When that was.
        until_ms: When it ends by itself; None where somebody has to resume it.
        reason: As it was given; may be empty.
    """

    since_ms: int
    until_ms: int | None = None
    reason: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self | None:
        """Read the answer of counts.lua; None where it is not paused, or not any more."""
        until = int(fields.get("breaker_paused_until", 0))
        if "breaker_paused" not in fields or 0 < until <= int(fields["now"]):
            return None
        return cls(
            since_ms=int(fields["breaker_paused"]),
            until_ms=until or None,
            reason=fields.get("breaker_pause_reason", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How fast all workers together may send to a destination, in requests a second.

    Args:
        per_second: What is set, as workers last used it.
        current_per_second: What holds now: less while the destination's throttling has slowed it down.
        until_ms: Before then no request goes, in milliseconds since 1970; None where nothing is held up.
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

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self | None:
        """Read the answer of counts.lua; None where it has no rate."""
        if "rate_per_second" not in fields:
            return None
        per_second, factor = float(fields["rate_per_second"]), float(fields.get("rate_factor", 1))
        until = int(float(fields.get("rate_until", 0)))
        return cls(
            per_second=per_second,
            current_per_second=per_second * factor,
            until_ms=until if until > int(fields["now"]) else None,
            error=fields.get("rate_error", "") if factor < 1 else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The ledger of one destination. Numbers count events, and times are in milliseconds since 1970.

    Args:
        accepted: All that were put: always the sum of those that are delivered, waiting, dead or filtered.
        delivered: Those that a worker delivered, and recorded.
        dead: Those that became dead letters, in Redis or in a file.
        filtered: Those that are not for the destination, or that were dropped.
        queued: In batches that no worker has.
        claimed: In batches that a worker has.
        parked: In batches that wait to be tried again.
        posted: Those that wait for their visitor's page.
        retried: How often an event was parked, or a page could not take it.
        batches: How many batches wait.
        oldest_ms: When the oldest waiting batch was put.
        posted_oldest_ms: When that was posted which has waited longest for its visitor's page.
        due_ms: When the next parked batch is due.
        since_ms: When the ledger began to count; None if that is not known.
        workers: Those that serve it; None if that is not known.
        last_delivered_ms: When an event was last delivered.
        last_error: What the destination said last, or what went wrong there.
        last_error_ms: When that was.
        dead_bytes: What the dead letters take up in Redis.
        dead_limit_bytes: What they may take up; None before a worker has told it.
        dead_oldest_ms: When the oldest dead letter in Redis died.
        dead_cut: How many dead letters have lost their events to the limit.
        dead_by_reason: The dead ones, by reason.
        filtered_by_reason: The filtered ones, by reason.
        breaker: Whether the destination is left alone.
        pause: That somebody has paused it; None where nobody has.
        rate: Its rate limit; None where none is set, or no worker has asked for a permit for two days.
        commands: What people did to it by commands, the latest first.
        slots: The slots of the store in which its batches may be.
    """

    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    filtered: int = 0
    queued: int = 0
    claimed: int = 0
    parked: int = 0
    posted: int = 0
    retried: int = 0
    batches: int = 0
    oldest_ms: int | None = None
    posted_oldest_ms: int | None = None
    due_ms: int | None = None
    since_ms: int | None = None
    workers: tuple[ServingWorker, ...] | None = None
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
    pause: Pause | None = None
    rate: RateLimit | None = None
    commands: tuple[OperatorNote, ...] = ()
    slots: tuple[int, ...] = (0,)

    @property
    def waiting(self) -> int:
        """Events that are in the store."""
        return self.in_batches + self.posted

    @property
    def in_batches(self) -> int:
        """Events that a worker is to deliver."""
        return self.queued + self.claimed + self.parked

    @property
    def dead_filed(self) -> int:
        """Dead events that are in files of the workers' machines, and no longer in Redis."""
        return self.dead_by_reason.get(FILED, 0)

    @property
    def dead_unkept(self) -> int:
        """Dead events of which only this number was kept."""
        return self.dead_by_reason.get(UNKEPT, 0)

    @property
    def closes(self) -> bool:
        """Whether the sum is right."""
        return self.accepted == self.delivered + self.waiting + self.dead + self.filtered

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """Read the answer of counts.lua, or several that ``join_slots`` has joined."""

        def number(name: str) -> int:
            return int(fields.get(name, 0))

        def optional(name: str) -> int | None:
            return int(float(fields[name])) if name in fields else None

        def by_reason(counter: str) -> dict[str, int]:
            start = f"{counter}:"
            # A plain dict: dataclasses.asdict, which makes the JSON of `dispatcher status`, spoils a Counter.
            return {name[len(start) :]: int(n) for name, n in fields.items() if name.startswith(start)}

        return cls(
            accepted=number("accepted"),
            delivered=number("delivered"),
            dead=number("dead"),
            filtered=number("filtered"),
            queued=number("queued"),
            claimed=number("claimed"),
            parked=number("parked"),
            posted=number("posted"),
            retried=number("retried"),
            batches=number("batches"),
            oldest_ms=optional("oldest"),
            posted_oldest_ms=optional("posted_oldest"),
            due_ms=optional("due"),
            since_ms=optional("since"),
            workers=ServingWorker.from_fields(
                ((name[len("serving:") :], seen) for name, seen in fields.items() if name.startswith("serving:")),
                now_ms=int(fields["now"]),
            ),
            last_delivered_ms=optional("last_delivered_at"),
            last_error=fields.get("last_error", ""),
            last_error_ms=optional("last_error_at"),
            dead_bytes=number("dead_bytes"),
            dead_limit_bytes=optional("dead_limit"),
            dead_oldest_ms=optional("dead_oldest"),
            dead_cut=number("dead_cut"),
            dead_by_reason=by_reason("dead"),
            filtered_by_reason=by_reason("filtered"),
            breaker=Breaker.from_fields(fields),
            pause=Pause.from_fields(fields),
            rate=RateLimit.from_fields(fields),
            commands=OperatorNote.from_field(fields.get("commands", "")),
            slots=tuple(read_slots(fields.get("slots", "").split())),
        )


def read_fields(answer: Sequence[bytes]) -> dict[str, str]:
    """The answer of counts.lua by its fields."""
    words = [word.decode("utf-8", "replace") for word in answer]
    return dict(zip(words[::2], words[1::2], strict=True))


def join_slots(answers: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Join what counts.lua says of each slot of a destination, that of slot 0 first.

    Numbers are added up. Of the breakers, that counts which stays open longest; the pause, the rate limit, the workers
    and what people did are those of slot 0.
    """
    if len(answers) == 1:
        return answers[0]
    joined = dict(answers[0])
    for fields in answers[1:]:
        if float(fields.get("breaker_until", 0)) > float(joined.get("breaker_until", 0)):
            joined |= {name: fields[name] for name in _BREAKER_FIELDS if name in fields}
        if float(fields.get("last_error_at", 0)) > float(joined.get("last_error_at", 0)):
            joined |= {name: fields[name] for name in ("last_error", "last_error_at")}
        for name, value in fields.items():
            if name in _EARLIEST:
                joined[name] = min(joined.get(name, value), value, key=float)
            elif name == "last_delivered_at":
                joined[name] = max(joined.get(name, value), value, key=float)
            elif name in _SUMS or name.startswith(("dead:", "filtered:")):
                joined[name] = str(int(joined.get(name, 0)) + int(value))
    return joined


_BREAKER_FIELDS: Final = ("breaker_until", "breaker_since", "breaker_cause", "breaker_error", "breaker_failures")
_EARLIEST: Final = frozenset({"oldest", "posted_oldest", "due", "since", "dead_oldest"})
_SUMS: Final = frozenset(
    {
        *("accepted", "delivered", "dead", "filtered", "queued", "claimed", "parked", "posted", "retried"),
        *("batches",),
        *("dead_bytes", "dead_limit", "dead_cut", "breaker_opened"),
    }
)
