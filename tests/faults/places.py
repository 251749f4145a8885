"""Places: reads the log, the dead letters and the ledger for the count."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dispatcher.monitoring.ledger import Ledger
from dispatcher.outcomes import DUPLICATE
from dispatcher.store.dead_event import unpack_event
from dispatcher.store.dead_letter_files import directory_of, read
from dispatcher.store.keys import DEAD
from tests.faults.account import Numbers
from tests.support.redis_server import RedisServer

_COUNTERS = ("accepted", "delivered", "waiting", "dead", "filtered", "retried", "closes")


class _Data(msgspec.Struct):
    k: str


class _Line(msgspec.Struct):
    # Text in which JSON is, of events that came over HTTP.
    event: _Data | str


class _Event(msgspec.Struct):
    data: _Data


_decode_data = msgspec.json.Decoder(_Data).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def log_files(path: Path) -> list[Path]:
    """The log and its rotated files."""
    return sorted(file for file in path.parent.glob(f"{path.name}*") if file.is_file())


def read_log(path: Path) -> tuple[Counter[str], int]:
    """How often each event has a line in the log and its rotated files, and how many lines are not an event's JSON."""
    while True:
        try:
            return _read_files(log_files(path))
        except FileNotFoundError:
            continue  # one was rotated or compressed since they were listed


def _read_files(files: Sequence[Path]) -> tuple[Counter[str], int]:
    found: Counter[str] = Counter()
    broken = 0
    for file in files:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
            for line in lines:
                try:
                    event = _decode_line(line).event
                    found[(_decode_data(event) if isinstance(event, str) else event).k] += 1
                except msgspec.DecodeError:
                    broken += 1
    return found, broken


def read_dead(server: RedisServer, destination: str) -> frozenset[str]:
    """The events among the dead letters of a destination."""
    with server.client() as client:
        letters = client.xrange(DEAD.of(destination))
    return frozenset(_decode_event(unpack_event(fields[b"event"])).data.k for _, fields in letters)


def read_filed(state_directory: Path, destination: str) -> frozenset[str]:
    """The events of a destination in the files of dead letters that exceeded the limit in Redis."""
    files = directory_of(state_directory).glob(f"{destination}-*.jsonl.gz")
    return frozenset(_decode_event(letter.payload).data.k for file in files for letter in read(file, destination))


def read_ledger(ledger: Ledger) -> dict[str, Numbers]:
    """The numbers of a ledger that are compared with the count."""
    return {
        name: {counter: getattr(counts, counter) for counter in _COUNTERS}
        # Copies of an event that came over HTTP, which go no further.
        | {"duplicates": counts.filtered_by_reason.get(DUPLICATE, 0)}
        for name, counts in ledger.destinations.items()
    }
