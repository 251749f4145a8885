"""A copy of an event shares nothing that can be changed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from dispatcher.contrib.eventtracking.event_copy import copy_event


def test_lists_and_dicts_are_copied_and_values_are_kept() -> None:
    event = {
        "name": "a",
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "data": {"list": [1, None, {"set": {1}}], 7: (1, [2])},
    }
    copied = copy_event(event)
    assert copied == event
    assert copied["data"]["list"][2]["set"] is not event["data"]["list"][2]["set"]  # type: ignore[index]
    assert copied["data"][7][1] is not event["data"][7][1]  # type: ignore[index]


def test_what_cannot_be_copied_is_shared() -> None:
    lock = threading.Lock()
    event = {"data": {"lock": lock, "list": [1]}}
    copied = copy_event(event)
    assert copied == event
    assert copied["data"]["list"] is not event["data"]["list"]


def test_a_cycle_is_copied_as_one() -> None:
    event: dict[str, object] = {"name": "a"}
    event["self"] = event
    copied = copy_event(event)
    assert copied is not event
    assert copied["self"] is copied
