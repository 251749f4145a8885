"""Metrics: the snapshot as Prometheus reads it. Each metric is defined once, with its meaning and where it comes from.

Labels are destinations, states and reasons only: no event, and nothing of a person, ever becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dispatcher.monitoring.snapshot import STATES, Snapshot
from dispatcher.store.batches import NOT_TAKEN, Counts
from dispatcher.version import __version__

Sample = tuple[tuple[str, ...], float]

#: What can have opened a breaker.
CAUSES: Final = ("transient", "throttled", "setup")
# Reasons of one destination that get a series each. A processor may give any text as its reason; what it gives beyond
# these is summed up under the last one's name.
_MOST_REASONS: Final = 50
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Args:
        name: With its unit; a counter's ends in ``_total``.
        help: One sentence.
        labels: The names of its labels.
        samples: Its values in a snapshot: the labels' values, and the number.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Snapshot], Iterable[Sample]]


def _all(snapshot: Snapshot) -> Iterator[tuple[str, Counts]]:
    yield from snapshot.ledger.destinations.items()
    yield from snapshot.unserved.items()


def _real(snapshot: Snapshot) -> Iterator[tuple[str, Counts]]:
    """All but what stands for emit, for which nothing ever waits."""
    return ((name, counts) for name, counts in _all(snapshot) if name != NOT_TAKEN)


def _of_each(
    value: Callable[[Counts], float | None], among: Callable[[Snapshot], Iterator[tuple[str, Counts]]] = _real
) -> Callable[[Snapshot], Iterator[Sample]]:
    """One sample for each destination; none where the value is None."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for name, counts in among(snapshot):
            found = value(counts)
            if found is not None:
                yield (name,), found

    return samples


def _by_reason(reasons: Callable[[Counts], Mapping[str, int]]) -> Callable[[Snapshot], Iterator[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for name, counts in _all(snapshot):
            ordered = sorted(reasons(counts).items(), key=lambda pair: (-pair[1], pair[0]))
            yield from (((name, reason), number) for reason, number in ordered[:_MOST_REASONS])
            if len(ordered) > _MOST_REASONS:
                yield (name, _OTHER), sum(number for _, number in ordered[_MOST_REASONS:])

    return samples


def _waiting(snapshot: Snapshot) -> Iterator[Sample]:
    for name, counts in _real(snapshot):
        yield from (((name, state), getattr(counts, state)) for state in STATES)


def _oldest(snapshot: Snapshot) -> Iterator[Sample]:
    yield from (((name,), _age(snapshot, counts.oldest_ms)) for name, counts in _real(snapshot))


def _overdue(snapshot: Snapshot) -> Iterator[Sample]:
    for name, counts in _real(snapshot):
        # While the breaker is open, what is due waits for the breaker.
        due = None if counts.due_ms is None else max(counts.due_ms, counts.breaker.until_ms or 0)
        yield (name,), _age(snapshot, due)


def _breaker_cause(snapshot: Snapshot) -> Iterator[Sample]:
    for name, counts in _real(snapshot):
        cause = counts.breaker.cause if counts.breaker.state != "closed" else ""
        yield from (((name, known), float(known == cause)) for known in CAUSES)


def _enabled(snapshot: Snapshot) -> Iterator[Sample]:
    yield from (((name,), float(name not in snapshot.unserved)) for name, _ in _real(snapshot))


def _batches(snapshot: Snapshot) -> Iterator[Sample]:
    for name, _ in _real(snapshot):
        yield from (((name, state), number) for state, number in snapshot.batches[name].items())


def _outbox_directories(snapshot: Snapshot) -> Iterator[Sample]:
    alive = sum(outbox.alive for outbox in snapshot.ledger.outboxes)
    yield ("alive",), alive
    yield ("dead",), len(snapshot.ledger.outboxes) - alive


def _redis_memory(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.memory is not None:
        yield (), snapshot.memory.used_bytes


def _redis_memory_limit(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.memory is not None and snapshot.memory.limit_bytes is not None:
        yield (), snapshot.memory.limit_bytes


def _one(value: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterator[Sample]]:
    return lambda snapshot: iter([((), value(snapshot))])


def _age(snapshot: Snapshot, since_ms: int | None) -> float:
    return 0.0 if since_ms is None else max(0.0, snapshot.at - since_ms / 1000)


def _seconds(moment_ms: int | None) -> float | None:
    return None if moment_ms is None else moment_ms / 1000


def _difference(counts: Counts) -> float:
    return counts.accepted - counts.delivered - counts.waiting - counts.dead - counts.filtered


_NAME: Final = ("destination",)

DEFINITIONS: Final = (
    Definition(
        "dispatcher_up",
        "gauge",
        "1 when the batch store in Redis answered, else 0; then only the metrics of outboxes are there beside it.",
        (),
        _one(lambda snapshot: float(not snapshot.problem)),
    ),
    Definition(
        "dispatcher_build_info",
        "gauge",
        "1, with the exporter's version.",
        ("version",),
        lambda _: [((__version__,), 1)],
    ),
    Definition(
        "dispatcher_events_accepted_total",
        "counter",
        "Events that were routed past a destination.",
        _NAME,
        _of_each(lambda counts: counts.accepted, _all),
    ),
    Definition(
        "dispatcher_events_delivered_total",
        "counter",
        "Events that a destination has taken.",
        _NAME,
        _of_each(lambda counts: counts.delivered),
    ),
    Definition(
        "dispatcher_events_filtered_total",
        "counter",
        "Events that were not for a destination, by reason; dropped dead letters too.",
        ("destination", "reason"),
        _by_reason(lambda counts: counts.filtered_by_reason),
    ),
    Definition(
        "dispatcher_events_waiting",
        "gauge",
        "Events in the batch store: queued, claimed by a worker, or parked until they are tried again.",
        ("destination", "state"),
        _waiting,
    ),
    Definition(
        "dispatcher_dead_letters",
        "gauge",
        "Events that gave up and are kept; a replay or a drop takes them out.",
        _NAME,
        _of_each(lambda counts: counts.dead, _all),
    ),
    Definition(
        "dispatcher_dead_letters_by_reason",
        "gauge",
        "The same by reason; a reason that never occurred has no series.",
        ("destination", "reason"),
        _by_reason(lambda counts: counts.dead_by_reason),
    ),
    Definition(
        "dispatcher_dead_letter_bytes",
        "gauge",
        "What dead letters take up in Redis.",
        _NAME,
        _of_each(lambda counts: counts.dead_bytes, _all),
    ),
    Definition(
        "dispatcher_dead_letter_limit_bytes",
        "gauge",
        "What they may (dead.max_bytes); then the oldest go to a file. Absent before a worker has said it.",
        _NAME,
        _of_each(lambda counts: counts.dead_limit_bytes, _all),
    ),
    Definition(
        "dispatcher_dead_letter_oldest_seconds",
        "gauge",
        "Age of the oldest dead letter in Redis; 0 when there is none.",
        _NAME,
        lambda snapshot: (((name,), _age(snapshot, counts.dead_oldest_ms)) for name, counts in _all(snapshot)),
    ),
    Definition(
        "dispatcher_ledger_difference",
        "gauge",
        "accepted - delivered - waiting - dead - filtered; anything but 0 is a fault of dispatcher's.",
        _NAME,
        _of_each(_difference, _all),
    ),
    Definition(
        "dispatcher_retries_total",
        "counter",
        "Events that were parked to be tried again, each time they were.",
        _NAME,
        _of_each(lambda counts: counts.retried),
    ),
    Definition(
        "dispatcher_oldest_waiting_seconds",
        "gauge",
        "For how long the oldest event in the batch store has been there; 0 when none waits.",
        _NAME,
        _oldest,
    ),
    Definition(
        "dispatcher_overdue_seconds",
        "gauge",
        "For how long a parked event could have been tried again; 0 when none could. It grows while no worker runs.",
        _NAME,
        _overdue,
    ),
    Definition(
        "dispatcher_last_delivery_timestamp_seconds",
        "gauge",
        "When a destination last took something, in seconds since 1970; absent before the first time.",
        _NAME,
        _of_each(lambda counts: _seconds(counts.last_delivered_ms)),
    ),
    Definition(
        "dispatcher_last_error_timestamp_seconds",
        "gauge",
        "When a delivery last failed, in seconds since 1970; absent before the first time.",
        _NAME,
        _of_each(lambda counts: _seconds(counts.last_error_ms)),
    ),
    Definition(
        "dispatcher_batches_waiting",
        "gauge",
        "Batches in the batch store; those that are queued are what more workers could take now.",
        ("destination", "state"),
        _batches,
    ),
    Definition(
        "dispatcher_doorbells_waiting",
        "gauge",
        "The length of the Celery queue; absent where the broker is not the Redis of the batch store.",
        _NAME,
        lambda snapshot: (((name,), number) for name, number in snapshot.doorbells.items()),
    ),
    Definition(
        "dispatcher_destination_enabled",
        "gauge",
        "0 for a destination that is disabled, or gone from the settings, and has something waiting or dead; else 1.",
        _NAME,
        _enabled,
    ),
    Definition(
        "dispatcher_breaker_open",
        "gauge",
        "1 while the breaker is open or tries one batch at a time, 0 while it is closed.",
        _NAME,
        _of_each(lambda counts: float(counts.breaker.state != "closed")),
    ),
    Definition(
        "dispatcher_breaker_cause",
        "gauge",
        "1 for what opened the breaker while it is not closed: transient, throttled or setup; 0 for the others.",
        ("destination", "cause"),
        _breaker_cause,
    ),
    Definition(
        "dispatcher_breaker_opened_total",
        "counter",
        "How often the breaker has opened.",
        _NAME,
        _of_each(lambda counts: counts.breaker.opened),
    ),
    Definition(
        "dispatcher_breaker_failures",
        "gauge",
        "Failed tries in a row.",
        _NAME,
        _of_each(lambda counts: counts.breaker.failures),
    ),
    Definition(
        "dispatcher_rate_limit_per_second",
        "gauge",
        "Requests a second that all workers together may send, as it is set; absent where there is no limit.",
        _NAME,
        _of_each(lambda counts: None if counts.rate is None else counts.rate.per_second),
    ),
    Definition(
        "dispatcher_rate_current_per_second",
        "gauge",
        "The same as it holds now: less while the destination's throttling has slowed it down.",
        _NAME,
        _of_each(lambda counts: None if counts.rate is None else counts.rate.current_per_second),
    ),
    Definition(
        "dispatcher_redis_memory_bytes",
        "gauge",
        "Memory that the batch store's Redis uses; absent where it may not be asked.",
        (),
        _redis_memory,
    ),
    Definition(
        "dispatcher_redis_memory_limit_bytes",
        "gauge",
        "Its maxmemory; absent where it has none.",
        (),
        _redis_memory_limit,
    ),
    Definition(
        "dispatcher_outbox_events",
        "gauge",
        "Events in the outboxes of the exporter's machine that are not in the batch store yet.",
        (),
        _one(lambda snapshot: snapshot.ledger.in_outboxes),
    ),
    Definition(
        "dispatcher_outbox_bytes",
        "gauge",
        "What these events take up.",
        (),
        _one(lambda snapshot: sum(outbox.bytes for outbox in snapshot.ledger.outboxes)),
    ),
    Definition(
        "dispatcher_outbox_disk_bytes",
        "gauge",
        "What the journal files of this machine take up.",
        (),
        _one(lambda snapshot: snapshot.outbox_disk_bytes),
    ),
    Definition(
        "dispatcher_outbox_limit_bytes",
        "gauge",
        "What the journal files may take up together (outbox.max_bytes); then emit refuses.",
        (),
        _one(lambda snapshot: snapshot.outbox_limit_bytes),
    ),
    Definition(
        "dispatcher_outbox_oldest_seconds",
        "gauge",
        "Age of the oldest event in an outbox of this machine, by its own timestamp; 0 when none waits.",
        (),
        _one(lambda snapshot: _age(snapshot, snapshot.outbox_oldest_ms)),
    ),
    Definition(
        "dispatcher_outbox_directories",
        "gauge",
        "Outboxes of this machine, by whether the process that writes there is alive or dead.",
        ("owner",),
        _outbox_directories,
    ),
    Definition(
        "dispatcher_outbox_refused_events",
        "gauge",
        "Events that found the outbox full and are lost, as counted in the outboxes that are still there.",
        (),
        _one(lambda snapshot: sum(outbox.refused for outbox in snapshot.ledger.outboxes)),
    ),
    Definition(
        "dispatcher_outbox_unreadable",
        "gauge",
        "Outboxes of this machine that cannot be read, in which more events may wait than are counted.",
        (),
        _one(lambda snapshot: len(snapshot.ledger.unreadable)),
    ),
    Definition(
        "dispatcher_outbox_damaged_pieces",
        "gauge",
        "Pieces of journals that were no whole event and were set aside on this machine, until somebody deletes them.",
        (),
        _one(lambda snapshot: snapshot.ledger.damage.pieces),
    ),
)
