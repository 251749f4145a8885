"""Report: how many events of each day and name were accepted, delivered, left out and dead at each destination.

Names and days are in the tracking logs, fates in the receipts, and the events' keys join them. So each event counts
once at a destination, by the last that became of it there, however often it was logged, delivered or replayed.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from dispatcher.edx_log.record import BrokenLineError, context_of, id_of, json_of, read_record
from dispatcher.edx_log.source import READ_ERRORS, Source
from dispatcher.event import to_utc
from dispatcher.find.selection import log_files_since
from dispatcher.receipts.block import KEY_BYTES, Fate, key_of
from dispatcher.receipts.reader import read_blocks
from dispatcher.routing import Router

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.config import Settings

#: By what rows may be told apart.
By = Literal["day", "name"]
#: The columns of a row: all events; then what became of each, which adds up to them. open: it waits, or its receipt is
#: not here.
COLUMNS: Final = ("accepted", "delivered", "filtered", "dead", "posted", "open")

_UNKNOWN: Final = 0
_FATES: Final[dict[Fate, int]] = {"delivered": 1, "filtered": 2, "dead": 3, "posted": 4}
_COLUMN_OF: Final = {code: fate for fate, code in _FATES.items()}
# Lines between two reports of how far the reading is.
_LINES_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Events of one day and name at one destination.

    Args:
        day: In UTC, as YYYY-MM-DD; empty where it is not known, or does not tell rows apart.
        name: Their name; empty where no log has them, or it does not tell rows apart.
        destination: Where they were to go.
        counts: How many, by column.
    """

    day: str
    name: str
    destination: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """The rows in order, and what could not be read."""

    rows: list[Row]
    problems: list[str]

    def sums(self) -> dict[str, Counter[str]]:
        """The sums of each destination, by column."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            found[row.destination].update(row.counts)
        return found


def make_report(
    settings: Settings,
    by: Sequence[By],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Callable[[int, int], None],
) -> Report:
    """Join this machine's logs and receipts. Blocks: a million events take ten seconds or so, and 200 MB.

    Args:
        settings: Where both are, and which destinations there are.
        by: What tells rows apart beside their destination.
        since: Only events of this time or later.
        until: Only events before this time.
        progress: Called with the bytes of logs that were read, and those of all.
    """
    events = _Events(by, since=since, until=until)
    problems: list[str] = []
    files = log_files_since(settings, since, problems)
    total, read = sum(size for _, size in files), 0
    for path, size in files:
        try:
            for done in events.read_log(path):
                progress(read + done, total)
        except READ_ERRORS as error:
            problems.append(f"{path} cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}")
        read += size
    names = list(settings.served_destinations)
    fates = {name: bytearray(len(events.keys)) for name in names}
    blocks, unread = read_blocks(settings.receipts_directory, since=0.0 if since is None else since.timestamp())
    for block in blocks:
        of_destination = fates.get(block.destination)
        if of_destination is not None:
            code = _FATES[block.fate]
            for at in range(0, len(block.keys), KEY_BYTES):
                place = events.place_of(block.keys[at : at + KEY_BYTES])
                if place is None:
                    continue
                if place >= len(of_destination):
                    of_destination.extend(bytes(place + 1 - len(of_destination)))
                of_destination[place] = code
    return Report(_rows(events, fates, Router(settings)), [*problems, *unread])


@dataclass(slots=True)
class _Events:
    """Each event once, by its key, and the group that it counts in."""

    by: Sequence[By]
    since: datetime | None
    until: datetime | None
    keys: dict[bytes, int] = field(default_factory=dict)
    groups: array[int] = field(default_factory=lambda: array("I"))
    #: Day, name and whether a log has it, of each group.
    numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def read_log(self, path: Path) -> Iterator[int]:
        """Take the events of a log. Yields how many bytes were read, now and then."""
        with Source(path) as source:
            for line in source.lines():
                if line.number % _LINES_AT_ONCE == 0:
                    yield source.consumed
                try:
                    body = json_of(line.content)
                    record = read_record(body)
                    event_id = id_of(record, context_of(record), body)
                    time = to_utc(datetime.fromisoformat(record.time or ""))
                except (BrokenLineError, ValueError, OverflowError):
                    continue
                if self._is_in(time):
                    self._add(key_of(event_id), f"{time:%Y-%m-%d}", record.name or record.event_type or "")

    def place_of(self, key: bytes) -> int | None:
        """The number of an event that has a receipt; None for one of another time."""
        place = self.keys.get(key)
        if place is not None:
            return place
        # What no log has, such as a direct call to Segment. The id says the day, if it is one of emit (RFC 9562 §5.7).
        if key[6] >> 4 != 7:
            return self._add(key, "", "") if self.since is None and self.until is None else None
        time = datetime.fromtimestamp(int.from_bytes(key[:6]) / 1000, UTC)
        return self._add(key, f"{time:%Y-%m-%d}", "") if self._is_in(time) else None

    def _is_in(self, time: datetime) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)

    def _add(self, key: bytes, day: str, name: str) -> int:
        place = self.keys.setdefault(key, len(self.keys))
        if place == len(self.groups):
            group = (day if "day" in self.by else "", name if "name" in self.by else "", name)
            self.groups.append(self.numbers.setdefault(group, len(self.numbers)))
        return place


def _rows(events: _Events, fates: dict[str, bytearray], router: Router) -> list[Row]:
    groups = list(events.numbers)
    found: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for destination, codes in fates.items():
        codes.extend(bytes(len(events.groups) - len(codes)))
        for (number, code), count in Counter(zip(events.groups, codes, strict=True)).items():
            day, shown, name = groups[number]
            column: str = _COLUMN_OF.get(code, "open")
            if code == _UNKNOWN:
                # What no log has was there for the destinations alone that have a receipt of it.
                if not name:
                    continue
                column = "filtered" if destination in router.route(name).skipped else "open"
            counts = found[day, shown, destination]
            counts["accepted"] += count
            counts[column] += count
    return [
        Row(day=day, name=name, destination=destination, counts={column: counts[column] for column in COLUMNS})
        for (day, name, destination), counts in sorted(found.items())
    ]
