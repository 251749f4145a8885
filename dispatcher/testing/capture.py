"""Capture: the default tracker's memory twin. Events are encoded as always, so they look as a worker sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dispatcher import tracker
from dispatcher.event import Event, data_fields, decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.testing.assertion import as_emitted, find_emitted


class Captured:
    """What was emitted inside ``capture``. May be looked at while it goes on."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox

    @property
    def events(self) -> list[Event]:
        """All events, oldest first, calls of ``segment.track`` and the like included."""
        return [decode(payload) for payload in list(self._outbox.payloads)]

    @property
    def names(self) -> list[str]:
        """The names of the events, oldest first."""
        return [event.name for event in self.events]

    def named(self, name: str) -> list[Event]:
        """The events of one name, oldest first."""
        return [event for event in self.events if event.name == name]

    def one(self, name: str, /, **data: Any) -> Event:
        """The only event of this name whose data has these values.

        Raises:
            AssertionError: None or several match. The message lists what was emitted instead.
        """
        found = [event for event in self.named(name) if _has(event, as_emitted(data))]
        if len(found) != 1:
            wanted = f"{name!r} with {data!r}" if data else repr(name)
            emitted = "".join(f"\n  {event.name} {event.data}" for event in self.events) or " nothing"
            raise AssertionError(f"wanted one event {wanted}, found {len(found)}; emitted were:{emitted}")
        return found[0]

    def assert_emitted(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        context: Mapping[str, Any] | None = None,
        count: int | None = 1,
    ) -> list[Event]:
        """Check that events of this name were emitted whose data and context hold these values.

        Args:
            name: The event's name.
            data: What the data must hold, as it was given to ``emit``. It may hold more, and so may the dicts inside.
            context: What the context must hold, likewise.
            count: How many there must be; 0 for none, None for one or more.

        Returns:
            These events, oldest first.

        Raises:
            AssertionError: There is another number of them. The message shows where the closest event differs.
        """
        return find_emitted(self.events, name, data or {}, context or {}, count)

    def clear(self) -> None:
        """Forget what was emitted so far."""
        self._outbox.payloads.clear()


def _has(event: Event, data: dict[str, Any]) -> bool:
    values = data_fields(event)
    return all(values.get(key, ...) == value for key, value in data.items())


@contextmanager
def capture(*, strict: bool = True) -> Iterator[Captured]:
    """Have the default tracker emit into memory for the length of a with block.

    Args:
        strict: Raise for an event that cannot be taken, rather than keep it as a dead letter.
    """
    outbox = MemoryOutbox()
    twin = tracker.Tracker(outbox=outbox, strict=strict)
    before = tracker.set_tracker(twin)
    try:
        yield Captured(outbox)
    finally:
        tracker.set_tracker(before)
