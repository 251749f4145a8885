"""Times on the command line: days and moments, in UTC unless they say otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from dispatcher.event import to_utc

#: What ``--since`` and ``--until`` take.
MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def utc(moment: datetime | None) -> datetime | None:
    """The moment as an aware one in UTC."""
    return None if moment is None else to_utc(moment)


def recorded_moment(text: object) -> datetime:
    """The timestamp of a recorded event, in UTC, which is also what one without a zone is in. Raises ValueError."""
    try:
        if not isinstance(text, str):
            raise TypeError
        return to_utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"the timestamp {str(text)[:80]!r} must be text such as 2026-01-31T12:00:00+00:00; "
            "leave it out for the present moment"
        ) from None
