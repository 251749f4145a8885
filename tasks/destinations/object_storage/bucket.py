"""Bucket: puts objects, and says what of a batch is in those that are there; on S3, GCS, Azure or a directory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from dispatcher.process import system_calls
from dispatcher.tasks.destinations.object_storage.log_object import (
    NOTE_BYTES,
    SUFFIXES,
    LogObject,
    Span,
    is_note_last,
    read_spans,
)

if TYPE_CHECKING:
    from dispatcher.tasks.destinations.object_storage.log_object import Compression

# Objects whose notes are remembered: they never change.
_MAX_NOTES: Final = 20_000
# Notes that are read at a time.
_READERS: Final = 8
# By how many seconds the clocks of the store and of the bucket may differ.
_SKEW_SECONDS: Final = 900


class Bucket:
    """One place for objects. Safe in threads; its connections must not cross a fork.

    Args:
        url: As ``s3://bucket/prefix`` or ``file:///directory``, which is made.
        config: As obstore names it for this kind of storage, with credentials in the clear. What is missing is taken
            from the environment.
        timeout_seconds: How long a request may take.
        connect_timeout_seconds: How long connecting may take.
    """

    def __init__(
        self, url: str, config: Mapping[str, str], *, timeout_seconds: float, connect_timeout_seconds: float
    ) -> None:
        self._url = url
        self._config = dict(config)
        self._client = {
            "timeout": f"{max(1, round(timeout_seconds * 1000))} ms",
            "connect_timeout": f"{max(1, round(connect_timeout_seconds * 1000))} ms",
            "allow_http": config.get("endpoint", "").startswith("http://"),
        }
        #: The directory that it is; None for a bucket.
        self.directory: Final = Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None
        self._opened: Any = None
        self._notes: OrderedDict[str, list[Span]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, log_object: LogObject, compression: Compression) -> None:
        """Write an object, over what has its name. Atomic, and on disk then. Raises what obstore does."""
        import obstore  # noqa: PLC0415 - an extra

        name = log_object.name(compression)
        obstore.put(self._store(), name, log_object.pack(compression), use_multipart=False)
        if self.directory is not None:
            for path in (self.directory / name, (self.directory / name).parent):
                _sync(path)
        self._remember(name, list(log_object.spans))

    def find_spans(self, folder: str, *, since: float) -> set[Span]:
        """What the objects of a folder have of which batches. Raises what obstore does.

        Blocks for a listing, and for a small request for each object that is new here.

        Args:
            folder: The folder.
            since: Objects that are older, in seconds since 1970, are not looked at.
        """
        import obstore  # noqa: PLC0415 - an extra

        oldest = datetime.fromtimestamp(max(0.0, since - _SKEW_SECONDS), UTC)
        listed = obstore.list(self._store(), f"{folder}/").collect()
        recent = [
            (str(entry["path"]), int(entry["size"]))
            for entry in listed
            if entry["last_modified"] >= oldest and str(entry["path"]).endswith(tuple(SUFFIXES.values()))
        ]
        if len(recent) == 1:
            return set(self._note(*recent[0]))
        with ThreadPoolExecutor(_READERS) as pool:
            return set().union(*pool.map(lambda each: self._note(*each), recent))

    def _note(self, name: str, size: int) -> Iterable[Span]:
        with self._lock:
            if (known := self._notes.get(name)) is not None:
                return known
        wanted = min(size, NOTE_BYTES)
        found = read_spans(name, self._read(name, size, wanted))
        if found is None:
            found = read_spans(name, self._read(name, size, size))
        return self._remember(name, found or [])

    def _read(self, name: str, size: int, wanted: int) -> bytes:
        import obstore  # noqa: PLC0415 - an extra

        start = size - wanted if is_note_last(name) else 0
        return bytes(obstore.get_range(self._store(), name, start=start, length=wanted)) if wanted else b""

    def _remember(self, name: str, spans: list[Span]) -> list[Span]:
        with self._lock:
            self._notes[name] = spans
            while len(self._notes) > _MAX_NOTES:
                self._notes.popitem(last=False)
        return spans

    def _store(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = self.open()
            return self._opened

    def open(self, *, max_retries: int = 0, retry_seconds: float = 1.0) -> Any:
        """A client of its own. What failed is tried again by whoever called, with the pauses that the settings say.

        Args:
            max_retries: How often it tries a request again by itself.
            retry_seconds: For how long.
        """
        from obstore import store  # noqa: PLC0415 - an extra

        # Its annotations tell the options of each kind of storage apart.
        from_url: Any = store.from_url
        if self.directory is not None:
            return from_url(self._url, mkdir=True)
        options: dict[str, Any] = {"config": self._config} if self._config else {}
        retry = {"max_retries": max_retries, "retry_timeout": timedelta(seconds=retry_seconds)}
        return from_url(self._url, **options, client_options=self._client, retry_config=retry)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        system_calls.sync(descriptor)
    finally:
        os.close(descriptor)
