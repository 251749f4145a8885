"""Preview: what destinations would do with an event, told by the very code that delivers. Nothing is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from dispatcher.destinations.build import build
from dispatcher.outcomes import TOO_OLD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config import DestinationSettings
    from dispatcher.destinations.base import BaseDestination, Options
    from dispatcher.event import Event


class Previewer:
    """Makes each destination at its first event and keeps it until closed. One thread at a time.

    Args:
        destinations: Their tables, by name. They have been checked by ``check_options``.
    """

    def __init__(self, destinations: Mapping[str, DestinationSettings]) -> None:
        self._tables = destinations
        self._built: dict[str, BaseDestination[Options]] = {}

    def preview(self, name: str, event: Event) -> dict[str, Any]:
        """What would become of an event at the destination of this name, credentials masked.

        Returns:
            ``{"request": …}``, ``{"line": …}``, or ``{"id": …, "calls": …}`` for a browser; where it would not be
            delivered, ``{"outcome": …, "reason": …}``; nothing for a type that does not say. With ``missing`` where the
            settings lack something, so that it would wait. What is only too old has, as ``if_now``, what would become
            of it if it happened now.
        """
        destination = self._destination(name)
        shown = destination.preview(event)
        if shown.get("reason") == TOO_OLD:
            # An event that was recorded long ago is previewed for its contents, of which its age says nothing.
            shown["if_now"] = destination.preview(replace(event, timestamp=datetime.now(UTC)))
        return shown

    def missing_settings(self, name: str) -> str | None:
        """What the settings of this destination lack for anything to be sent, for a person; None for nothing."""
        return self._destination(name).missing_settings()

    def _destination(self, name: str) -> BaseDestination[Options]:
        if name not in self._built:
            self._built[name] = build(name, self._tables[name])
        return self._built[name]

    def close(self) -> None:
        """Close the destinations. May be called twice."""
        while self._built:
            self._built.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
