"""TrackingLog: writes events to edX's tracking log, each batch as one append of whole lines.

The line formats are those of edX's tracking (dispatcher/edx_log/render.py). A batch may be of any size.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.destinations.traits import TRACKING_LOG
from dispatcher.edx_log.render import DECODING_ERRORS, Format, renderer
from dispatcher.event import encode
from dispatcher.outcomes import DELIVERED, UNDECODABLE, Dead, Outcome
from dispatcher.tasks.destinations.tracking_log.appender import Appender
from dispatcher.tasks.destinations.tracking_log.log_place import LogPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.forgetting.place import Place
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate


class TrackingLogOptions(Options):
    """The tracking log's own settings.

    Args:
        path: The file, on a local disk. Its parent directories are made. Only the dispatcher writes to it. Beside it
            lies ``.NAME.appends``, the record of what was appended and the lock: without it a batch whose worker was
            killed is written twice.
        format: ``edx`` is one JSON object a line, as edX writes it but for the id; ``tutor`` is the same after the
            prefix of Tutor's logging, its time the event's own in the worker's time zone and its process id always 0;
            ``event`` is the event as it was emitted, its id included.
        ids: Puts each event's id into the line's context, as ``event_id`` (in place of one that is there). Without it
            the lines equal edX's to the byte, but an event that ``replay`` reads from one gets another id, so that
            Segment counts twice what it has had before.
        rotate_bytes: The size at which the file is renamed to edX's ``NAME-YYYYMMDD-EPOCH`` (UTC) and a new one begun.
            None leaves rotation to logrotate, which needs ``delaycompress``: lines may be on their way into the file
            that it has just renamed.
        rotate_compress: Whether rotated files become ``NAME-YYYYMMDD-EPOCH.gz``.
        fsync: Whether a batch is delivered only once it is on the disk, so that it outlives a power cut.
    """

    path: Path
    format: Format = "edx"
    ids: bool = True
    rotate_bytes: int | None = Field(default=None, ge=1)
    rotate_compress: bool = False
    fsync: bool = False

    @model_validator(mode="after")
    def _rotation_is_on(self) -> Self:
        if self.rotate_compress and self.rotate_bytes is None:
            raise ValueError("rotate_compress has no effect without rotate_bytes: set rotate_bytes, or leave it out")
        return self


class TrackingLog(Destination[TrackingLogOptions]):
    """The tracking log. Safe in threads, and for any number of processes on one machine with the same path."""

    Options = TrackingLogOptions
    deletion = "here"
    traits = TRACKING_LOG

    def __init__(
        self, name: str, options: TrackingLogOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        self._render = renderer(options.format, ids=options.ids)
        self._appender = Appender(
            options.path,
            fsync=options.fsync,
            rotate_bytes=options.rotate_bytes,
            rotate_compress=options.rotate_compress,
        )

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Append the batch; if it may have been delivered before, append only the lines that are missing.

        Blocks while others append, up to 30 s for a process that holds the lock without progress.

        Raises:
            OSError: None of these lines is in the file; the batch can be delivered again.
        """
        outcomes: list[Outcome] = []
        lines: list[bytes | None] = []
        for payload in batch.payloads:
            try:
                lines.append(self._render(payload))
            except DECODING_ERRORS as error:
                outcomes.append(_undecodable(error))
                lines.append(None)
            else:
                outcomes.append(DELIVERED)
        # How far a batch got that comes again is known by its events' places.
        for place in batch.forgotten:
            lines.insert(place, None)
        if lines.count(None) < len(lines):
            key = blake2b(f"{batch.destination}\0{batch.id}".encode(), digest_size=16).digest()
            again, until = batch.maybe_delivered, batch.lease_until
            self._appender.append(lines, key=key, first=batch.first, again=again, alone_until=until)
        return outcomes

    def deliver_all(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        """Append several batches, each on its own: one takes some ten microseconds, a task a hundred times that."""
        return super().deliver_all(batches)

    def preview(self, event: Event) -> dict[str, Any]:
        """The line that would be written, or why none would be. Touches no file."""
        try:
            return {"line": self._render(encode(event)).decode()}
        except DECODING_ERRORS as error:
            dead = _undecodable(error)
            return {"outcome": "dead", "reason": dead.reason, "error": dead.error}

    def places(self) -> Sequence[Place]:
        """The log and its rotated files."""
        return (LogPlace(self.name, self.options.path, self._appender),)

    def close(self) -> None:
        """Close the files. May be called twice; ``deliver`` opens them again."""
        self._appender.close()


def _undecodable(error: Exception) -> Dead:
    return Dead(UNDECODABLE, f"the payload is not an event: {error}")
