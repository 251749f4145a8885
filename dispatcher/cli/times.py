"""Times on the command line: days and moments, in UTC unless they say otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

#: What ``--since`` and ``--until`` take.
MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def utc(moment: datetime | None) -> datetime | None:
    """The moment as an aware one in UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
