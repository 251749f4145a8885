"""An id is remembered as that of its source, with the place where its event is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dispatcher.event import Event, encode
from dispatcher.store.event_ids import SOURCE_KEY, fingerprints

ID_BYTES = 10


def payload(event_id: str, source: str | None = "web", **context: str) -> bytes:
    context |= {} if source is None else {SOURCE_KEY: source}
    return encode(
        Event(id=event_id, name="a", timestamp=datetime(2026, 1, 2, tzinfo=UTC), data={}, context={**context})
    )


def fingerprint(event: bytes, journal: str = "7-a", end: int = 64) -> bytes:
    [one] = fingerprints(journal, [event], [end])
    return one


def test_ids_are_those_of_their_source() -> None:
    same = fingerprint(payload("x"))
    assert fingerprint(payload("x", user_id="7", page="https://example.org/")) == same
    others = [payload("y"), payload("x", "app"), payload("x", None), payload("xweb", None), payload('x","type":"')]
    assert len({fingerprint(other)[:ID_BYTES] for other in [payload("x"), *others]}) == 6


def test_a_client_cannot_pass_for_another_source() -> None:
    forged = payload("x", "web", page='"collector_source":"app"}}')
    assert fingerprint(forged)[:ID_BYTES] == fingerprint(payload("x", "web"))[:ID_BYTES]


@pytest.mark.parametrize("event_id", ["x", "é🙂", 'a"b\\c', "9" * 100])
def test_every_place_is_its_own(event_id: str) -> None:
    event = payload(event_id)
    places = {fingerprint(event, journal, end)[ID_BYTES:] for journal in ("7-a", "7-b") for end in (8, 16, 1 << 40)}
    assert len(places) == 6
    assert len({fingerprint(event, "7-a", end)[:ID_BYTES] for end in (8, 16)}) == 1
