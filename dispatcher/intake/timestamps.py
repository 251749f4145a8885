"""Timestamps: when something happened, by clocks of others that may be wrong."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from dispatcher.event import to_utc
from dispatcher.wire import STANDARD

_NO_TIME: Final = timedelta()
_ISO_CHARACTERS: Final = len("2026-01-02T03:04:05.678Z")
_PLAIN: Final = STANDARD["datetime"]


def parse_time(value: object) -> datetime | None:
    """The time that a client said, in UTC; None where it is neither a datetime nor one that ISO 8601 has.

    One without a zone is taken for UTC.
    """
    try:
        if isinstance(value, _PLAIN):
            return to_utc(value)
        if not isinstance(value, str):
            return None
        # As JavaScript's toISOString writes it. Python's own reader is faster, and takes more forms than these.
        if len(value) == _ISO_CHARACTERS and value[-1] == "Z" and value[10] == "T" and value[5] in "01":
            with suppress(ValueError):
                moment: datetime = _PLAIN.fromisoformat(value)
                return moment
        return to_utc(msgspec.convert(value, datetime))
    except (msgspec.ValidationError, OverflowError):
        return None


def corrected_time(happened_at: object, sent_at: object, received_at: datetime) -> datetime:
    """When it happened by our clock: as long before the request came as it was before it was sent.

    Segment does the same with ``sentAt`` (https://segment.com/docs/connections/spec/common/#timestamps).

    Args:
        happened_at: The event's time by the client's clock, as text or as a datetime.
        sent_at: The request's time by the same clock; None, or anything but a time, leaves the clock as it is.
        received_at: By our clock, in UTC.

    Returns:
        In UTC, and never later than ``received_at``: nothing has happened yet that will. ``received_at`` where
        ``happened_at`` has none.
    """
    happened = parse_time(happened_at)
    if happened is None:
        return received_at
    sent = parse_time(sent_at)
    age = (received_at if sent is None else sent) - happened
    if age <= _NO_TIME:
        return received_at
    try:
        return received_at - age
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=UTC)
