"""PerContext: a value is made once for a context, and never taken for that of another one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dispatcher.event import Event
from dispatcher.tasks.destinations.http.per_context import PerContext


def an_event(context: dict[str, Any]) -> Event:
    return Event(id="7", name="shop.paid", timestamp=datetime(2026, 1, 1, tzinfo=UTC), data={}, context=context)


def test_a_value_is_made_once_for_each_context_however_many_there_are() -> None:
    made: list[Any] = []

    def make(event: Event) -> int:
        made.append(event.context["user_id"])
        return int(event.context["user_id"])

    per_context = PerContext(make)
    for number in range(1_000):
        context = {"user_id": number}  # most get the place in memory of one that is gone
        assert [per_context.of(an_event(context)) for _ in range(4)] == [number] * 4

    assert made == list(range(1_000))


def test_contexts_of_interleaved_requests_are_both_known() -> None:
    made: list[Any] = []
    per_context = PerContext(lambda event: made.append(event.context))
    one, other = {"user_id": 1}, {"user_id": 2}
    for _ in range(5):
        per_context.of(an_event(one))
        per_context.of(an_event(other))

    assert made == [one, other]
