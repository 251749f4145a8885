"""Ledger: what the page shows of a snapshot, as JSON. Times are in milliseconds since 1970, numbers count events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.counts import NOT_TAKEN, Counts

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.monitoring.snapshot import Snapshot

# Outboxes that are listed; a machine may have hundreds.
_MAX_OUTBOXES: Final = 20
# Workers of a destination that are listed.
_MAX_WORKERS: Final = 20


def ledger_json(snapshot: Snapshot, rates: Mapping[str, float], settings: Settings) -> dict[str, Any]:
    """The page's data. New versions add keys and remove none.

    Args:
        snapshot: What to show.
        rates: Events a second, by destination; one that is missing is not known yet.
        settings: What the destinations' types are taken from.

    Returns:
        What ``json.dumps`` takes. Every text is on one line, and without control characters.
    """
    ledger = snapshot.ledger
    names = [name for name, counts in ledger.destinations.items() if name != NOT_TAKEN or counts.accepted]
    busiest = sorted(ledger.outboxes, key=lambda outbox: (-outbox.waiting, not outbox.alive, outbox.name))
    return {
        "at_ms": int(snapshot.at * 1000),
        "problem": one_line(snapshot.problem) or None,
        "settings_problems": [one_line(problem) for problem in snapshot.settings_problems],
        "forbidden": one_line(snapshot.forbidden) or None,
        "closes": snapshot.closes,
        "since_ms": min(
            (one.since_ms for one in ledger.destinations.values() if one.since_ms is not None), default=None
        ),
        "settings_changed_ms": snapshot.settings_changed_ms,
        "destinations": [
            _destination(name, counts, snapshot, rates, settings)
            for name, counts in snapshot.destinations.items()
            if name in names or name in snapshot.unserved
        ],
        "outbox": {
            "problem": one_line(ledger.unread) or None,
            "waiting": None if ledger.problem else ledger.in_outboxes,
            "disk_bytes": snapshot.outbox_disk_bytes,
            "limit_bytes": snapshot.outbox_limit_bytes,
            "oldest_ms": snapshot.outbox_oldest_ms,
            "refused": sum(outbox.refused for outbox in ledger.outboxes),
            "damaged_pieces": ledger.damage.pieces,
            "number": len(ledger.outboxes),
            "listed": [
                {**asdict(outbox), "problem": one_line(outbox.problem) or None} for outbox in busiest[:_MAX_OUTBOXES]
            ],
        },
        "redis": None if snapshot.memory is None else asdict(snapshot.memory),
    }


def _destination(
    name: str, counts: Counts, snapshot: Snapshot, rates: Mapping[str, float], settings: Settings
) -> dict[str, Any]:
    is_served = name not in snapshot.unserved
    word, level = state_of(name, counts, is_served=is_served)
    table = settings.destinations.get(name)
    changed = snapshot.settings_changed_ms or 0
    breaker, pause, rate = asdict(counts.breaker), counts.pause, counts.rate
    return {
        "name": name,
        "type": table.type if table is not None else None,
        "is_served": is_served,
        "state": word,
        "level": level,
        "accepted": counts.accepted,
        "delivered": counts.delivered,
        "waiting": counts.waiting,
        "dead": counts.dead,
        "filtered": counts.filtered,
        "retried": counts.retried,
        "queued": counts.queued,
        "claimed": counts.claimed,
        "parked": counts.parked,
        "posted": counts.posted,
        "posted_oldest_ms": counts.posted_oldest_ms,
        "closes": counts.closes,
        "per_second": rates.get(name),
        "oldest_ms": counts.oldest_ms,
        # While the breaker is open, what is due waits for the breaker.
        "next_try_ms": None if counts.due_ms is None else max(counts.due_ms, counts.breaker.until_ms or 0),
        "last_delivered_ms": counts.last_delivered_ms,
        "last_error": one_line(counts.last_error) or None,
        "last_error_ms": counts.last_error_ms,
        "breaker": {**breaker, "error": one_line(counts.breaker.error)},
        "pause": None if pause is None else {**asdict(pause), "reason": one_line(pause.reason)},
        "rate": None if rate is None else {**asdict(rate), "error": one_line(rate.error), "is_slowed": rate.is_slowed},
        "dead_by_reason": _by_number(counts.dead_by_reason),
        "dead_filed": counts.dead_filed,
        "dead_unkept": counts.dead_unkept,
        "filtered_by_reason": _by_number(counts.filtered_by_reason),
        # None where it is not known who serves it.
        "workers": None
        if counts.workers is None
        else [
            {
                "name": one_line(worker.name),
                "pid": worker.pid,
                "version": one_line(worker.version),
                "settings_ms": worker.settings_ms,
                "is_old": worker.settings_ms < changed,
            }
            for worker in counts.workers[:_MAX_WORKERS]
        ],
        "more_workers": max(0, len(counts.workers or ()) - _MAX_WORKERS),
        "commands": [
            {"at_ms": note.at_ms, "who": one_line(note.who), "command": one_line(note.command)}
            for note in counts.commands
        ],
    }


def state_of(name: str, counts: Counts, *, is_served: bool) -> tuple[str, str]:
    """How a destination fares, in a word or two, and how much it matters: good, warn, bad or quiet.

    Args:
        name: Its name.
        counts: Its ledger.
        is_served: Whether the settings have it, and enable it.
    """
    waits = counts.waiting > 0
    found = [
        (name == NOT_TAKEN, "never taken", "warn"),
        (not counts.closes, "sum is wrong", "bad"),
        (not is_served, "nobody delivers", "bad" if waits else "quiet"),
        (counts.pause is not None, "paused", "warn"),
        (counts.breaker.state == "open", "breaker open", "bad"),
        (counts.breaker.state == "half-open", "trying again", "warn"),
        (counts.workers == (), "no worker", "bad" if waits else "warn"),
        (counts.rate is not None and counts.rate.is_slowed, "slowed down", "warn"),
        (counts.parked > 0, "retrying", "warn"),
        (waits and counts.posted == counts.waiting, "waits for pages", "good"),
        (waits, "delivering", "good"),
        (not counts.accepted, "nothing yet", "quiet"),
    ]
    return next(
        ((word, level) for holds, word, level in found if holds),
        ("all delivered" if not counts.dead else "up to date", "good"),
    )


def _by_number(reasons: Mapping[str, int]) -> list[list[Any]]:
    """Reasons with their numbers, the greatest first. Dead letters that were replayed or dropped leave a zero."""
    ordered = sorted(((number, reason) for reason, number in reasons.items() if number), reverse=True)
    return [[one_line(reason), number] for number, reason in ordered]
