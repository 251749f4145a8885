"""Dispatcher backend: hands events of event-tracking's tracker, or of the drop-in's, to dispatcher.

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

    leaves_event_alone = True

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
        timestamp = event.get("timestamp")
        get_tracker().submit(
            "event",
            _to_name(event.get("name")),
            event.get("data"),
            timestamp=timestamp if isinstance(timestamp, datetime) else None,
            context=event.get("context") or {},
        )

    @staticmethod
    def emit(name: Any, data: Any) -> None:
        """Take an event that happens now, with the context that is bound here. Raises as ``send``, and is faster.

        Args:
            name: As in ``send``.
            data: As in ``send``.
        """
        get_tracker().emit(_to_name(name), data or None)


def _to_name(name: Any) -> str:
    text = name if isinstance(name, str) else str(name)
    return text if len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS]
