"""dispatcher.wire: what its functions say of a payload is so of every payload that emit makes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import wire
from dispatcher.emit.context import BoundContext
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

    assert wire.encode_json(envelope) == encode(event)
    assert wire.Envelope.__struct_fields__ == Event.__struct_fields__


def test_a_payload_has_its_fields_in_order_and_no_blanks() -> None:
    written = payload(data={"order": 7}, context={"user_id": 42})
    fields = json.loads(written)

    assert list(fields) == ["id", "type", "name", "timestamp", "data", "context"]
    assert written == json.dumps(fields, separators=(",", ":")).encode()


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


@pytest.mark.parametrize("context", [{}, {"user_id": 42, "note": None}])
def test_the_data_ends_just_before_the_context(context: dict[str, Any]) -> None:
    written = payload(data={"order": None}, context=context)
    end = wire.data_end(len(msgspec.json.encode(context)))

    assert written[:end].endswith(b'"data":{"order":null}')
    assert BoundContext((("request", context),)).data_end == end


def test_nan_and_infinity_are_written_as_null() -> None:
    for number in (float("nan"), float("inf"), float("-inf")):
        assert wire.NULL in payload(data={"number": number})
    assert wire.NULL not in payload(data={"number": 1.5})


def test_json_that_an_app_has_encoded_is_put_on_one_line() -> None:
    written = payload(data={"raw": msgspec.Raw(b'{"a":\n [1,\r\n"b c"]}')}, event_id="7")

    assert wire.on_one_line(written) == payload(data={"raw": {"a": [1, "b c"]}}, event_id="7")
    assert wire.on_one_line(payload(event_id="7")) == payload(event_id="7")


def test_fields_that_are_left_out_or_unknown_before_the_data_pass() -> None:
    wire.check_fields(payload())
    wire.check_fields(payload().replace(b'"type":"event",', b""))
    wire.check_fields(payload().replace(b'"data":', b'"later":1,"data":'))


@pytest.mark.parametrize("raw", [b'1},"name":"x","y":{"z":1', b'1},"data":{"z":1', b'1},"later":{"z":1', b"1} {"])
def test_json_that_ends_the_data_early_does_not_pass(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.check_fields(payload(data={"raw": msgspec.Raw(raw)}))


def test_the_rare_byte_is_one_that_json_does_not_escape() -> None:
    assert msgspec.json.encode(chr(wire.RARE_BYTE)) == bytes([0x22, wire.RARE_BYTE, 0x22])
