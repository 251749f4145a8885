"""Times on the command line and in files of events: in UTC unless they have a zone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import click

from dispatcher.event import to_utc

#: The formats of ``--since`` and ``--until``.
TIMESTAMP: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s?([smhd]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m, h or d behind it: 90, 30m, 2h. More than nothing."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds. Fails with what to write instead."""
        found = _DURATION.fullmatch(str(value).strip().lower())
        seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
        if seconds <= 0:
            self.fail(f"{str(value)[:40]!r} must be a time such as 90s, 30m, 2h or 1d", param, ctx)
        return seconds


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
