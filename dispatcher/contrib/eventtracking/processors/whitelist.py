"""Whitelist: lets events of some names through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dispatcher.contrib.eventtracking.processors.exceptions import EventEmissionExit
from dispatcher.secrecy.foreign_error import type_name


class NameWhitelistProcessor:
    """Lets events through whose name is listed.

    Args:
        whitelist: The names.
        options: Others are ignored, as event-tracking does.

    Raises:
        TypeError: ``whitelist`` is missing, a text, or nothing that can be listed.
    """

    leaves_event_alone = True

    def __init__(self, whitelist: Iterable[str] | None = None, **options: Any) -> None:
        if whitelist is None or isinstance(whitelist, str) or not isinstance(whitelist, Iterable):
            raise TypeError(
                "The NameWhitelistProcessor must be passed its names as whitelist, a list of texts, "
                f"not {type_name(whitelist)}"
            )
        self.whitelist = frozenset(whitelist)

    def __call__(self, event: Any) -> Any:
        """The event itself; of a list of events those whose names are listed.

        Raises:
            EventEmissionExit: The name is not listed.
        """
        if isinstance(event, list):
            return [one for one in event if one["name"] in self.whitelist]
        if event["name"] not in self.whitelist:
            raise EventEmissionExit
        return event
