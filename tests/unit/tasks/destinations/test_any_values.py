"""Any event makes a request that its vendor takes, or is dead before anything is sent. Vendors are asked in memory."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.event import encode
from dispatcher.outcomes import TRANSFORM, UNDECODABLE, Dead, Filtered
from dispatcher.tasks.destinations.http import HttpDestination
from dispatcher.tasks.destinations.http.packing import pack
from dispatcher.tasks.testing import POISON, Call, DestinationContract
from tests.contract import (
    test_crazy_egg_goals,
    test_datadog,
    test_destinations,
    test_google,
    test_meta,
    test_new_relic,
    test_optimizely,
    test_otlp,
    test_sailthru,
    test_splunk,
)
from tests.support.vendors.datadog import DatadogVendor
from tests.support.vendors.google import GoogleVendor
from tests.support.vendors.new_relic import NewRelicVendor

SUBJECTS: dict[str, type[DestinationContract]] = {
    subject.__name__: subject
    for subject in (
        test_google.TestGoogleAnalytics,
        test_google.TestFirebase,
        test_google.TestGoogleTagManager,
        test_meta.TestMetaConversions,
        test_crazy_egg_goals.TestCrazyEggGoals,
        test_optimizely.TestOptimizely,
        test_sailthru.TestSailthru,
        test_destinations.TestSegment,
        test_destinations.TestWebhook,
        test_splunk.TestSplunkHec,
        test_otlp.TestOtlpLogs,
        test_new_relic.TestNewRelicEvents,
        test_datadog.TestDatadogLogs,
    )
}
# Names that some destination reads, at the top or within.
FIELDS = (
    *("value", "price", "quantity", "revenue", "currency", "total", "items", "products", "contents", "content_ids"),
    *("custom_data", "user_data", "user_properties", "traits", "properties", "address", "phone", "email", "user_id"),
    *("username", "session_id", "app_instance_id", "action_source", "event_source_url", "num_items", "id", "org_id"),
    *("fbc", "fbp", "em", "ph", "client_ip_address", "client_user_agent", "lead_id", "external_id", "item_price"),
    *("anonymous_id", "session", "client_id", "ga_session_id", "ip", "agent", "page", "host", "path", "referer"),
    *("consent", "integrations", "categoryPreferences", "userId", "anonymousId", "groupId", "context", "name"),
)
# Names that destinations read in the context.
CONTEXT_FIELDS = ("fbc", "fbp", "ip", "agent", "page", "referer", "client_id", "ga_session_id", "user_id", "session")
HOSTILE = (
    *("49.90", "NaN", "1e400", "1_000", "49,90", "7.0", " ", "null", "x\0y", "a\r\nb", "\u2028", "x" * 300, "größe"),
    *(
        "fb.1.1698765432000.",
        "fb.1.1596403881668.7",
        "GS1.1.7.3",
        "1.2",
        "::ffff:192.0.2.7",
        "fe80::1%eth0",
        "ada@b.org",
    ),
    *("https://a.example/?fbclid=x", "http://[", "x" * 9_000, "website", "a" * 64),
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(2**63), 2**64, -0.0, 1e308]),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
keys = st.one_of(st.sampled_from(FIELDS), st.text(max_size=6))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=6)
# What is read of a context, each of them odd in many examples.
contexts = st.builds(
    lambda some, read: some | read,
    objects,
    st.fixed_dictionaries({}, optional=dict.fromkeys(CONTEXT_FIELDS, scalars)),
)


def check_number(text: str) -> float:
    number = float(text)
    assert abs(number) < float("inf"), text
    return number


@pytest.mark.parametrize("subject", SUBJECTS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    kind=st.sampled_from(["event", "event", "track", "identify", "page", "group", "alias"]),
    data=st.one_of(objects, values),
    context=contexts,
)
def test_a_vendor_refuses_nothing_that_is_sent(subject: str, kind: Any, data: Any, context: dict[str, Any]) -> None:
    contract = SUBJECTS[subject]()
    vendor = contract.vendor()
    good = contract.event(1)
    data = {**good.data, **data} if isinstance(data, dict) else data
    event = msgspec.structs.replace(good, type=kind, data=data, context={**good.context, **context})
    payload = encode(event)
    if POISON in payload.decode():
        return

    with contract.open_destination("http://vendor.example") as destination:
        assert isinstance(destination, HttpDestination)
        packed = pack(destination, [payload])
        outcome = packed.outcomes.get(0)
        if outcome is not None:
            assert isinstance(outcome, Dead | Filtered)
            assert outcome.reason not in {TRANSFORM, UNDECODABLE}, outcome
            return
        request = destination.sign(destination.request([packed.requests[0][0].item]))

    call = Call(
        method=request.method,
        path=urlsplit(request.url).path,
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.body,
    )
    reply = vendor.answer(call)
    assert 200 <= reply.status < 300, (call.text, reply.body)
    if isinstance(vendor, GoogleVendor | NewRelicVendor | DatadogVendor):
        assert vendor.violations == [], call.text
    if call.headers.get("content-type") == "application/json":
        json.loads(call.body, parse_constant=check_number, parse_int=check_number)
