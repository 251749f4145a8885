"""Age: vendors that take recent events only are not sent older ones, which they would drop without a word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.outcomes import FROM_THE_FUTURE, TOO_OLD

if TYPE_CHECKING:
    from datetime import timedelta

    from dispatcher.event import Event


def check_age(event: Event, *, max_age: timedelta, max_ahead: timedelta | None = None) -> None:
    """Leave an event out whose time its vendor does not take.

    Args:
        event: The event.
        max_age: How old it may be now.
        max_ahead: How far its time may lie in the future; None for any.

    Raises:
        DropEvent: It is older: ``too_old``.
        UndeliverableError: Its time is further ahead: ``from_the_future``.
    """
    age = datetime.now(UTC) - event.timestamp
    if age > max_age:
        raise DropEvent(TOO_OLD)
    if max_ahead is not None and -age > max_ahead:
        raise UndeliverableError(
            FROM_THE_FUTURE,
            f"event {event.id} is of {event.timestamp:%Y-%m-%d %H:%M} UTC, which is yet to come: set the clock of the "
            "machine that it came from, and replay it then",
        )
