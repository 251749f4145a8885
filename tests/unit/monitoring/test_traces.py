"""The trace of a request in its events: bound once, removed before a destination sees it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.event import Event, encode
from dispatcher.monitoring import otel, sentry
from dispatcher.monitoring.otel.traceparent import KEY as PARENT_KEY
from dispatcher.monitoring.otel.traceparent import Parent
from dispatcher.monitoring.sentry.traces import KEY, Trace
from dispatcher.monitoring.traces import Untraced, remove_traces

TRACE = Trace("0123456789abcdef" * 2 + "-" + "0123456789abcdef" + "-1", "sentry-sampled=true,sentry-release=shop%401")
BOUND = {KEY: f"{TRACE.parent} {TRACE.baggage}"}
PARENT = Parent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
BOUND_PARENT = {PARENT_KEY: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


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
    assert remove_traces([payload(bound)]) == Untraced((payload(left),), (TRACE,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(context=st.dictionaries(st.text(), JSON, max_size=4), data=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_payload_without_a_trace_is_not_changed(context: dict[str, Any], data: dict[str, Any]) -> None:
    untouched = payload(context, data)

    assert remove_traces([untouched]) == Untraced((untouched,))


@settings(max_examples=25, deadline=None)
@given(context=st.dictionaries(st.text(), JSON, max_size=4), data=st.dictionaries(st.text(), JSON, max_size=4))
def test_everything_beside_a_trace_stays_byte_for_byte(context: dict[str, Any], data: dict[str, Any]) -> None:
    assert remove_traces([payload({**context, **BOUND}, data)]) == Untraced((payload(context, data),), (TRACE,))
    both = remove_traces([payload({**context, **BOUND_PARENT}, data), payload({**BOUND_PARENT, **context}, data)])
    assert both == Untraced((payload(context, data),) * 2, (), (PARENT,))


def test_text_that_looks_like_a_trace_stays_in_the_data() -> None:
    text = msgspec.json.encode(BOUND).decode()
    data = {"typed": text, "rare": "\x7f"}

    assert remove_traces([payload({"note": text}, data)]) == Untraced((payload({"note": text}, data),))


@pytest.mark.parametrize(
    "data",
    [BOUND, {"context": BOUND}, {"typed": BOUND, "rest": 1}, BOUND_PARENT, {"context": BOUND_PARENT}],
    ids=["as it stands there", "in what looks like a context", "further inside", "OpenTelemetry's", "and inside"],
)
def test_the_data_may_have_the_very_same_key(data: dict[str, Any]) -> None:
    assert remove_traces([payload({}, data)]) == Untraced((payload({}, data),))
    assert remove_traces([payload(BOUND, data)]) == Untraced((payload({}, data),), (TRACE,))


@pytest.mark.parametrize("bound", [BOUND, BOUND_PARENT], ids=["sentry", "otel"])
def test_the_key_deeper_in_the_context_is_not_a_trace(bound: dict[str, str]) -> None:
    text = msgspec.json.encode(bound).decode()
    for context in ({"a": bound}, {"a": [bound]}, {"a": text}, {"a": text[1:-1]}, {"a": f",{text[1:-2]}"}):
        assert remove_traces([payload(context)]) == Untraced((payload(context),))


def test_a_context_with_blanks_keeps_its_other_members() -> None:
    text = payload({}).replace(b'"context":{}', b'"context":{ "a": 1, %b , "b": 2 }' % msgspec.json.encode(BOUND)[1:-1])

    (clean,), traces, _ = remove_traces([text])

    assert traces == (TRACE,)
    assert msgspec.json.decode(clean)["context"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("junk", [b"", b"\0", b"{", b'{"context":1}', b'{"context":[{}]}', b'{"context":{"a":"\xff"}}'])
def test_bytes_that_are_not_an_event_are_not_changed(junk: bytes) -> None:
    text = junk + f'"{KEY}"'.encode()

    assert remove_traces([text]) == Untraced((text,))


def test_each_trace_of_a_batch_is_found_once() -> None:
    other = {KEY: BOUND[KEY].replace("0123", "3210")}

    clean, traces, _ = remove_traces([payload(BOUND), payload({}), payload(BOUND), payload(other)])

    assert clean == (payload({}),) * 4
    assert [trace.parent[:4] for trace in traces] == ["0123", "3210"]


@pytest.mark.parametrize("trace_context", [sentry.trace_context, otel.trace_context], ids=["sentry", "otel"])
def test_trace_context_is_empty_without_the_sdk(monkeypatch: pytest.MonkeyPatch, trace_context: Any) -> None:
    for module in ("sentry_sdk", "opentelemetry.trace"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    assert trace_context() == {}


def test_an_event_may_have_a_trace_of_each_kind() -> None:
    bound = {"user_id": 7, **BOUND, **BOUND_PARENT}

    clean, traces, parents = remove_traces([payload(bound), payload(BOUND_PARENT), payload({})])

    assert clean == (payload({"user_id": 7}), payload({}), payload({}))
    assert (traces, parents) == ((TRACE,), (PARENT,))
    assert parents[0].emitted_at == datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)


def test_a_destination_that_shows_traces_finds_it_under_the_name_of_the_header() -> None:
    header = BOUND_PARENT[PARENT_KEY]

    shown = remove_traces([payload({"a": 1, **BOUND_PARENT}), payload({}), payload(BOUND)], is_shown=True)
    assert shown.payloads == (payload({"a": 1, "traceparent": header}), payload({}), payload({}))
    assert shown.parents == (PARENT,)

    own = {"traceparent": "the app's own", **BOUND_PARENT}
    assert remove_traces([payload(own)], is_shown=True).payloads == (payload({"traceparent": "the app's own"}),)


@pytest.mark.parametrize("text", ["", "00-1-2-01", BOUND_PARENT[PARENT_KEY].replace("-01", "-00")])
def test_what_is_not_a_sampled_trace_stays_in_the_context(text: str) -> None:
    assert remove_traces([payload({PARENT_KEY: text})]) == Untraced((payload({PARENT_KEY: text}),))
