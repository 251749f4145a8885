"""Times on the command line and in files of events: in UTC unless they have a zone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from dispatcher.event import to_utc

#: The formats of ``--since`` and ``--until``.
TIMESTAMP: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def utc(timestamp: datetime | None) -> datetime | None:
    """The value of such an option in UTC; None if it was not given."""
    return None if timestamp is None else to_utc(timestamp)


def parse_timestamp(text: object) -> datetime:
    """The timestamp of an event in a file, in UTC. Raises ValueError, with what to write instead."""
    try:
        if not isinstance(text, str):
            raise TypeError
        return to_utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        what = "is not a time" if isinstance(text, str) else f"is of type {type(text).__name__}"
        raise ValueError(
            f"the timestamp {what}: write text such as 2026-01-31T12:00:00+00:00, or leave it out for the present time"
        ) from None
