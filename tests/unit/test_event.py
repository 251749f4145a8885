"""The envelope: what is on the wire, and what is read back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.event import DIRECT_TYPES, Event, EventType, decode, encode, to_utc

MOMENT = datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC)
WIRE = (
    b'{"id":"018f-1","type":"event","name":"shop.order.paid","timestamp":"2026-11-23T13:50:44.123456Z",'
    b'"data":{"order":17},"context":{"user_id":7}}'
)

# What JSON can say and Python reads back as it was: integers of 64 bits, and no surrogates.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def an_event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": "018f-1",
        "name": "shop.order.paid",
        "timestamp": MOMENT,
        "data": {"order": 17},
        "context": {"user_id": 7},
    }
    return Event(**{**fields, **changes})


def test_the_wire_has_the_fields_in_the_order_that_the_relay_reads() -> None:
    assert encode(an_event()) == WIRE


def test_an_encoded_event_is_decoded_to_the_same() -> None:
    assert decode(WIRE) == an_event()
    assert decode(WIRE).timestamp.tzinfo is UTC


@given(data=JSON, context=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_any_json_is_decoded_unchanged(data: object, context: dict[str, Any]) -> None:
    event = an_event(data=data, context=context)
    payload = encode(event)
    assert decode(payload) == event
    assert b"\n" not in payload
    assert json.loads(payload)["data"] == data


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-23T13:50:44Z", datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)),
        ("2026-11-23T15:50:44+02:00", datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)),
        ("2026-11-23T13:50:44", datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)),
    ],
)
def test_a_decoded_timestamp_is_in_utc(written: str, moment: datetime) -> None:
    timestamp = decode(WIRE.replace(b"2026-11-23T13:50:44.123456Z", written.encode())).timestamp
    assert timestamp == moment
    assert timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        WIRE[:-1],
        WIRE.replace(b'"id":"018f-1",', b""),
        WIRE.replace(b'"type":"event"', b'"type":"evnt"'),
        WIRE.replace(b'"id":"018f-1"', b'"id":7'),
        WIRE.replace(b'"context":{"user_id":7}', b'"context":[]'),
        WIRE.replace(b"13:50", b"25:50"),
        WIRE.replace(b"order", b"\xff\xfe"),
        WIRE.replace(b"2026-11-23T13:50:44.123456Z", b"0001-01-01T00:00:00+14:00"),
    ],
    ids=lambda payload: payload[:60].decode(errors="replace") or "empty",
)
def test_anything_but_an_event_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(payload)


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert decode(WIRE.replace(b'{"id"', b'{"later":1,"id"', 1)) == an_event()


def test_an_event_is_a_value() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        an_event().name = "shop.order.lost"  # type: ignore[misc]
    assert an_event() == an_event()
    assert an_event() != an_event(name="shop.order.lost")


def test_the_default_type_is_a_plain_event() -> None:
    assert an_event().type == "event"


def test_the_direct_types_are_segments_own_calls() -> None:
    assert set(get_args(EventType)) - {"event", "dead", "dropped"} == DIRECT_TYPES


class Text(str):
    """As Django's SafeString is."""

    def __str__(self) -> str:
        return "not this one"


class Whole(int):
    """As an enumeration of somebody's own may be."""


class Real(float):
    """As numpy's float64 is."""


def test_subclasses_of_text_and_numbers_are_encoded_as_such() -> None:
    event = an_event(data={"a": Text("x"), "b": Whole(2), "c": [Real(1.5)], Text("d"): Text("")})
    assert decode(encode(event)).data == {"a": "x", "b": 2, "c": [1.5], "d": ""}


def test_a_timestamp_with_an_offset_is_written_with_it_and_read_as_utc() -> None:
    event = an_event(timestamp=MOMENT.astimezone(timezone(timedelta(hours=-5))))
    assert b"-05:00" in encode(event)
    assert decode(encode(event)) == an_event()


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=5))])
def test_a_time_without_a_zone_is_taken_for_utc(zone: timezone | None) -> None:
    hours = 5 if zone not in (None, UTC) else 0
    found = to_utc(MOMENT.replace(tzinfo=zone))
    assert found == MOMENT - timedelta(hours=hours)
    assert found.tzinfo is UTC


def test_a_time_that_utc_has_no_year_for_raises() -> None:
    with pytest.raises(OverflowError):
        to_utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
