"""dispatcher.wire: what its functions say of a payload is so of every payload that emit makes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import wire
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, decode, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=3)


def payload(name: str = "shop.order.paid", data: Any = None, context: Any = None, event_id: str | None = None) -> bytes:
    event_id = IdSource().new() if event_id is None else event_id
    when = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    return encode(Event(id=event_id, name=name, timestamp=when, data=data or {}, context=context or {}))


def test_an_envelope_is_encoded_as_the_event_that_it_stands_for() -> None:
    event = decode(payload(data={"order": 7}, context={"user_id": 42}))
    context = msgspec.Raw(msgspec.json.encode(event.context))

    envelope = wire.Envelope(event.id, event.type, event.name, event.timestamp, event.data, context)

    assert wire.encode_envelope(envelope) == encode(event)
    assert wire.Envelope.__struct_fields__ == Event.__struct_fields__


@given(name=st.text(min_size=1), data=OBJECTS, context=OBJECTS)
def test_the_fields_stand_where_the_constants_say(name: str, data: Any, context: Any) -> None:
    made = payload(name, data, context)

    assert made[7 : wire.ID_END].decode() == decode(made).id
    head = wire.encode_head(msgspec.json.encode(name))
    assert made.startswith(head, wire.ID_END)
    at = wire.ID_END + len(head) + wire.TIMESTAMP_BYTES
    assert made[at - wire.TIMESTAMP_BYTES : at] == b"2026-01-02T03:04:05.000678Z"
    assert made.startswith(wire.BEFORE_DATA, at)
    assert made.endswith(wire.BEFORE_CONTEXT + msgspec.json.encode(context) + wire.AFTER_CONTEXT)


@given(name=st.text(min_size=1), data=OBJECTS, context=OBJECTS)
def test_a_payload_has_no_line_break_and_does_not_end_in_zero(name: str, data: Any, context: Any) -> None:
    made = payload(name, data, context)

    assert b"\n" not in made
    assert b"\r" not in made
    assert b"\0" not in made
    assert wire.trim(made + bytes(64)) == made


def test_the_head_tells_type_and_name_behind_an_id_of_ours_only() -> None:
    made = payload("shop.order.paid")

    assert wire.head(made) == b'","type":"event","name":"shop.order.paid'
    assert wire.is_head(wire.head(made))
    assert wire.head(made) == wire.head(payload("shop.order.paid", {"other": "data"}))
    assert not wire.is_head(wire.head(payload("shop.order.paid", event_id="of-another-length")))


@pytest.mark.parametrize("replacement", [{}, {"user_id": 7}, {"text": '"}'}])
def test_a_context_is_replaced_and_nothing_else(replacement: dict[str, Any]) -> None:
    made = payload(data={"order": 7}, context={"user_id": 42})

    replaced = wire.replace_context(made, b'{"user_id":42}', msgspec.json.encode(replacement))

    assert replaced is not None
    assert decode(replaced) == msgspec.structs.replace(decode(made), context=replacement)
    assert wire.replace_context(made, b'{"user_id":43}', b"{}") is None


def test_the_rare_byte_is_one_that_json_does_not_escape() -> None:
    assert msgspec.json.encode(chr(wire.RARE_BYTE)) == bytes([0x22, wire.RARE_BYTE, 0x22])
