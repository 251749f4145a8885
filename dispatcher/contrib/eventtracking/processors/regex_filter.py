"""Regex filter: lets events through, or holds them back, whose names begin like one of some patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from dispatcher.contrib.eventtracking.exceptions import ImproperlyConfigured
from dispatcher.contrib.eventtracking.processors.exceptions import EventEmissionExit

ALLOWLIST: Final = "allowlist"
BLOCKLIST: Final = "blocklist"


class RegexFilter:
    """Compares the start of an event's name with regular expressions.

    Args:
        filter_type: "allowlist" lets through what matches, "blocklist" what does not.
        regular_expressions: In Python's syntax.

    Raises:
        ImproperlyConfigured: Another ``filter_type``, or a pattern that cannot be compiled. All of these are named.
    """

    leaves_event_alone = True

    def __init__(self, filter_type: str = ALLOWLIST, regular_expressions: Iterable[str] | None = None) -> None:
        if filter_type not in (ALLOWLIST, BLOCKLIST):
            raise ImproperlyConfigured(f'filter_type must be "{ALLOWLIST}" or "{BLOCKLIST}", not {filter_type!r}')
        self.filter_type = filter_type
        self.regular_expressions = frozenset(regular_expressions or ())
        self.compiled_expressions: list[re.Pattern[str]] = []
        wrong = []
        for pattern in self.regular_expressions:
            try:
                self.compiled_expressions.append(re.compile(pattern))
            except re.error as error:
                wrong.append(f"{pattern!r} ({error.msg})")
        if wrong:
            raise ImproperlyConfigured(f"regular_expressions cannot be compiled: {', '.join(sorted(wrong))}")

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event itself.

        Raises:
            EventEmissionExit: It is held back.
        """
        name = event["name"]
        matches = any(pattern.match(name) for pattern in self.compiled_expressions)
        if matches is not (self.filter_type == ALLOWLIST):
            raise EventEmissionExit
        return event
