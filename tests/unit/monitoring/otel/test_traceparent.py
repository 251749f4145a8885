"""The trace of a request, as W3C writes it and as the app's own SDK has it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.monitoring.otel.sampler import Sampler
from dispatcher.monitoring.otel.traceparent import KEY, Parent, add_current, parse_traceparent, trace_context
from dispatcher.monitoring.otel.variables import OtelVariables
from dispatcher.monitoring.traces import remove_traces
from dispatcher.wire import add_to_context
from tests.support.spans import current_span

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("text", [HEADER, HEADER.replace("-01", "-03"), f"cc{HEADER[2:]}-what-comes-later"])
def test_a_sampled_traceparent_is_read(text: str) -> None:
    assert parse_traceparent(text) == Parent(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER.replace("-01", "-00"),
        HEADER.upper(),
        f"ff{HEADER[2:]}",
        f"{HEADER}-more",
        f"cc{HEADER[2:]}more",
        HEADER.replace(TRACE, "0" * 32),
        HEADER.replace(SPAN, "0" * 16),
        HEADER[:-1],
        f"{HEADER}\n",
    ],
)
def test_what_is_not_one_or_not_sampled_is_left_out(text: str) -> None:
    assert parse_traceparent(text) is None
    assert trace_context(text) == {}


def test_the_span_of_the_app_wins_over_the_header() -> None:
    assert trace_context(HEADER) == {KEY: HEADER}
    with current_span() as span:
        bound = trace_context(HEADER)
    assert bound == {KEY: f"00-{span.trace_id:032x}-{span.span_id:016x}-01"}


def test_a_span_that_is_not_sampled_leaves_the_event_as_it_is() -> None:
    payload = b'{"data":{},"context":{}}'
    with current_span(sampled=False):
        assert add_current(payload) is payload
    assert add_current(payload) is payload


@pytest.mark.parametrize("context", [{}, {"user_id": 7}, {"a": {}}, {"a": "{"}], ids=["empty", "one", "nested", "text"])
def test_an_event_gets_the_current_span_and_loses_it_again(context: dict[str, object]) -> None:
    payload = msgspec.json.encode({"id": "1", "data": {"n": 1}, "context": context})
    with current_span():
        add_current(payload)
        with current_span() as span:
            traced = add_current(payload)
            assert add_current(traced) is traced, "the context has a trace already"

    clean, _, (parent,) = remove_traces([traced])

    assert clean == (payload,)
    assert parent == Parent(f"{span.trace_id:032x}", f"{span.span_id:016x}")


@given(context=st.dictionaries(st.text(), st.text() | st.integers(0, 9) | st.just({}), max_size=3))
def test_a_member_is_added_to_any_context(context: dict[str, object]) -> None:
    payload = msgspec.json.encode({"data": {}, "context": context})

    added = msgspec.json.decode(add_to_context(payload, b'"dispatcher.x":1'))

    assert added == {"data": {}, "context": {**context, "dispatcher.x": 1}}


@pytest.mark.parametrize(
    ("sampler", "ratio", "children", "roots"),
    [
        ("", 1.0, 100, 0),
        ("parentbased_always_off", 1.0, 100, 0),
        ("parentbased_always_on", 1.0, 100, 100),
        ("parentbased_traceidratio", 0.25, 100, 25),
        ("always_on", 1.0, 100, 100),
        ("always_off", 1.0, 0, 0),
        ("traceidratio", 0.25, 25, 25),
    ],
)
def test_the_sampler_decides_by_the_trace(sampler: str, ratio: float, children: int, roots: int) -> None:
    one = Sampler(OtelVariables(sampler=sampler, sampler_ratio=ratio))
    # Spread evenly over the lower half of the id.
    traces = [f"{7:016x}{number * (1 << 64) // 100:016x}" for number in range(100)]

    assert sum(map(one.takes_child, traces)) == children
    assert sum(map(one.takes_root, traces)) == roots
