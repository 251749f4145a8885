"""Intake: what collectors took and refused. Each process counts its own, and keeps it in a file for all to read."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from dispatcher.outbox.listing import names

#: Keys of one kind beyond which others are counted as "other": they come from code, but a route could make some of its
#: input.
_MAX_KEYS: Final = 2_000
#: For so long it is known from which page something was refused, in parts of ten minutes.
RECENT_SECONDS: Final = 3_600
_SLICE_SECONDS: Final = 600
# Reasons and origins of a slice, of which anybody can make up as many as they like; and how many of them are shown.
_MAX_ORIGINS: Final = 100
_SHOWN_ORIGINS: Final = 20
_HOST: Final = re.compile(r"[a-z0-9._:\[\]-]{1,100}")
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,20}")
_MAX_VERSIONS: Final = 50
OTHER: Final = "other"
#: Of the files.
SUFFIX: Final = ".json"

_Rows = list[tuple[Any, ...]]


class _File(msgspec.Struct):
    """What is in a file: a list for each counter, of lists of its labels and the value."""

    accepted: list[tuple[str, int]] = []
    rejected: list[tuple[str, str, int]] = []
    dropped: list[tuple[str, str, int]] = []
    requests: list[tuple[int, int]] = []
    refused: list[tuple[str, int]] = []
    refused_by_source: list[tuple[str, str, int]] = []
    clients: list[tuple[str, str, int]] = []
    user_failures: list[tuple[str, int]] = []
    body_bytes: int = 0
    last_seen: list[tuple[str, float]] = []
    client_last_seen: list[tuple[str, str, float]] = []
    recent: list[tuple[int, str, str, int]] = []


class Intake:
    """Counters of one process, or the sum of several. For one thread."""

    def __init__(self) -> None:
        #: Events taken, by source.
        self.accepted: Final[Counter[str]] = Counter()
        #: Items of batches that were not taken, by source and code.
        self.rejected: Final[Counter[tuple[str, str]]] = Counter()
        #: Events that pages had to drop before they could send them, by source and reason.
        self.dropped: Final[Counter[tuple[str, str]]] = Counter()
        #: Requests by status.
        self.requests: Final[Counter[int]] = Counter()
        #: Requests of which nothing was taken, by code.
        self.refused: Final[Counter[str]] = Counter()
        #: Those of them whose source is known, by source and code.
        self.refused_by_source: Final[Counter[tuple[str, str]]] = Counter()
        #: Requests of tracker.js, by source and version.
        self.clients: Final[Counter[tuple[str, str]]] = Counter()
        #: Requests of which ``collector.user`` did not say the user, by reason: busy, slow or failed.
        self.user_failures: Final[Counter[str]] = Counter()
        #: Bytes of bodies as they were sent.
        self.body_bytes = 0
        #: When events of a source were taken last, in seconds since 1970; some two seconds old.
        self.last_seen: Final[dict[str, float]] = {}
        #: The same of a version of tracker.js.
        self.client_last_seen: Final[dict[tuple[str, str], float]] = {}
        #: Refused requests of each ten minutes, by code and the origin of the page; see ``recent_refusals``.
        self.recent: Final[dict[int, Counter[tuple[str, str]]]] = {}

    def reject(self, source: str, code: str, count: int = 1) -> None:
        """Count items of a batch that were not taken."""
        _add(self.rejected, (source, code), (source, OTHER), count, _MAX_KEYS)

    def drop(self, source: str, reason: str, count: int) -> None:
        """Count events that a page had to drop."""
        _add(self.dropped, (source, reason), (source, OTHER), count, _MAX_KEYS)

    def refuse(self, code: str) -> None:
        """Count a request of which nothing was taken."""
        self.refused[code if code in self.refused or len(self.refused) < _MAX_KEYS else OTHER] += 1

    def attribute_refusal(self, code: str, source: str, origin: str, now: float | None = None) -> None:
        """Say whose request was refused, beside ``refuse``.

        Args:
            code: As of ``refuse``.
            source: The name of its source; empty where that is not known.
            origin: The origin of its page as it was sent; only scheme, host and port are kept.
            now: Seconds since 1970; None: the clock's.
        """
        if source:
            _add(self.refused_by_source, (source, code), (source, OTHER), 1, _MAX_KEYS)
        number = int(time.time() if now is None else now) // _SLICE_SECONDS
        counted = self.recent.get(number)
        if counted is None:
            counted = self.recent[number] = Counter()
            self._forget_old(max(self.recent))
        key = (code, _plain_origin(origin))
        if key not in counted and len(counted) >= _MAX_ORIGINS:
            # Made-up origins come once or twice; whoever comes often stays.
            rarest = min(counted, key=lambda one: (counted[one], one[1] == OTHER))
            if counted[rarest] > 1:
                key = (code, OTHER)
            else:
                counted[rarest[0], OTHER] += counted.pop(rarest)
        counted[key] += 1

    def see_client(self, source: str, version: object) -> None:
        """Count a request of tracker.js by its version; anything but a short version counts as "other"."""
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            version = OTHER
        _add(self.clients, (source, version), (source, OTHER), 1, _MAX_VERSIONS)

    def recent_refusals(self, now: float) -> list[tuple[str, str, int]]:
        """Codes, origins and numbers of the requests that were refused in the last hour: the most frequent twenty.

        Args:
            now: Seconds since 1970. The hour begins with a part of ten minutes.
        """
        first = int(now - RECENT_SECONDS) // _SLICE_SECONDS
        total: Counter[tuple[str, str]] = Counter()
        for number, counted in self.recent.items():
            if number >= first:
                total.update(counted)
        ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        return [(code, origin, count) for (code, origin), count in ordered[:_SHOWN_ORIGINS]]

    def add(self, other: Intake) -> None:
        """Add what another has counted."""
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.body_bytes += other.body_bytes
        for number, counted in other.recent.items():
            self.recent.setdefault(number, Counter()).update(counted)
        for source, at in other.last_seen.items():
            self.last_seen[source] = max(at, self.last_seen.get(source, 0.0))
        for client, at in other.client_last_seen.items():
            self.client_last_seen[client] = max(at, self.client_last_seen.get(client, 0.0))

    def encode(self) -> bytes:
        """All of it, for a file."""
        if self.recent:
            self._forget_old(max(self.recent))
        file = _File(
            body_bytes=self.body_bytes,
            last_seen=list(self.last_seen.items()),
            client_last_seen=[(*client, at) for client, at in self.client_last_seen.items()],
            recent=[(number, *key, n) for number, counted in self.recent.items() for key, n in counted.items()],
        )
        for name in _COUNTERS:
            rows: _Rows = [(*(key if isinstance(key, tuple) else (key,)), n) for key, n in getattr(self, name).items()]
            setattr(file, name, rows)
        return msgspec.json.encode(file)

    def _forget_old(self, newest: int) -> None:
        for number in [one for one in self.recent if one < newest - RECENT_SECONDS // _SLICE_SECONDS]:
            del self.recent[number]

    def render(self) -> bytes:
        """All of it in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
        lines: list[str] = []
        for short, kind, words, labels, attribute in _SERIES:
            name = f"dispatcher_collector_{short}"
            lines += (f"# HELP {name} {words}", f"# TYPE {name} {kind}")
            values = getattr(self, attribute)
            if not labels:
                lines.append(f"{name} {values}")
                continue
            for key, value in sorted(values.items()):
                parts = key if isinstance(key, tuple) else (key,)
                pairs = ",".join(f'{label}="{part}"' for label, part in zip(labels, parts, strict=True))
                lines.append(f"{name}{{{pairs}}} {value}")
        return ("\n".join(lines) + "\n").encode()


def intake_directory(outboxes: Path) -> Path:
    """Where the collectors that write to the outboxes of a directory keep their counts."""
    # Hidden, so that nobody takes it for an outbox; on the volume and with the rights that an outbox has.
    return outboxes / ".collector"


def read_intake(directory: Path, *, leaving_out: Path | None = None) -> Intake:
    """The sum of all that the collectors of a directory counted, those that have ended too. Reads the disk.

    Args:
        directory: Of ``intake_directory``. It does not exist where no collector ever ran.
        leaving_out: A file that does not count.

    Raises:
        OSError: It may not be read.
    """
    total = Intake()
    for name in sorted(names(directory)):
        file = directory / name
        if file.suffix == SUFFIX and file != leaving_out:
            with contextlib.suppress(FileNotFoundError):  # it became part of another one
                total.add(decode_intake(file.read_bytes()))
    return total


def decode_intake(content: bytes) -> Intake:
    """What is in a file; nothing where that is damaged, as it may be after a loss of power."""
    intake = Intake()
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return intake
    for name, has_one_label in _COUNTERS.items():
        counter = getattr(intake, name)
        for *labels, n in getattr(file, name):
            counter[labels[0] if has_one_label else tuple(labels)] += n
    intake.body_bytes = file.body_bytes
    intake.last_seen.update(file.last_seen)
    intake.client_last_seen.update({(source, version): at for source, version, at in file.client_last_seen})
    for number, code, origin, n in file.recent:
        intake.recent.setdefault(number, Counter())[code, origin] += n
    return intake


def _add(counter: Counter[tuple[str, str]], key: tuple[str, str], rest: tuple[str, str], count: int, most: int) -> None:
    counter[key if key in counter or len(counter) < most else rest] += count


def _plain_origin(origin: str) -> str:
    """Scheme, host and port of an origin; a word where it has none. Names and passwords before an @ are left out."""
    if not origin:
        return "no origin"
    try:
        parts = urlsplit(origin)
        host = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return OTHER
    return f"{parts.scheme}://{host}" if parts.scheme in ("http", "https") and _HOST.fullmatch(host) else OTHER


# The counters, and whether their keys are a text alone.
_COUNTERS: Final = {
    "accepted": True,
    "rejected": False,
    "dropped": False,
    "requests": True,
    "refused": True,
    "refused_by_source": False,
    "clients": False,
    "user_failures": True,
}
# Of each metric its name, type, meaning, labels and attribute.
_SERIES: Final[tuple[tuple[str, str, str, Iterable[str], str], ...]] = (
    ("accepted_total", "counter", "Events taken.", ("source",), "accepted"),
    ("rejected_total", "counter", "Items of batches that were not taken.", ("source", "reason"), "rejected"),
    (
        "dropped_total",
        "counter",
        "Events that pages had to drop before they could send them.",
        ("source", "reason"),
        "dropped",
    ),
    ("refused_total", "counter", "Requests of which nothing was taken.", ("reason",), "refused"),
    (
        "source_refused_total",
        "counter",
        "Those of them whose source is known.",
        ("source", "reason"),
        "refused_by_source",
    ),
    (
        "user_failures_total",
        "counter",
        "Requests whose user collector.user did not find in time.",
        ("reason",),
        "user_failures",
    ),
    ("requests_total", "counter", "Requests answered.", ("status",), "requests"),
    ("client_requests_total", "counter", "Requests of tracker.js, by its version.", ("source", "version"), "clients"),
    (
        "last_seen_timestamp_seconds",
        "gauge",
        "When events of a source were taken last, in seconds since 1970.",
        ("source",),
        "last_seen",
    ),
    ("body_bytes_total", "counter", "Bytes of bodies as they were sent.", (), "body_bytes"),
)
