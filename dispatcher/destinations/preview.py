"""Preview: what destinations would do with an event, told by the very code that delivers. Nothing is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec.structs import replace

from dispatcher.config import load_type
from dispatcher.rules.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dispatcher.config import DestinationSettings
    from dispatcher.event import Event

# The reason of destinations whose vendors take no event of long ago.
_TOO_OLD: Final = "too_old"


class Previewer:
    """Makes each destination at its first event and keeps it until closed. One thread at a time.

    Args:
        destinations: Their tables, by name. They have been looked at by ``check_options``.
    """

    def __init__(self, destinations: Mapping[str, DestinationSettings]) -> None:
        self._tables = destinations
        self._built: dict[str, Any] = {}

    def preview(self, name: str, event: Event) -> dict[str, Any]:
        """What would become of an event at the destination of this name, credentials masked.

        Returns:
            ``{"request": …}``, ``{"line": …}``, or ``{"id": …, "calls": …}`` for a browser; where it would not be
            delivered, ``{"outcome": …, "reason": …}``; nothing for a type that does not say. With ``missing`` where the
            settings lack something, so that it would wait. What is only too old has, as ``if_now``, what would become
            of it if it happened now.
        """
        said: dict[str, Any] = self._destination(name).preview(event)
        if said.get("reason") == _TOO_OLD:
            # What was recorded long ago is looked at for what is in it: its age says nothing of that.
            said |= {"if_now": self._destination(name).preview(replace(event, timestamp=datetime.now(UTC)))}
        return said

    def missing(self, name: str) -> str | None:
        """What the settings of this destination lack for anything to be sent, for a person; None for nothing."""
        missing: Callable[[], str | None] = getattr(self._destination(name), "missing", lambda: None)
        return missing()

    def _destination(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name, self._tables[name])
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


def _build(name: str, table: DestinationSettings) -> Any:
    kind = load_type(table.type)
    rules = Rules.of(table, integration=kind.integration, advertising=kind.advertising)
    return kind(name, kind.Options.model_validate(table.options), rules=rules)
