"""ObjectStorage: writes the tracking log's lines as compressed objects, a few for each hour, wherever workers run.

A batch that may have been written is looked for by the notes in the objects of its hours, and what is there is not
written again: batches that go together once may come apart when they come again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from dispatcher.destinations.base import Batch, Destination, Options, reveal
from dispatcher.destinations.traits import OBJECT_STORAGE
from dispatcher.edx_log.edx_line import isoformat
from dispatcher.edx_log.render import DECODING_ERRORS, Format, renderer
from dispatcher.event import encode
from dispatcher.forgetting.places.unreachable import Unreachable
from dispatcher.installation.extras import install_command
from dispatcher.outcomes import DELIVERED, UNDECODABLE, Dead, Filtered, Outcome, RetryAfter
from dispatcher.tasks.destinations.http.packing import apply_rules, too_deep
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.object_storage.bucket import Bucket
from dispatcher.tasks.destinations.object_storage.faults import outcome_of_fault
from dispatcher.tasks.destinations.object_storage.log_object import MOST_BATCHES, Compression, LogObject, Span
from dispatcher.tasks.destinations.window import WindowSeconds, wait_for_more

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.forgetting.place import Place
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# The size of lines from which on an object is worth its request: half of what a claim holds by default.
_ENOUGH_BYTES: Final = 8_000_000
_SCHEMES: Final = frozenset({"s3", "gs", "az", "file"})
# What obstore calls an endpoint and a region, by scheme.
_ENDPOINT_KEYS: Final = {"s3": "endpoint", "az": "endpoint"}
_LATE: Final = RetryAfter("the lease leaves no time for another object", 0.0, "rate_limited")


class ObjectStorageOptions(Options):
    """The settings of a bucket, or a directory, that takes the tracking log's lines."""

    url: str = Field(
        description="Where to: s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix, file:///directory."
    )
    endpoint: BaseUrl | None = Field(
        default=None, description="Of a storage that speaks S3's protocol, or Azure's; absent: the provider's own."
    )
    region: str | None = Field(default=None, description="Of an S3 bucket; absent: that of AWS_REGION.")
    credentials: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="As obstore names them, such as access_key_id; absent: the provider's variables, or its machine's.",
    )
    format: Format = Field(default="edx", description='"edx", "tutor" or "event", as in the tracking log.')
    ids: bool = Field(default=True, description="Whether an edX line has the event's id, as event_id in its context.")
    compression: Compression = Field(
        default="gzip", description='"gzip", which all read, or "zstd", a third of its CPU.'
    )
    partition: Literal["hour", "day"] = Field(
        default="hour", description='What a folder holds: "hour" is dt=2026-11-29/hour=18, "day" is dt=2026-11-29.'
    )
    wait_seconds: WindowSeconds = Field(
        default=60, description="How long events wait at the most to go together in a larger object; 0: not at all."
    )
    check_repeats: bool = Field(
        default=True,
        description="Whether what may have been written is looked for first, for which objects are listed and read.",
    )
    timeout_seconds: float = Field(
        default=15, gt=0, allow_inf_nan=False, description="How long a request may take, connecting included."
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        is_file = parts.scheme == "file"
        if parts.scheme not in _SCHEMES or bool(parts.netloc) == is_file or (is_file and not parts.path.strip("/")):
            raise ValueError("must be s3://bucket/prefix, gs://…, az://account/container/… or file:///directory")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or query: give these in credentials")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_what_belongs_together(self) -> Self:
        scheme = urlsplit(self.url).scheme
        if self.endpoint is not None and scheme not in _ENDPOINT_KEYS:
            raise ValueError("endpoint belongs to an s3:// or az:// url: leave it out")
        if scheme == "file" and (self.credentials or self.region):
            raise ValueError("a directory takes no credentials and no region: leave them out")
        return self


class ObjectStorage(Destination[ObjectStorageOptions]):
    """The tracking log in a bucket. Safe in threads, and for workers on any number of hosts."""

    Options = ObjectStorageOptions
    deletion = "here"
    deletion_steps = (
        "Its credentials need the right to delete objects. A bucket that keeps older versions needs a "
        "lifecycle rule for these."
    )
    traits = OBJECT_STORAGE

    def __init__(
        self, name: str, options: ObjectStorageOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        self._render = renderer(options.format, ids=options.ids)
        #: What errors call it.
        self.label: Final = f"{type(self).__name__} at {options.url}"
        scheme = urlsplit(options.url).scheme
        config = {key: reveal(value) for key, value in options.credentials.items()}
        if options.endpoint is not None:
            config[_ENDPOINT_KEYS[scheme]] = options.endpoint
        if options.region is not None:
            config["region"] = options.region
        self._bucket = Bucket(
            options.url,
            config,
            timeout_seconds=options.timeout_seconds,
            connect_timeout_seconds=options.timeout_seconds,
        )

    @classmethod
    def missing_package(cls) -> str | None:
        return None if find_spec("obstore") else f"obstore is not installed: {install_command('buckets')}"

    def missing_settings(self) -> str | None:
        if find_spec("obstore") is not None:
            return None
        return f"the events of {self.name!r} wait until obstore is there: {install_command('buckets')}"

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Write a batch, or leave it for a larger object. Blocks up to the lease."""
        return self.deliver_all([batch])[0]

    def deliver_all(self, batches: Sequence[Batch]) -> list[Sequence[Outcome]]:
        """Write several batches together, an object for each hour. A batch is written whole, or comes again whole."""
        if (missing := self.missing_settings()) is not None:
            return [[RetryAfter(missing, None, "setup")] * len(batch.payloads) for batch in batches]
        wait = self.options.wait_seconds
        if (waits := wait_for_more(batches, window_seconds=wait, enough_bytes=_ENOUGH_BYTES)) is not None:
            return [[waits] * len(batch.payloads) for batch in batches]
        drafts = [self._draft(batch) for batch in batches]
        until = min(batch.lease_until for batch in batches) - self.options.timeout_seconds
        self._leave_out_repeats(drafts, until)
        for start in range(0, len(drafts), MOST_BATCHES):
            self._write([draft for draft in drafts[start : start + MOST_BATCHES] if draft.failure is None], until)
        return [draft.result() for draft in drafts]

    def preview(self, event: Event) -> dict[str, Any]:
        """The line that would be written and its folder, or why none would be. Writes nothing."""
        try:
            draft = self._draft(Batch(destination=self.name, id="preview", payloads=(encode(event),)))
        except RecursionError:
            draft = _Draft(
                Batch(destination=self.name, id="preview", payloads=()), outcomes=[too_deep(f"event {event.id}")]
            )
        match draft.outcomes[0]:
            case Dead() as dead:
                return {"outcome": "dead", "reason": dead.reason, "error": dead.error}
            case Filtered(reason=reason):
                return {"outcome": "filtered", "reason": reason}
            case RetryAfter(error=error):
                return {"missing": error}
        ((folder, (placed,)),) = draft.folders.items()
        return {"line": placed.line.decode(), "object": f"{self.options.url}/{folder}/"}

    def places(self) -> Sequence[Place]:
        """Its objects."""
        if (missing := self.missing_package()) is not None:
            return (Unreachable(self.name, self.options.url, missing),)
        if self._bucket.directory is None and self.state_directory is None:
            return ()
        from dispatcher.tasks.destinations.object_storage.places import find_place  # noqa: PLC0415 - the extra

        return (find_place(self.name, self.options.url, self._bucket, self.state_directory),)

    def _draft(self, batch: Batch) -> _Draft:
        draft = _Draft(batch)
        for place, payload in zip(_places(batch), batch.payloads, strict=True):
            try:
                changed = payload if self.rules is None else apply_rules(self, payload)
                if isinstance(changed, bytes):
                    draft.add(self._folder(changed), place, self._render(changed))
                else:
                    draft.leave(changed)
            except DECODING_ERRORS as error:
                problem = f"a payload of {len(payload)} bytes is not an event: {type(error).__name__}"
                draft.leave(Dead(UNDECODABLE, problem, asked=False))
        return draft

    def _folder(self, payload: bytes) -> tuple[str, str]:
        timestamp = isoformat(_decode_time(payload).timestamp)
        return _folder_of(timestamp[:19], self.options.partition)

    def _leave_out_repeats(self, drafts: Sequence[_Draft], until: float) -> None:
        """Take from the drafts what was written before: by a worker that was killed, or without an answer."""
        if not self.options.check_repeats:
            return
        suspects = [draft for draft in drafts if draft.batch.attempt > 0 or draft.batch.maybe_delivered]
        for folder in sorted({folder for draft in suspects for folder in draft.folders}):
            among = [draft for draft in suspects if folder in draft.folders and draft.failure is None]
            if not among:
                continue
            if time.monotonic() > until:
                _fail(among, _LATE)
                continue
            try:
                spans = self._bucket.find_spans(folder, since=min(draft.batch.put_at for draft in among))
            except Exception as error:  # obstore has no base of all that it raises
                _fail(among, self._outcome_of(error))
                continue
            for draft in among:
                draft.leave_out(folder, spans)

    def _write(self, drafts: Sequence[_Draft], until: float) -> None:
        failure: RetryAfter | None = None
        for folder in sorted({folder for draft in drafts for folder in draft.folders}):
            among = [draft for draft in drafts if draft.folders.get(folder)]
            if not among:
                continue
            failure = failure or (_LATE if time.monotonic() > until else None)
            if failure is None:
                failure = self._put(folder, among)
            if failure is not None:
                _fail(among, failure)

    def _put(self, folder: str, among: Sequence[_Draft]) -> RetryAfter | None:
        placed = [each for draft in among for each in draft.folders[folder]]
        log_object = LogObject(
            folder=folder,
            began=min(each.began for each in placed),
            lines=[each.line for each in placed],
            spans=[Span.of(draft.batch) for draft in among],
        )
        try:
            self._bucket.put(log_object, self.options.compression)
        except Exception as error:  # obstore has no base of all that it raises
            return self._outcome_of(error)
        return None

    def _outcome_of(self, error: Exception) -> RetryAfter:
        return outcome_of_fault(error, label=self.label, seconds=self.options.timeout_seconds)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line, the place of its event in its batch, and the time of its event."""

    place: int
    began: str
    line: bytes


@dataclass(slots=True)
class _Draft:
    """A batch on its way into objects: the lines of each folder, and what becomes of each event once they are there."""

    batch: Batch
    folders: dict[str, list[_Placed]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    failure: RetryAfter | None = None

    def add(self, folder_and_time: tuple[str, str], place: int, line: bytes) -> None:
        """Take an event's line."""
        folder, began = folder_and_time
        self.outcomes.append(DELIVERED)
        self.folders.setdefault(folder, []).append(_Placed(place, began, line))

    def leave(self, outcome: Dead | Filtered | RetryAfter) -> None:
        """Take note of an event that has no line."""
        self.outcomes.append(outcome)
        if isinstance(outcome, RetryAfter):
            self.failure = outcome

    def leave_out(self, folder: str, spans: set[Span]) -> None:
        """Drop the lines of a folder whose objects have these spans."""
        digest = Span.of(self.batch).batch
        there = [span for span in spans if span.batch == digest]
        self.folders[folder] = [
            placed
            for placed in self.folders[folder]
            if not any(span.first <= placed.place < span.end for span in there)
        ]

    def result(self) -> Sequence[Outcome]:
        """What became of each event. All come again where one object failed, so that their places stay the same."""
        return self.outcomes if self.failure is None else [self.failure] * len(self.outcomes)


def _places(batch: Batch) -> Iterator[int]:
    """The place of each payload in its batch as it came: what was forgotten keeps its own, empty."""
    whole = len(batch.payloads) + len(batch.forgotten)
    empty = frozenset(batch.forgotten)
    return (batch.first + place for place in range(whole) if place not in empty)


def _fail(drafts: Sequence[_Draft], failure: RetryAfter) -> None:
    for draft in drafts:
        draft.failure = draft.failure or failure


class _Time(msgspec.Struct, gc=False):
    timestamp: str


_decode_time: Final = msgspec.json.Decoder(_Time).decode


@lru_cache(maxsize=4096)
def _folder_of(second: str, partition: str) -> tuple[str, str]:
    """The folder of a second of UTC, and its time of day."""
    day = f"dt={second[:10]}"
    return (day if partition == "day" else f"{day}/hour={second[11:13]}"), second[11:19].replace(":", "")
