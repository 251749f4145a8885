"""Do accepted events arrive? Read from the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.ledger import served
from dispatcher.monitoring.units import count_text, duration_text, size_text
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts
from dispatcher.store.waiting_batches import scan_destinations

# Longer than any pause between tries by default.
_OLD_SECONDS: Final = 600.0

# The fraction of their limit at which dead letters become a warning.
_FULL_FRACTION: Final = 0.8

LEDGER: Final = Check(
    "deliveries.ledger",
    "Whether accepted = delivered + waiting + dead + filtered, for each destination.",
    "report it, with the output of `dispatcher status --json`",
)
WAITING: Final = Check(
    "deliveries.waiting",
    "For how long the oldest event has waited in the batch store: more than ten minutes is a warning.",
    "`dispatcher status` says why it waits: mend that, or start more workers",
)
UNSERVED: Final = Check(
    "deliveries.unserved",
    "Events that wait for a destination that is disabled, or that the settings do not name: nobody delivers them.",
    "enable {name} and run a worker for it, or `dispatcher waiting move {name} NEW`",
)
BREAKER: Final = Check(
    "deliveries.breaker",
    "Open breakers: destinations that are not tried for a while, because they did not answer, or refused.",
    "mend what the error names; dispatcher tries the destination again by itself, and nothing is lost",
)
PAUSE: Final = Check(
    "deliveries.paused",
    "Destinations that somebody has paused: nothing is delivered to them.",
    "run `dispatcher resume {name}` once the reason for it is gone; its events wait in Redis",
)
DEAD: Final = Check(
    "deliveries.dead",
    "Dead letters: events that are not tried again.",
    "look at them with `dispatcher dead list {name}`, mend the cause, then {then} them",
)
ROOM: Final = Check(
    "deliveries.dead_room",
    "Whether dead letters keep within dead.max_bytes: more than four fifths of it is a warning.",
    "replay or drop them; the oldest of too many go to files under <state_directory>/dead of a worker's machine, "
    "provided that it can write there",
)

CHECKS: Final = (LEDGER, WAITING, UNSERVED, BREAKER, PAUSE, DEAD, ROOM)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Every destination, and the events that emit could not take."""
    names = served(deployment.settings)
    pool = deployment.pool(deployment.settings.store)
    try:
        all_counts = BatchStore(pool).counts(names)
        others = BatchStore(pool).counts([name for name in scan_destinations(pool) if name not in names])
    except StoreUnavailableError:
        yield LEDGER.skipped("Redis does not answer")
        return
    yield from unserved(others, disabled=frozenset(deployment.settings.destinations))
    for name, counts in all_counts.items():
        if name != NOT_TAKEN or counts.accepted:
            yield from check_counts(name, counts, now=time.time())


def check_counts(name: str, counts: Counts, *, now: float) -> Iterator[Finding]:
    """The findings about one destination. ``now`` is in seconds since 1970."""
    yield ledger(name, counts)
    if name != NOT_TAKEN:  # no event ever waits for it
        yield waiting(name, counts, now)
        yield breaker(name, counts, now)
        yield paused(name, counts, now)
    yield dead(name, counts)
    yield room(name, counts)


def ledger(name: str, counts: Counts) -> Finding:
    accepted = count_text(counts.accepted, "event")
    if not counts.closes:
        return LEDGER.error(f"the sum of {name} is wrong: {accepted} accepted")
    if name == NOT_TAKEN:
        return LEDGER.ok(f"emit could not take {accepted}")
    return LEDGER.ok(f"{name}: {counts.delivered:,} of {accepted} delivered")


def waiting(name: str, counts: Counts, now: float) -> Finding:
    if not counts.waiting or counts.oldest_ms is None:
        return WAITING.ok(f"no event waits for {name}")
    seconds = now - counts.oldest_ms / 1000
    what = f"{count_text(counts.waiting, 'event')} waiting for {name}, the oldest for {duration_text(seconds)}"
    if seconds < _OLD_SECONDS:
        return WAITING.ok(what)
    return WAITING.warning(f"{what}; the last error was: {counts.last_error}" if counts.last_error else what)


def unserved(all_counts: Mapping[str, Counts], *, disabled: frozenset[str]) -> Iterator[Finding]:
    """The findings about destinations that no worker delivers to; ``disabled`` are those that the settings name."""
    found = {name: counts for name, counts in all_counts.items() if counts.waiting}
    for name, counts in found.items():
        why = "is disabled" if name in disabled else "is not in the settings"
        yield UNSERVED.error(f"{count_text(counts.waiting, 'event')} waiting for {name}, which {why}", name=name)
    if not found:
        yield UNSERVED.ok("no event waits for a destination that nobody serves")


def breaker(name: str, counts: Counts, now: float) -> Finding:
    state = counts.breaker
    if state.state == "closed":
        return BREAKER.ok(f"the breaker of {name} is closed")
    since = f" for {duration_text(now - state.opened_ms / 1000)}" if state.opened_ms is not None else ""
    what = f"the breaker of {name} is {state.state}{since}: {state.error or state.cause}"
    # A refused login or an unknown host needs a person.
    return BREAKER.error(what) if state.cause == "setup" else BREAKER.warning(what)


def paused(name: str, counts: Counts, now: float) -> Finding:
    if counts.pause is None:
        return PAUSE.ok(f"{name} is not paused")
    why = f": {counts.pause.reason}" if counts.pause.reason else ""
    since = duration_text(now - counts.pause.since_ms / 1000)
    return PAUSE.warning(f"{name} has been paused for {since}{why}", name=name)


def dead(name: str, counts: Counts) -> Finding:
    if not counts.dead:
        return DEAD.ok(f"{name} has no dead letters")
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.dead_by_reason.items()) if number)
    # What emit could not take is only described, so nothing of it can be replayed.
    then = "drop" if name == NOT_TAKEN else "replay or drop"
    return DEAD.warning(f"{name} has {count_text(counts.dead, 'dead letter')}: {reasons}", name=name, then=then)


def room(name: str, counts: Counts) -> Finding:
    if counts.dead_unkept:
        return ROOM.error(
            f"counted, but not kept, since they were beyond every limit: {counts.dead_unkept:,} more for {name}"
        )
    limit = counts.dead_limit_bytes
    if not counts.dead_bytes:
        return ROOM.ok(f"{name} has no dead letters in Redis")
    what = f"dead letters of {name} take {size_text(counts.dead_bytes)} in Redis"
    if limit is None:
        return ROOM.ok(f"{what}, and no worker has set their limit yet")
    what = f"{what}, of {size_text(limit)}"
    return ROOM.warning(what) if counts.dead_bytes > _FULL_FRACTION * limit else ROOM.ok(what)
