"""Metrics: what Prometheus reads of a snapshot. Each metric is defined once, with its meaning and where it comes from.

Labels are destinations, states and reasons only: no event, and nothing about a person, ever becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dispatcher.monitoring.definition import (
    Destination,
    DestinationMetric,
    DestinationMetricByLabel,
    SiteMetric,
    SiteMetricByLabel,
)
from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.store.counts import Counts
from dispatcher.version import __version__

# What can have opened a breaker.
_CAUSES: Final = ("transient", "throttled", "setup")
# Reasons of one destination that get a series each. A processor may give any text as its reason; the rest of them are
# summed up under the last one's name.
_MAX_REASONS: Final = 50
_OTHER: Final = "other"


def _age(snapshot: Snapshot, since_ms: int | None) -> float:
    return 0.0 if since_ms is None else max(0.0, snapshot.at - since_ms / 1000)


def _seconds(timestamp_ms: int | None) -> float | None:
    return None if timestamp_ms is None else timestamp_ms / 1000


def _overdue(each: Destination) -> float:
    counts = each.counts
    # While the breaker is open, what is due waits for the breaker.
    due = None if counts.due_ms is None else max(counts.due_ms, counts.breaker.until_ms or 0)
    return _age(each.snapshot, due)


def _difference(each: Destination) -> float:
    counts = each.counts
    return counts.accepted - counts.delivered - counts.waiting - counts.dead - counts.filtered


def _events_by_state(counts: Counts) -> dict[str, float]:
    states: dict[str, float] = {"queued": counts.queued, "claimed": counts.claimed, "parked": counts.parked}
    # Only of types in browsers.
    return states | {"posted": counts.posted} if counts.posted else states


def _by_cause(counts: Counts) -> dict[str, float]:
    cause = counts.breaker.cause if counts.breaker.state != "closed" else ""
    return {known: float(known == cause) for known in _CAUSES}


def _most_frequent(events_by_reason: Mapping[str, int]) -> dict[str, float]:
    """The most frequent reasons, and the sum of the others."""
    reasons = sorted(events_by_reason, key=lambda reason: (-events_by_reason[reason], reason))
    shown: dict[str, float] = {reason: events_by_reason[reason] for reason in reasons[:_MAX_REASONS]}
    rest = reasons[_MAX_REASONS:]
    if rest:
        shown[_OTHER] = shown.get(_OTHER, 0) + sum(events_by_reason[reason] for reason in rest)
    return shown


def _if_readable(snapshot: Snapshot, value: float) -> float | None:
    """The value, unless the outboxes could not be read: then nothing is known of them, rather than that it is 0."""
    return None if snapshot.ledger.problem else value


def _by_owner(snapshot: Snapshot) -> dict[str, float]:
    if snapshot.ledger.problem:
        return {}
    alive = sum(outbox.alive for outbox in snapshot.ledger.outboxes)
    return {"alive": alive, "dead": len(snapshot.ledger.outboxes) - alive}


DEFINITIONS: Final = (
    SiteMetric(
        "dispatcher_up",
        "gauge",
        "1 if the Redis of the batch store answered, else 0; only the metrics of outboxes are present then.",
        lambda snapshot: float(not snapshot.problem),
    ),
    SiteMetricByLabel(
        "dispatcher_build_info",
        "gauge",
        "1, with the exporter's version.",
        "version",
        lambda _: {__version__: 1},
    ),
    DestinationMetric(
        "dispatcher_events_accepted_total",
        "counter",
        "Events that were offered to a destination: the sum of delivered, waiting, dead and filtered.",
        lambda each: each.counts.accepted,
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_events_delivered_total",
        "counter",
        "Events that a destination has taken.",
        lambda each: each.counts.delivered,
    ),
    DestinationMetricByLabel(
        "dispatcher_events_filtered_total",
        "counter",
        "Events that a destination does not get, by reason; dropped dead letters, too.",
        "reason",
        lambda each: _most_frequent(each.counts.filtered_by_reason),
        with_emit=True,
    ),
    DestinationMetricByLabel(
        "dispatcher_events_waiting",
        "gauge",
        "Events in the batch store: queued, claimed by a worker, parked until they are tried again, posted for a page.",
        "state",
        lambda each: _events_by_state(each.counts),
    ),
    DestinationMetric(
        "dispatcher_dead_letters",
        "gauge",
        "Events that are not tried again, and are kept; a replay or a drop removes them.",
        lambda each: each.counts.dead,
        with_emit=True,
    ),
    DestinationMetricByLabel(
        "dispatcher_dead_letters_by_reason",
        "gauge",
        "Dead letters by reason; a reason that never occurred has no series.",
        "reason",
        lambda each: _most_frequent(each.counts.dead_by_reason),
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_dead_letter_bytes",
        "gauge",
        "The size of dead letters in Redis.",
        lambda each: each.counts.dead_bytes,
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_dead_letter_limit_bytes",
        "gauge",
        "Their limit (dead.max_bytes), beyond which the oldest go to a file; absent until a worker has set it.",
        lambda each: each.counts.dead_limit_bytes,
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_dead_letter_oldest_seconds",
        "gauge",
        "Age of the oldest dead letter in Redis; 0 without any.",
        lambda each: _age(each.snapshot, each.counts.dead_oldest_ms),
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_ledger_difference",
        "gauge",
        "accepted - delivered - waiting - dead - filtered; anything but 0 is a fault of dispatcher.",
        _difference,
        with_emit=True,
    ),
    DestinationMetric(
        "dispatcher_retries_total",
        "counter",
        "Events that were parked until they are tried again; an event counts each time.",
        lambda each: each.counts.retried,
    ),
    DestinationMetric(
        "dispatcher_oldest_waiting_seconds",
        "gauge",
        "For how long the oldest event has been in the batch store; 0 if none waits.",
        lambda each: _age(each.snapshot, each.counts.oldest_ms),
    ),
    DestinationMetric(
        "dispatcher_overdue_seconds",
        "gauge",
        "For how long a parked event has been due; 0 if none is. It grows while no worker runs.",
        _overdue,
    ),
    DestinationMetric(
        "dispatcher_last_delivery_timestamp_seconds",
        "gauge",
        "When a destination last took something, in seconds since 1970; absent before the first time.",
        lambda each: _seconds(each.counts.last_delivered_ms),
    ),
    DestinationMetric(
        "dispatcher_last_error_timestamp_seconds",
        "gauge",
        "When a delivery last failed, in seconds since 1970; absent before the first time.",
        lambda each: _seconds(each.counts.last_error_ms),
    ),
    DestinationMetricByLabel(
        "dispatcher_batches_waiting",
        "gauge",
        "Batches in the batch store; more workers could take the queued ones now.",
        "state",
        lambda each: each.snapshot.batches[each.name],
    ),
    SiteMetricByLabel(
        "dispatcher_doorbells_waiting",
        "gauge",
        "The length of the Celery queue; absent if the broker is not the Redis of the batch store.",
        "destination",
        lambda snapshot: snapshot.doorbells,
    ),
    DestinationMetric(
        "dispatcher_destination_enabled",
        "gauge",
        "0 for a destination that is disabled or not in the settings, and has events that wait or are dead; else 1.",
        lambda each: float(each.name not in each.snapshot.unserved),
    ),
    DestinationMetric(
        "dispatcher_breaker_open",
        "gauge",
        "1 while the breaker is open or tries one batch at a time, 0 while it is closed.",
        lambda each: float(each.counts.breaker.state != "closed"),
    ),
    DestinationMetric(
        "dispatcher_paused",
        "gauge",
        "1 while somebody has paused the destination, so that nothing is delivered to it; else 0.",
        lambda each: float(each.counts.pause is not None),
    ),
    DestinationMetricByLabel(
        "dispatcher_breaker_cause",
        "gauge",
        "While the breaker is not closed, 1 for the cause that opened it: transient, throttled or setup; else 0.",
        "cause",
        lambda each: _by_cause(each.counts),
    ),
    DestinationMetric(
        "dispatcher_breaker_opened_total",
        "counter",
        "How often the breaker has opened.",
        lambda each: each.counts.breaker.opened,
    ),
    DestinationMetric(
        "dispatcher_breaker_failures",
        "gauge",
        "Failed tries in a row.",
        lambda each: each.counts.breaker.failures,
    ),
    DestinationMetric(
        "dispatcher_rate_limit_per_second",
        "gauge",
        "Requests a second that all workers together may send, as set; absent without a limit.",
        lambda each: None if each.counts.rate is None else each.counts.rate.per_second,
    ),
    DestinationMetric(
        "dispatcher_rate_current_per_second",
        "gauge",
        "The limit as it holds now: lower while the destination throttles.",
        lambda each: None if each.counts.rate is None else each.counts.rate.current_per_second,
    ),
    SiteMetric(
        "dispatcher_redis_memory_bytes",
        "gauge",
        "Memory that the batch store's Redis uses; absent if an ACL forbids to ask.",
        lambda snapshot: None if snapshot.memory is None else snapshot.memory.used_bytes,
    ),
    SiteMetric(
        "dispatcher_collector_ids",
        "gauge",
        "Ids of events that are remembered, so that none goes on twice; absent without sources in the settings.",
        lambda snapshot: None if snapshot.ids is None else snapshot.ids.ids,
    ),
    SiteMetric(
        "dispatcher_collector_ids_forgotten_early_total",
        "counter",
        "Ids that were forgotten before their time, because there were more than collector.duplicate_ids.",
        lambda snapshot: None if snapshot.ids is None else snapshot.ids.forgotten_early,
    ),
    SiteMetricByLabel(
        "dispatcher_source_events_total",
        "counter",
        "Events of a source that the collectors of the exporter's machine took.",
        "source",
        lambda snapshot: {source.name: source.accepted for source in snapshot.source_summaries()},
    ),
    SiteMetricByLabel(
        "dispatcher_source_rejected_total",
        "counter",
        "Items of batches of a source that they did not take.",
        "source",
        lambda snapshot: {source.name: source.rejected for source in snapshot.source_summaries()},
    ),
    SiteMetricByLabel(
        "dispatcher_source_refused_total",
        "counter",
        "Requests of a source of which they took nothing.",
        "source",
        lambda snapshot: {source.name: source.refused for source in snapshot.source_summaries()},
    ),
    SiteMetricByLabel(
        "dispatcher_source_duplicates_total",
        "counter",
        "Events of a source that had come before with the same id, counted by the relays of the whole site.",
        "source",
        lambda snapshot: snapshot.duplicates or {},
    ),
    SiteMetricByLabel(
        "dispatcher_source_last_seen_timestamp_seconds",
        "gauge",
        "When they took events of a source last, in seconds since 1970; 0 if that was never.",
        "source",
        lambda snapshot: {source.name: (source.last_seen_ms or 0) / 1000 for source in snapshot.source_summaries()},
    ),
    SiteMetricByLabel(
        "dispatcher_collector_refused_requests_total",
        "counter",
        "Requests of which the collectors of the exporter's machine took nothing, by reason.",
        "reason",
        lambda snapshot: {} if snapshot.intake is None else snapshot.intake.refused,
    ),
    SiteMetric(
        "dispatcher_redis_memory_limit_bytes",
        "gauge",
        "Its maxmemory; absent without one.",
        lambda snapshot: None if snapshot.memory is None else snapshot.memory.limit_bytes,
    ),
    SiteMetric(
        "dispatcher_outbox_events",
        "gauge",
        "Events in the outboxes of the exporter's machine that are not in the batch store yet.",
        lambda snapshot: _if_readable(snapshot, snapshot.ledger.in_outboxes),
    ),
    SiteMetric(
        "dispatcher_outbox_bytes",
        "gauge",
        "The size of these events.",
        lambda snapshot: _if_readable(snapshot, sum(outbox.bytes for outbox in snapshot.ledger.outboxes)),
    ),
    SiteMetric(
        "dispatcher_outbox_disk_bytes",
        "gauge",
        "The size of the journal files of this machine on its disk.",
        lambda snapshot: _if_readable(snapshot, snapshot.outbox_disk_bytes),
    ),
    SiteMetric(
        "dispatcher_outbox_limit_bytes",
        "gauge",
        "Their limit (outbox.max_bytes), at which emit refuses events.",
        lambda snapshot: snapshot.outbox_limit_bytes,
    ),
    SiteMetric(
        "dispatcher_outbox_oldest_seconds",
        "gauge",
        "Age of the oldest event in an outbox of this machine, by its own timestamp; 0 if none waits.",
        lambda snapshot: _if_readable(snapshot, _age(snapshot, snapshot.outbox_oldest_ms)),
    ),
    SiteMetricByLabel(
        "dispatcher_outbox_directories",
        "gauge",
        "Outboxes of this machine, by whether the process that writes there is alive or dead.",
        "owner",
        _by_owner,
    ),
    SiteMetric(
        "dispatcher_outbox_refused_events",
        "gauge",
        "Events that found the outbox full and are lost, as counted in the outboxes that still exist.",
        lambda snapshot: _if_readable(snapshot, sum(outbox.refused for outbox in snapshot.ledger.outboxes)),
    ),
    SiteMetric(
        "dispatcher_outbox_unreadable",
        "gauge",
        "Outboxes of this machine that cannot be read, in which more events may wait than are counted.",
        lambda snapshot: len(snapshot.ledger.unreadable),
    ),
    SiteMetric(
        "dispatcher_outbox_readable",
        "gauge",
        "0 if the exporter may not read the directory of the outboxes, so that what is in them is absent; else 1.",
        lambda snapshot: float(not snapshot.ledger.problem),
    ),
    SiteMetric(
        "dispatcher_outbox_damaged_pieces",
        "gauge",
        "Pieces of journals of this machine that were not whole events and were set aside, until they are deleted.",
        lambda snapshot: _if_readable(snapshot, snapshot.ledger.damage.pieces),
    ),
)
