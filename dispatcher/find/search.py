"""Search: all that is left of events, by their ids, at every place that can be looked at from here."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.errors import StoreUnavailableError
from dispatcher.find.in_logs import LoggedLine, find_in_log
from dispatcher.find.in_outboxes import find_in_outboxes
from dispatcher.find.in_store import find_dead, find_filed, find_posted, find_waiting
from dispatcher.find.wanted import Finding, Wanted
from dispatcher.live.arrivals import describe_arrival
from dispatcher.receipts.files import host_of_worker
from dispatcher.receipts.reader import Receipt, find_receipts
from dispatcher.routing import Router
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

#: Bytes of the newest log files that the board reads where it has to read them whole.
MAX_LOG_BYTES: Final = 512_000_000
# Bytes of a line of a log that is shown.
_MAX_LINE: Final = 64_000


def find_events(
    settings: Settings, pool: RedisPool, event_ids: Sequence[str], *, max_log_bytes: int | None = None
) -> list[dict[str, Any]]:
    """What is known of events, as objects for JSON. Blocks: for Redis, and for a second or two over large logs.

    Args:
        settings: Where the events go, and where outboxes, receipts and logs are.
        pool: The connections to use.
        event_ids: The events'.
        max_log_bytes: How much of logs is read where they have to be read whole; None for all.

    Returns:
        For each event: ``id``; ``event``, as a live event is shown, or None where only receipts or its line in a log
        are left, or nothing; ``places``, one object for each place where it was found, the latest one of a destination
        last: ``destination`` (empty for an outbox), ``state`` (delivered, filtered, logged, outbox, waiting, posted,
        dead), and what is known of it there; ``routes``, where it goes by the settings as they are now, empty where
        its name is not known; ``receipts_since_ms``; ``redis_answers``; and ``partial``, sentences on what was not
        looked at.
    """
    wanted = Wanted(event_ids)
    since_ms = _add_receipts(settings, wanted)
    for name, table in settings.served_destinations.items():
        log = table.traits.log
        if log is not None and (path := table.options.get(log)):
            found = find_in_log(settings.state_directory / str(path), wanted, max_bytes=max_log_bytes)
            for finding, line in found:
                _add_line(finding, name, line)
    find_in_outboxes(settings.outbox_directory, wanted)
    names = list(dict.fromkeys([*settings.destinations, NOT_TAKEN]))
    for name in names:
        find_filed(settings.state_directory, name, wanted)
    redis_answers = True
    try:
        _find_in_redis(settings, pool, names, wanted)
    except StoreUnavailableError as error:
        redis_answers = False
        wanted.note(f"what waits in Redis, and is dead there, was not looked at: {error}")
    router = Router(settings)
    return [
        {
            **_describe(finding, router),
            "receipts_since_ms": since_ms,
            "redis_answers": redis_answers,
            "partial": list(wanted.partial),
        }
        for finding in wanted.findings.values()
    ]


def _find_in_redis(settings: Settings, pool: RedisPool, names: Sequence[str], wanted: Wanted) -> None:
    for name in names:
        if name != NOT_TAKEN:
            find_waiting(pool, name, wanted)
        find_dead(pool, name, wanted)
    for name in settings.browser_destinations:
        find_posted(pool, name, wanted)
    if settings.receipts.max_bytes:
        _note_hosts_without_receipts(settings, pool, wanted)


def _add_receipts(settings: Settings, wanted: Wanted) -> int | None:
    found = find_receipts(settings.receipts_directory, wanted.ids, since=wanted.since_seconds)
    for event_id, receipts in found.by_event.items():
        for receipt in receipts:
            _add_receipt(wanted.findings[event_id], receipt)
    for problem in found.problems:
        wanted.note(problem)
    if not settings.receipts.max_bytes:
        wanted.note("workers write no receipts, so that what was delivered is not known: receipts.max_bytes is 0")
    wanted.hosts_with_receipts = found.hosts
    return found.since_ms


def _note_hosts_without_receipts(settings: Settings, pool: RedisPool, wanted: Wanted) -> None:
    counts = BatchStore(pool).counts(list(settings.served_destinations))
    workers = {worker for one in counts.values() for worker in one.workers or ()}
    here = host_of_worker(f"@{socket.gethostname()}")
    for host in sorted({host_of_worker(worker.name) for worker in workers} - wanted.hosts_with_receipts - {here}):
        wanted.note(
            f"the receipts of the workers on {host} are not in {settings.receipts_directory}: look there too, or let "
            "receipts.directory name one that all hosts share"
        )


def _add_receipt(finding: Finding, receipt: Receipt) -> None:
    block = receipt.block
    finding.add(
        block.destination,
        block.fate,
        reason=block.reason,
        at=datetime.fromtimestamp(block.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        batch=block.batch,
        attempt=block.attempt,
        together=receipt.together,
        host=receipt.host,
        receipt=True,
    )


def _add_line(finding: Finding, destination: str, line: LoggedLine) -> None:
    if finding.event is None:
        finding.event = line.event
    finding.add(
        destination,
        "logged",
        file=line.file.name,
        path=str(line.file),
        number=line.number,
        offset=line.offset,
        line=_shown(line.content),
    )


def _shown(line: bytes) -> object:
    """A line of a log as JSON, or as text where it has something before the JSON."""
    start = max(0, line.find(b"{"))
    try:
        return msgspec.json.decode(line[start:])
    except (msgspec.DecodeError, RecursionError):
        return one_line(line[:_MAX_LINE].decode("utf-8", "replace"))


def _describe(finding: Finding, router: Router) -> dict[str, Any]:
    arrival = None
    routes: list[dict[str, Any]] = []
    event = finding.event
    if event is not None:
        routes = [
            {
                "destination": one.destination,
                "goes": one.goes,
                "reason": one.reason,
                "sentence": one.sentence,
                "entry": one.entry,
            }
            for one in router.explain(event.name, event.type)
        ]
        if finding.payload is not None:
            now = router.route(event.name, event.type)
            arrival = describe_arrival(event, finding.payload, now.destinations, now.skipped)
    return {
        "id": finding.id,
        "name": None if event is None else event.name,
        "timestamp": None if event is None else event.timestamp.isoformat(),
        "event": arrival,
        "places": finding.places,
        "routes": routes,
    }
