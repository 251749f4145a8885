"""EventReader: what it reads, and what it refuses, is what ``event.decode`` reads and refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest

from dispatcher.event import Event, decode, encode
from dispatcher.tasks.destinations.http.reader import EventReader
from dispatcher.wire import split

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
DATA: tuple[Any, ...] = (
    {},
    {"order": 17, "none": None, "text": 'Grüße, 你好 🎉 \u2028 \x7f "quoted" \\ \n', "deep": [{"a": [1.5e-7, 2**64]}]},
    "order=17&total=12.5",
    [1, None],
    None,
)
PARTS = (
    b'"',
    b"{",
    b"}",
    b",",
    b":",
    b"\\",
    b"\\ud800",
    b'"a":1,',
    b',"type":"event"',
    b',"x":{"y":1}',
    b"\xff",
    b"\0",
)
#: What stands in place of one byte, or of several, by the seed of its place.
SEEDS = range(3_000)


def an_event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": ID,
        "name": "shop.order.paid",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": DATA[1],
        "context": {"user_id": 7, "agent": "größe"},
    }
    return Event(**(fields | changes))


def read(payload: bytes) -> object:
    """The event as text, or "refused"."""
    try:
        return repr(EventReader(shares_contexts=True).read(payload))
    except (ValueError, OverflowError, RecursionError):
        return "refused"


def decoded(payload: bytes) -> object:
    try:
        return repr(decode(payload))
    except (ValueError, OverflowError, RecursionError):
        return "refused"


@pytest.mark.parametrize("data", DATA, ids=repr)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": "7"},
        {"id": "größe"},
        {"name": 'a "name" \\'},
        {"type": "identify"},
        {"timestamp": datetime(2026, 1, 1, tzinfo=UTC)},
        {"context": {}},
    ],
    ids=repr,
)
def test_an_event_is_read_as_it_was_emitted(changes: dict[str, Any], data: Any) -> None:
    event = an_event(data=data, **changes)

    assert EventReader(shares_contexts=True).read(encode(event)) == event
    assert EventReader(shares_contexts=False).read(encode(event)) == event


def test_most_events_go_the_short_way() -> None:
    assert split(encode(an_event())) is not None
    assert split(encode(an_event(timestamp=datetime(2026, 1, 1, tzinfo=UTC)))) is not None


def test_a_damaged_payload_is_read_as_it_is_decoded_or_refused_as_there() -> None:
    different = []
    for seed in SEEDS:
        random = Random(seed)
        payload = bytearray(encode(an_event(data=random.choice(DATA))))
        for _ in range(random.choice((1, 1, 2))):
            at = random.randrange(len(payload))
            payload[at : at + random.choice((0, 1, 1, 8))] = random.choice((random.randbytes(1), random.choice(PARTS)))
        if read(bytes(payload)) != decoded(bytes(payload)):
            different.append((seed, bytes(payload)))

    assert different == []


@pytest.mark.parametrize("raw", [b'1},"name":"x","y":{"z":1', b'1},"data":{"z":1', b'1},"later":{"z":1', b"1} {"])
def test_json_that_ends_the_data_early_is_refused(raw: bytes) -> None:
    assert read(encode(an_event(data={"raw": msgspec.Raw(raw)}))) == "refused"


@pytest.mark.parametrize("text", ["2026-01-01", "2026-W01-1", "2026-11-23T13:50:44+02:00", "0001-01-01T00:00:00+10:00"])
def test_times_of_other_forms_are_read_as_they_are_decoded(text: str) -> None:
    payload = encode(an_event()).replace(b"2026-11-23T13:50:44.123456Z", text.encode())

    assert read(payload) == decoded(payload)


def test_equal_contexts_are_one_dict_where_that_is_wanted() -> None:
    payloads = [encode(an_event()), encode(an_event(data={})), encode(an_event(context={"user_id": 8}))]
    for shares in (True, False):
        reader = EventReader(shares_contexts=shares)
        first, second, other = [reader.read(payload).context for payload in payloads]

        assert first == second != other
        assert (first is second) is shares


def test_a_number_that_no_double_holds_becomes_text() -> None:
    payload = encode(an_event(data={"large": -(10**400)}, context={"large": 10**309}))
    event = EventReader(shares_contexts=True).read(payload)

    assert (event.data, event.context) == ({"large": str(-(10**400))}, {"large": str(10**309)})
