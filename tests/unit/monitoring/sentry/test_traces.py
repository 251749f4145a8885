"""The trace of a request in its events: bound once, removed before a destination sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.event import Event, encode
from dispatcher.monitoring.sentry.traces import KEY, Trace, remove_traces, trace_context

TRACE = Trace("0123456789abcdef" * 2 + "-" + "0123456789abcdef" + "-1", "sentry-sampled=true,sentry-release=shop%401")
BOUND = {KEY: f"{TRACE.parent} {TRACE.baggage}"}


def payload(context: dict[str, Any], data: Any = None) -> bytes:
    moment = datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)
    return encode(Event(id="1", name="shop.order.paid", timestamp=moment, data=data or {}, context=context))


@pytest.mark.parametrize(
    ("bound", "left"),
    [
        (BOUND, {}),
        ({**BOUND, "user_id": 7}, {"user_id": 7}),
        ({"user_id": 7, **BOUND}, {"user_id": 7}),
        ({"user_id": 7, **BOUND, "ip": ""}, {"user_id": 7, "ip": ""}),
    ],
    ids=["alone", "first", "last", "in the middle"],
)
def test_removing_a_trace_leaves_the_payload_as_it_was_without_one(bound: dict[str, Any], left: dict[str, Any]) -> None:
    assert remove_traces([payload(bound)]) == ((payload(left),), (TRACE,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(context=st.dictionaries(st.text(), JSON, max_size=4), data=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_payload_without_a_trace_is_not_changed(context: dict[str, Any], data: dict[str, Any]) -> None:
    untouched = payload(context, data)

    assert remove_traces([untouched]) == ((untouched,), ())


@settings(max_examples=25, deadline=None)
@given(context=st.dictionaries(st.text(), JSON, max_size=4), data=st.dictionaries(st.text(), JSON, max_size=4))
def test_everything_beside_a_trace_stays_byte_for_byte(context: dict[str, Any], data: dict[str, Any]) -> None:
    assert remove_traces([payload({**context, **BOUND}, data)]) == ((payload(context, data),), (TRACE,))


def test_text_that_looks_like_a_trace_stays_in_the_data() -> None:
    text = msgspec.json.encode(BOUND).decode()
    data = {"typed": text, "rare": "\x7f"}

    assert remove_traces([payload({"note": text}, data)]) == ((payload({"note": text}, data),), ())


@pytest.mark.parametrize(
    "data",
    [BOUND, {"context": BOUND}, {"typed": BOUND, "rest": 1}],
    ids=["as it stands there", "in what looks like a context", "further inside"],
)
def test_the_data_may_have_the_very_same_key(data: dict[str, Any]) -> None:
    assert remove_traces([payload({}, data)]) == ((payload({}, data),), ())
    assert remove_traces([payload(BOUND, data)]) == ((payload({}, data),), (TRACE,))


def test_the_key_deeper_in_the_context_is_not_a_trace() -> None:
    assert remove_traces([payload({"a": BOUND})]) == ((payload({"a": BOUND}),), ())


def test_a_context_with_blanks_keeps_its_other_members() -> None:
    text = payload({}).replace(b'"context":{}', b'"context":{ "a": 1, %b , "b": 2 }' % msgspec.json.encode(BOUND)[1:-1])

    (clean,), traces = remove_traces([text])

    assert traces == (TRACE,)
    assert msgspec.json.decode(clean)["context"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("junk", [b"", b"\0", b"{", b'{"context":1}', b'{"context":[{}]}', b'{"context":{"a":"\xff"}}'])
def test_bytes_that_are_not_an_event_are_not_changed(junk: bytes) -> None:
    text = junk + f'"{KEY}"'.encode()

    assert remove_traces([text]) == ((text,), ())


def test_each_trace_of_a_batch_is_found_once() -> None:
    other = {KEY: BOUND[KEY].replace("0123", "3210")}

    clean, traces = remove_traces([payload(BOUND), payload({}), payload(BOUND), payload(other)])

    assert clean == (payload({}),) * 4
    assert [trace.parent[:4] for trace in traces] == ["0123", "3210"]


def test_trace_context_is_empty_without_sentry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "sentry_sdk", raising=False)

    assert trace_context() == {}
