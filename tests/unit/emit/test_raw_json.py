"""JSON that an app puts into its data unread, as msgspec.Raw, cannot pass for anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from dispatcher import config
from dispatcher.edx_log.render import DECODING_ERRORS, Format, renderer
from dispatcher.emit.context import BoundContext
from dispatcher.event import Event, decode
from dispatcher.relay.batching import Batcher, BatchLimits
from dispatcher.routing import Router
from dispatcher.wire import Envelope, encode_json

NAME: Final = "shop.order.paid"
ID: Final = "01900000-0000-7000-8000-000000000000"
CONTEXT: Final = {"user_id": 7, "username": "ann"}
WHEN: Final = datetime(2026, 11, 28, 12, 0, 0, 123456, UTC)

FORGED: Final = (
    b'1},"name":"admin","x":{"y":1',
    b'1},"context":{"user_id":1},"x":{"y":1',
    b'1},"data":{"total":0',
    b'1}, "x": {"y": 1',
    b'1},"x":{"y":1',
    b'1},"id":"2","timestamp":"2001-01-01T00:00:00Z","x":{"y":1e16',
    b'1},"\\u006eame":"admin","x":{"y":1',
    b'1},"context":{"user_id":1}}\n{"name":"admin","data":{"y":1',
    b'1},"timestamp":"2026-11-28T12:00:00.000000Z","data":{"y":1e16',
)
UNTIDY: Final = (b'{"a":\n1}', b"[1,\r\n 2]", b'{ "a" : 1e16 }', b"1\n", '"\u2028"'.encode())


def payload(raw: bytes, context: dict[str, Any] | None = None) -> bytes:
    """As emit encodes an event whose data has ``raw`` between two values of its own."""
    bound = BoundContext((("request", CONTEXT if context is None else context),))
    assert bound.json is not None
    data = {"before": 1, "raw": Raw(raw), "total": 12.5}
    return encode_json(Envelope(ID, "event", NAME, WHEN, data, bound.json))


def rendered(render: Callable[[bytes], bytes], found: bytes) -> bytes | None:
    try:
        return render(found)
    except DECODING_ERRORS:
        return None


def shown(line: bytes) -> dict[str, Any]:
    """The line's event, behind Tutor's prefix if there is one."""
    assert b"\n" not in line
    shown: dict[str, Any] = json.loads(line[line.index(b"{") :])
    return shown


@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
@pytest.mark.parametrize("warm", [True, False], ids=["after others", "first"])
@pytest.mark.parametrize("raw", FORGED)
def test_json_that_ends_the_data_early_becomes_no_line(raw: bytes, warm: bool, line_format: Format) -> None:
    render = renderer(line_format)
    good = render(payload(b"1")) if warm else b""
    assert rendered(render, payload(raw)) is None
    # What is remembered of it makes no difference to the others.
    assert render(payload(b"1")) == (good or renderer(line_format)(payload(b"1")))


@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
@pytest.mark.parametrize("warm", [True, False], ids=["after others", "first"])
@pytest.mark.parametrize("raw", UNTIDY)
def test_json_with_blanks_and_line_breaks_becomes_one_line(raw: bytes, warm: bool, line_format: Format) -> None:
    render = renderer(line_format)
    if warm:
        render(payload(b"1"))
    found = shown(render(payload(raw)))
    data = found["data"] if line_format == "event" else found["event"]
    assert data == {"before": 1, "raw": json.loads(raw), "total": 12.5}
    assert (found["name"], found["context"]["user_id"]) == (NAME, 7)


@given(
    raw=st.binary(max_size=60) | st.text('{}[]",:\\ \nnamedtcox1eE.-', max_size=60).map(str.encode), warm=st.booleans()
)
@example(raw=b'"\xff"', warm=True)
@example(raw=b'"\n"', warm=True)
@example(raw=b"1\0", warm=False)
def test_raw_json_makes_one_line_with_the_right_name_or_none(raw: bytes, warm: bool) -> None:
    for line_format in ("edx", "tutor", "event"):
        render = renderer(line_format)  # type: ignore[arg-type]
        if warm:
            render(payload(b"1"))
        line = rendered(render, payload(raw))
        if line is not None:
            found = shown(line)
            data = found["data"] if line_format == "event" else found["event"]
            assert (found["name"], data["total"], found["context"]["user_id"]) == (NAME, 12.5, 7)


@pytest.mark.parametrize("raw", [*FORGED, b"1} {"])
def test_an_event_whose_data_ends_early_cannot_be_decoded(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(payload(raw))


@pytest.mark.parametrize("raw", UNTIDY)
def test_an_event_with_blanks_and_line_breaks_is_decoded(raw: bytes) -> None:
    event: Event = decode(payload(raw))
    assert event.data["raw"] == json.loads(raw)


@pytest.mark.parametrize("raw", [b'1},"name":"admin","x":{"y":1', b'1},"data":{},"x":{"y":1'])
def test_json_cannot_end_the_context_early_either(raw: bytes) -> None:
    found = payload(b"1", {"client": Raw(raw), "user_id": 7})
    assert rendered(renderer("edx"), found) is None
    with pytest.raises(msgspec.DecodeError):
        decode(found)


@pytest.mark.parametrize("raw", FORGED)
def test_an_event_with_a_forged_name_teaches_the_cache_no_route(raw: bytes) -> None:
    site = config.load({}, {"destinations": {"segment": {"events": ["shop.*"]}}})
    limits = BatchLimits(events=10, bytes=10_000)
    batcher = Batcher(Router(site), {"tracking_log": limits, "segment": limits})
    journal_range = batcher.open_range("7-a", 0)
    journal_range.add([payload(raw), payload(b"1")], [1, 2])
    journal_range.close()
    puts = {put.destination: put for put in journal_range.puts}
    assert (puts["segment"].count, puts["segment"].example) == (1, NAME)
    assert [letter.reason for put in puts.values() for letter in put.dead] == ["undecodable"]
