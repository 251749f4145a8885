"""Does what was accepted arrive? Read from the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.ledger import served
from dispatcher.store.batches import NOT_TAKEN, BatchStore, Counts

# Seconds. Longer than any pause between tries that is set by default.
_OLD_SECONDS: Final = 600.0

# Share of their limit at which dead letters are worth a look.
_FULL_SHARE: Final = 0.8

LEDGER: Final = Check(
    "deliveries.ledger",
    "Whether accepted = delivered + waiting + dead + filtered, for each destination.",
    "report it, with the output of `dispatcher status --json`",
)
WAITING: Final = Check(
    "deliveries.waiting",
    "How long the oldest event waits in the batch store: more than ten minutes is a warning.",
    "`dispatcher status` says why it waits: mend that, or start more workers",
)
BREAKER: Final = Check(
    "deliveries.breaker",
    "Destinations that are left alone for a while, because they did not answer, or refused.",
    "mend what the error names; the destination is tried again by itself, and nothing is lost",
)
DEAD: Final = Check(
    "deliveries.dead",
    "Dead letters: events that were given up.",
    "look with `dispatcher dead list {name}`, mend the cause, then replay or drop them",
)
ROOM: Final = Check(
    "deliveries.dead_room",
    "Whether dead letters keep within dead.max_bytes: more than four fifths of it is a warning.",
    "replay or drop them; the oldest of too many go to files under <state_directory>/dead of a worker's machine, "
    "provided that it can write there",
)

CHECKS: Final = (LEDGER, WAITING, BREAKER, DEAD, ROOM)


def look(deployment: Deployment) -> Iterator[Finding]:
    """Every destination, and what emit could not take."""
    try:
        counts = BatchStore(deployment.pool(deployment.settings.store)).counts(served(deployment.settings))
    except StoreUnavailableError:
        yield LEDGER.skipped("Redis does not answer")
        return
    for name, found in counts.items():
        if name != NOT_TAKEN or found.accepted:
            yield from judge(name, found, now=time.time())


def judge(name: str, counts: Counts, *, now: float) -> Iterator[Finding]:
    """What the numbers of one destination come to. ``now`` is in seconds since 1970."""
    if not counts.closes:
        yield LEDGER.error(f"the sum of {name} is wrong: {counts.accepted:,} were accepted")
    else:
        yield LEDGER.ok(f"{name}: {counts.delivered:,} of {counts.accepted:,} events are delivered")
    yield waiting(name, counts, now)
    yield breaker(name, counts, now)
    yield dead(name, counts)
    yield room(name, counts)


def waiting(name: str, counts: Counts, now: float) -> Finding:
    if not counts.waiting or counts.oldest_ms is None:
        return WAITING.ok(f"nothing waits for {name}")
    seconds = now - counts.oldest_ms / 1000
    what = f"{counts.waiting:,} events wait for {name}, the oldest for {_age(seconds)}"
    if seconds < _OLD_SECONDS:
        return WAITING.ok(what)
    return WAITING.warning(f"{what}; the last error was: {counts.last_error}" if counts.last_error else what)


def breaker(name: str, counts: Counts, now: float) -> Finding:
    state = counts.breaker
    if state.state == "closed":
        return BREAKER.ok(f"{name} is being tried")
    since = f" for {_age(now - state.opened_ms / 1000)}" if state.opened_ms is not None else ""
    what = f"the breaker of {name} is {state.state}{since}: {state.error or state.cause}"
    # A refused login or an unknown host does not mend itself.
    return BREAKER.error(what) if state.cause == "setup" else BREAKER.warning(what)


def dead(name: str, counts: Counts) -> Finding:
    if not counts.dead:
        return DEAD.ok(f"{name} has no dead letters")
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.dead_by_reason.items()) if number)
    return DEAD.warning(f"{name} has {counts.dead:,} dead letters: {reasons}", name=name)


def room(name: str, counts: Counts) -> Finding:
    if counts.dead_unkept:
        return ROOM.error(
            f"{counts.dead_unkept:,} dead letters of {name} were too many to be kept, and are only counted"
        )
    limit = counts.dead_limit_bytes
    if limit is None or not counts.dead_bytes:
        return ROOM.ok(f"dead letters of {name} take up no room")
    what = f"dead letters of {name} take up {counts.dead_bytes:,} of {limit:,} bytes in Redis"
    return ROOM.warning(what) if counts.dead_bytes > _FULL_SHARE * limit else ROOM.ok(what)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
