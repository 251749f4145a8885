"""Timestamps: when something happened, by clocks of others that may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from dispatcher.event import to_utc
from dispatcher.wire import STANDARD

_NO_TIME: Final = timedelta()
_ISO_CHARACTERS: Final = len("2026-01-02T03:04:05.678Z")
_read_iso: Final = STANDARD["datetime"].fromisoformat


def parse_time(value: object) -> datetime | None:
    """The time that a client said, in UTC; None where ISO 8601 has no such date and time of day.

    One without a zone is taken for UTC.
    """
    if not isinstance(value, str):
        return None
    # As JavaScript's toISOString writes it. Python's own reader is faster, and takes more forms than these.
    if len(value) == _ISO_CHARACTERS and value[-1] == "Z" and value[10] == "T" and value[5] in "01":
        try:
            moment: datetime = _read_iso(value)
            return moment
        except ValueError:
            pass
    try:
        return to_utc(msgspec.convert(value, datetime))
    except (msgspec.ValidationError, OverflowError):
        return None


def corrected_time(happened_at: object, sent_at: object, received_at: datetime) -> datetime:
    """When it happened by our clock: as long before the request came as it was before it was sent.

    Segment does the same with ``sentAt`` (https://segment.com/docs/connections/spec/common/#timestamps).

    Args:
        happened_at: The event's time by the client's clock.
        sent_at: The request's time by the same clock, as text or as ``parse_time`` returned it; None or anything that
            is no time leaves the clock as it is.
        received_at: By our clock, in UTC.

    Returns:
        In UTC, and never later than ``received_at``: nothing has happened yet that will. ``received_at`` where
        ``happened_at`` is no time.
    """
    happened = parse_time(happened_at)
    if happened is None:
        return received_at
    sent = sent_at if isinstance(sent_at, datetime) else parse_time(sent_at)
    age = (received_at if sent is None else sent) - happened
    if age <= _NO_TIME:
        return received_at
    try:
        return received_at - age
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=UTC)
