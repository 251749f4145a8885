"""event-tracking: a backend for ``EVENT_TRACKING_BACKENDS``, so that an Open edX site moves over by its settings alone.

    EVENT_TRACKING_BACKENDS = {"dispatcher": {"ENGINE": "dispatcher.contrib.eventtracking.DispatcherBackend"}}

It needs nothing of event-tracking, whose tracker calls it (https://github.com/openedx/event-tracking, 4.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatcher.event import MAX_NAME_CHARACTERS
from dispatcher.tracker.default import get_tracker

__all__ = ["DispatcherBackend"]


class DispatcherBackend:
    """Hands each event of event-tracking's tracker to dispatcher's, as it is.

    One at the root takes the place of all others: which events go where, and how a line looks, say the settings of the
    destinations. Costs what ``tracker.emit`` costs, also while Redis is away. Safe in threads, and after a fork.

    Args:
        options: ``OPTIONS`` of the setting. None is known, and each raises.

    Raises:
        TypeError: An option was given.
    """

    def __init__(self, **options: Any) -> None:
        if options:
            raise TypeError(
                f"DispatcherBackend takes no OPTIONS, not {', '.join(sorted(options))}: put allowlists and processors "
                "into the settings of dispatcher (docs/how-to/open-edx.md)"
            )

    def send(self, event: Mapping[str, Any]) -> None:
        """Take an event. Does not block.

        Args:
            event: As event-tracking makes it: name, timestamp, data and context. A longer name, such as the path of a
                request, is cut to 255 characters.

        Raises:
            InvalidEventError: Only with ``strict = true``; event-tracking logs it.
            OutboxError: Only with ``strict = true``; event-tracking logs it.
        """
        name, timestamp = event.get("name"), event.get("timestamp")
        if isinstance(name, str) and len(name) > MAX_NAME_CHARACTERS:
            name = name[:MAX_NAME_CHARACTERS]
        get_tracker().submit(
            "event",
            name if isinstance(name, str) else str(name),
            event.get("data"),
            timestamp=timestamp if isinstance(timestamp, datetime) else None,
            context=event.get("context") or {},
        )
