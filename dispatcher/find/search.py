"""Search: one event that has passed already, by its id: what is left of it in Redis and in the tracking log."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from dispatcher.errors import BatchDamagedError
from dispatcher.event import Event, decode
from dispatcher.live.arrivals import describe_arrival
from dispatcher.monitoring.traces import remove_traces
from dispatcher.routing import Router
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.waiting_batches import WaitingBatches

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

# Batches of one destination that are looked through, the oldest first, and bytes of the newest log files.
_MAX_BATCHES: Final = 200
_MAX_LOG_BYTES: Final = 512_000_000
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
_CHUNK: Final = 1 << 22
# Bytes of a line of a log that is shown.
_MAX_LINE: Final = 64_000


def find_event(settings: Settings, pool: RedisPool, event_id: str) -> dict[str, Any]:
    """What is known of an event, as an object for JSON. Blocks: for Redis, and for a second or two over large logs.

    Args:
        settings: Where the events go, and where the logs are.
        pool: The connections to use.
        event_id: The event's.

    Returns:
        ``id``; ``event``, as a live event is shown, or None where only its line in a log is left, or nothing;
        ``places``, one object for each place where it was found: ``destination``, ``state`` (waiting, dead, logged),
        and what is known of it there; and ``partial``, sentences on what was not looked through.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    search = _Search(settings, pool, event_id)
    for name in dict.fromkeys([*settings.destinations, NOT_TAKEN]):
        search.look_at_dead(name)
        if name != NOT_TAKEN:
            search.look_at_waiting(name)
    for name, table in settings.served_destinations.items():
        log = table.traits.log
        if log is not None and (path := table.options.get(log)):
            search.look_at_log(name, settings.state_directory / str(path))
    return {"id": event_id, "event": search.arrival(), "places": search.places, "partial": search.partial}


class _Search:
    def __init__(self, settings: Settings, pool: RedisPool, event_id: str) -> None:
        self._settings = settings
        self._pool = pool
        self._id = event_id
        self._emitted = _emitted_at(event_id)
        self._payload: bytes | None = None
        self.places: list[dict[str, Any]] = []
        self.partial: list[str] = []

    def arrival(self) -> dict[str, Any] | None:
        """The event as a relay would show it now; None where its payload was not found."""
        if self._payload is None:
            return None
        event = decode(self._payload)
        routes = Router(self._settings).route(event.name, event.type)
        return describe_arrival(event, self._payload, routes.destinations, routes.skipped)

    def look_at_dead(self, destination: str) -> None:
        wanted = DeadLetterFilter(event_ids=(self._id,), since=self._emitted)
        for letter in DeadLetters(self._pool).select(destination, wanted):
            self._take(letter.payload)
            died = datetime.fromtimestamp(letter.died_ms / 1000, UTC).isoformat()
            self.places.append(
                {
                    "destination": destination,
                    "state": "dead",
                    "reason": letter.reason,
                    "error": one_line(letter.error, 1_000),
                    "answer": one_line(letter.answer, 1_000),
                    "letter": letter.id,
                    "at": died,
                }
            )

    def look_at_waiting(self, destination: str) -> None:
        batches = WaitingBatches(self._pool)
        looked = 0
        since_ms = 0.0 if self._emitted is None else self._emitted.timestamp() * 1000
        later = (batch for batch in batches.select(destination) if batch.put_ms >= since_ms)
        for batch in islice(later, _MAX_BATCHES):
            looked += 1
            try:
                payloads = batches.events(destination, batch.id) or ()
            except BatchDamagedError:
                continue
            for payload in payloads:
                if self._is_it(payload):
                    self._take(payload)
                    self.places.append(
                        {
                            "destination": destination,
                            "state": "waiting",
                            "batch": batch.id,
                            "batch_state": batch.state,
                            "attempts": batch.attempts,
                            "due_ms": batch.due_ms,
                            "error": one_line(batch.error, 1_000),
                        }
                    )
                    return
        if looked == _MAX_BATCHES:
            self.partial.append(
                f"only the {_MAX_BATCHES} oldest batches that wait for {destination} were looked through"
            )

    def look_at_log(self, destination: str, path: Path) -> None:
        needle, left = self._id.encode(), _MAX_LOG_BYTES
        try:
            files = _log_files(path)
        except OSError as error:
            self.partial.append(f"the log of {destination} cannot be read: {error.strerror}")
            return
        for file in files:
            try:
                size = file.stat().st_size
                if size > left:
                    self.partial.append(
                        f"the log of {destination} was looked through from its newest file to {file.name}"
                    )
                    return
                left -= size
                line = next(_lines_with(file, needle), None)
            except (OSError, EOFError) as error:
                self.partial.append(f"{file.name} cannot be read: {type(error).__name__}")
                continue
            if line is not None:
                self.places.append(
                    {"destination": destination, "state": "logged", "file": file.name, "line": _shown(line)}
                )
                return

    def _is_it(self, payload: bytes) -> bool:
        if self._id.encode() not in payload:
            return False
        event = _decode(payload)
        return event is not None and event.id == self._id

    def _take(self, payload: bytes) -> None:
        if self._payload is None and _decode(payload) is not None:
            (self._payload,) = remove_traces([payload]).payloads


def _emitted_at(event_id: str) -> datetime | None:
    """A time before which nobody had the event, from its id; None where the id does not say one."""
    try:
        uuid = UUID(event_id)
        if uuid.version != 7:
            return None
        # The first 48 bits are milliseconds since 1970 (RFC 9562). Clocks of two hosts may differ by some.
        return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC) - _CLOCKS_DIFFER
    except (ValueError, OverflowError):
        return None


def _decode(payload: bytes) -> Event | None:
    try:
        return decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None


def _shown(line: bytes) -> object:
    """A line of a log as JSON, or as text where it has something before the JSON."""
    start = max(0, line.find(b"{"))
    try:
        return msgspec.json.decode(line[start:])
    except (msgspec.DecodeError, RecursionError):
        return one_line(line[:_MAX_LINE].decode("utf-8", "replace"))


def _log_files(path: Path) -> list[Path]:
    """The log and what it was rotated to, the newest first."""
    found = [
        (entry.stat().st_mtime_ns, entry.name)
        for entry in os.scandir(path.parent)
        if entry.name.startswith(path.name) and entry.is_file()
    ]
    return [path.with_name(name) for _, name in sorted(found, reverse=True)]


def _lines_with(path: Path, needle: bytes) -> Iterator[bytes]:
    """The lines of a file, plain or compressed with gzip, in which something stands. Reads it in large pieces."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        rest = b""
        while chunk := file.read(_CHUNK):
            text = rest + chunk
            end = text.rfind(b"\n") + 1
            whole, rest = text[:end], text[end:]
            at = whole.find(needle)
            while at >= 0:
                start = whole.rfind(b"\n", 0, at) + 1
                stop = whole.find(b"\n", at)
                yield whole[start:stop]
                at = whole.find(needle, stop)
        if needle in rest:
            yield rest
