"""Logger: events as lines of JSON through Python's logging, in the calling thread, as event-tracking writes them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime
from typing import Any, Final

from dispatcher.secrecy.safe_text import one_line

#: Characters of an event, unless told otherwise: as much as dispatcher's own limit. event-tracking's is 1024.
MAX_EVENT_SIZE: Final = 1 << 20

_own_log: Final = logging.getLogger(__name__)


class LoggerBackend:
    """Logs each event. Blocks as long as the logger's handlers do; safe in threads if they are.

    Args:
        name: Of the logger; the root one, if not given.
        max_event_size: Characters; a longer event is left out, with a warning. None for no limit.
        level: A method of a logger, in any case.
    """

    leaves_event_alone = True

    def __init__(self, **kwargs: Any) -> None:
        self.max_event_size = kwargs.get("max_event_size", MAX_EVENT_SIZE)
        self.event_logger = logging.getLogger(kwargs.get("name"))
        self.log = getattr(self.event_logger, kwargs.get("level", "info").lower())

    def send(self, event: Any) -> None:
        """Log an event. Raises TypeError if a value has no JSON form."""
        line = json.dumps(event, cls=DateTimeJSONEncoder)
        if self.max_event_size is None or len(line) <= self.max_event_size:
            self.log(line)
            return
        _own_log.warning(
            "the event %s has %d characters and is not logged: raise max_event_size (%d), or send a reference to the "
            "large value",
            one_line(str(event.get("name")), 80),
            len(line),
            self.max_event_size,
        )


class DateTimeJSONEncoder(json.JSONEncoder):
    """JSON with dates, and with times in UTC, in ISO 8601. A time without a zone is taken for UTC."""

    def default(self, o: Any) -> Any:
        if isinstance(o, datetime):
            return (o.replace(tzinfo=UTC) if o.tzinfo is None else o.astimezone(UTC)).isoformat()
        return o.isoformat() if isinstance(o, date) else super().default(o)
