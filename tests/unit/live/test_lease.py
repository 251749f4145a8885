"""What a viewer wants, and which part of it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.event import Event
from dispatcher.live.lease import Lease, decode_lease, encode_lease


def an_event(**fields: Any) -> Event:
    given = {"id": "an-id", "name": "shop.order.paid", "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "data": {}}
    return Event(**{**given, "context": {}, **fields})


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        ({}, True),
        ({"name": "shop.order.paid"}, True),
        ({"name": "shop.*"}, True),
        ({"name": "shop.order.p?id"}, True),
        ({"name": "shop.[o]rder.paid"}, False),
        ({"name": "order"}, False),
        ({"event_id": "an-id"}, True),
        ({"event_id": "another"}, False),
        ({"user": "7"}, True),
        ({"user": "ada"}, True),
        ({"user": "8"}, False),
        ({"user": "7", "name": "page.*"}, False),
    ],
)
def test_a_lease_wants_what_it_names(wanted: dict[str, str], is_wanted: bool) -> None:
    event = an_event(context={"user_id": 7}, data={"username": "ada"})
    assert Lease(id="v", **wanted).wants(event) is is_wanted  # type: ignore[arg-type]


def test_data_that_is_no_object_names_no_user() -> None:
    assert not Lease(id="v", user="7").wants(an_event(data="user_id=7"))


def test_a_fraction_is_the_same_events_for_everybody_and_about_as_many_as_it_says() -> None:
    ids = [f"01a2273b-ab80-7a69-8f3a-{n:012x}" for n in range(10_000)]
    part = [one for one in ids if Lease(id="a", fraction=0.2).samples(one)]
    assert part == [one for one in ids if Lease(id="b", name="x", fraction=0.2).samples(one)]
    assert 1_500 < len(part) < 2_500
    assert all(Lease(id="a").samples(one) for one in ids)
    assert set(part) > {one for one in ids if Lease(id="a", fraction=0.1).samples(one)}


def test_a_lease_is_read_as_it_was_written_and_another_versions_is_left_out() -> None:
    lease = Lease(id="v", name="shop.*", fraction=0.25)
    assert decode_lease(encode_lease(lease)) == lease
    assert decode_lease(b"not json") is None
    assert decode_lease(b'{"id": 7}') is None
