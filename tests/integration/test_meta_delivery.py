"""Meta's Conversions API over real HTTP: against a server that checks every event against the documented rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from dispatcher.config import DestinationSettings
from dispatcher.destinations.base import Batch
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.rules.rules import Rules
from dispatcher.tasks.destinations.meta_conversions import MetaConversions
from tests.support.edx_contexts import BROWSER, MOBILE, REQUEST
from tests.support.vendor import CUT
from tests.support.vendors.meta import ACCESS_TOKEN, DATASET_ID, MetaVendor, graph_error, received

_new_id = IdSource().new


@pytest.fixture
def meta() -> Iterator[MetaVendor]:
    with MetaVendor() as vendor:
        yield vendor


@contextmanager
def a_destination(
    meta: MetaVendor, *, table: dict[str, Any] | None = None, **options: Any
) -> Iterator[MetaConversions]:
    settings = DestinationSettings.model_validate({"type": "meta_conversions", **(table or {})})
    rules = Rules.of(settings, integration=MetaConversions.integration, advertising=MetaConversions.advertising)
    given = {"host": meta.url, "dataset_id": DATASET_ID, "access_token": ACCESS_TOKEN} | options
    destination = MetaConversions("ads", MetaConversions.Options.model_validate(given), rules=rules)
    try:
        yield destination
    finally:
        destination.close()


def an_event(number: int = 0, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": _new_id(),
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime.now(UTC) - timedelta(minutes=1),
        "data": {"mode": "verified", "number": number},
        "context": BROWSER,
    }
    return Event(**(fields | changes))


def a_batch(events: Sequence[Event]) -> Batch:
    return Batch(destination="ads", id="batch-1", payloads=tuple(encode(event) for event in events))


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        outcome.reason if isinstance(outcome, Dead) else getattr(outcome, "retry_class", "delivered")
        for outcome in outcomes
    ]


def the_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_a_thousand_events_go_in_one_request_and_one_more_in_another(meta: MetaVendor) -> None:
    events = [an_event(number, data={"number": number}) for number in range(1001)]
    with a_destination(meta) as destination:
        assert list(destination.deliver(a_batch(events))) == [DELIVERED] * 1001

    assert [len(call.value["data"]) for call in meta.calls] == [1000, 1]
    assert meta.taken == {event.id: 1 for event in events}


def test_bad_events_among_a_thousand_are_found_and_the_others_delivered_once(meta: MetaVendor) -> None:
    bad = {0, 3, 500, 999}
    events = [an_event(n, data={"note": "poison"} if n in bad else {}) for n in range(1000)]
    with a_destination(meta) as destination:
        outcomes = destination.deliver(a_batch(events))

    assert {number for number, outcome in enumerate(outcomes) if isinstance(outcome, Dead)} == bad
    assert meta.taken == {event.id: 1 for number, event in enumerate(events) if number not in bad}
    # Found by bisection, not one by one.
    assert len(meta.calls) < 100


def test_events_that_meta_would_refuse_are_dead_before_anything_is_sent(meta: MetaVendor) -> None:
    events = [
        an_event(timestamp=datetime.now(UTC) - timedelta(days=8)),
        an_event(timestamp=datetime.now(UTC) + timedelta(hours=1)),
        an_event(context={"agent": "Mozilla/5.0"}),
        an_event(name="Purchase"),
        an_event(name="n" * 51),
        an_event(),
    ]
    with a_destination(meta) as destination:
        outcomes = destination.deliver(a_batch(events))

    assert reasons(outcomes) == ["too_old", "from_the_future", "missing_user_data", "invalid", "invalid", "delivered"]
    assert meta.refused == 0
    assert meta.taken == {events[-1].id: 1}


def test_an_event_that_became_too_old_is_dead(meta: MetaVendor) -> None:
    too_old = graph_error(400, 100, "Event Timestamp Too Old", subcode=2804003)
    meta.script = [too_old, too_old]
    with a_destination(meta) as destination:
        assert reasons(destination.deliver(a_batch([an_event(), an_event()]))) == ["too_old", "delivered"]


@pytest.mark.parametrize("context", [REQUEST, BROWSER, MOBILE, {"username": "ada"}, {"user_id": 7, "page": "x_module"}])
@pytest.mark.parametrize(
    "data", [{"user_id": 3, "username": "ada"}, "input_1=choice_0", {"value": 3, "state": {"a": 1}}]
)
def test_events_of_edx_are_accepted(meta: MetaVendor, context: dict[str, Any], data: Any) -> None:
    with a_destination(meta) as destination:
        assert list(destination.deliver(a_batch([an_event(context=context, data=data)]))) == [DELIVERED]


def test_a_mapping_makes_a_purchase_and_privacy_hashes_the_email_address(meta: MetaVendor) -> None:
    rule = {
        "events": ["edx.course.enrollment.mode_changed"],
        "name": "Purchase",
        "set": {
            "value": "{data.price}",
            "currency": "EUR",
            "content_ids": "{context.course_id}",
            "content_type": "product",
            "user_data.ct": "{data.town?}",
            "custom_data.helper": "{data.helper}",
        },
    }
    event = an_event(
        name="edx.course.enrollment.mode_changed",
        data={"price": 49.5, "town": "Bad Homburg", "helper": "eve@example.org"},
        context={**BROWSER, "email": " Ada@Example.org", "fbp": "fb.1.1596403881668.1116446470"},
    )
    with a_destination(meta, table={"mapping": [rule]}) as destination:
        assert list(destination.deliver(a_batch([event]))) == [DELIVERED]

    (found,) = meta.calls[0].value["data"]
    assert (found["event_name"], found["event_id"]) == ("Purchase", event.id)
    assert found["custom_data"] == {
        "price": 49.5,
        "value": 49.5,
        "currency": "eur",
        "content_ids": [BROWSER["course_id"]],
        "content_type": "product",
        "helper": the_hash("eve@example.org"),
    }
    assert found["user_data"]["em"] == [the_hash("ada@example.org")]
    assert found["user_data"]["ct"] == [the_hash("badhomburg")]
    assert "@example.org" not in meta.calls[0].text


def test_an_event_whose_answer_was_lost_is_sent_again_with_its_id(meta: MetaVendor) -> None:
    batch = a_batch([an_event(), an_event()])
    meta.script = [CUT]
    with a_destination(meta) as destination:
        assert reasons(destination.deliver(batch)) == ["transient", "transient"]
        assert reasons(destination.deliver(batch)) == ["delivered", "delivered"]

    first, second = (call.value for call in meta.calls)
    assert first == second


def test_an_event_that_meta_does_not_count_is_noticed(meta: MetaVendor) -> None:
    events = [an_event(), an_event()]
    meta.script = [received(1), received(0), received(1, ids=(events[1].id,))]
    with a_destination(meta) as destination:
        outcomes = destination.deliver(a_batch(events))

    assert reasons(outcomes) == ["invalid", "delivered"]
    assert isinstance(outcomes[0], Dead)
    assert "received 0 of 1 events" in outcomes[0].error


@pytest.mark.parametrize(
    ("options", "code"),
    [({"access_token": "other"}, 190), ({"dataset_id": "1"}, 100), ({"api_version": "v2.0"}, 2635)],
)
def test_wrong_settings_leave_events_waiting_and_the_error_names_the_options(
    meta: MetaVendor, options: dict[str, str], code: int
) -> None:
    with a_destination(meta, **options) as destination:
        outcomes = destination.deliver(a_batch([an_event(), an_event()]))

    assert reasons(outcomes) == ["setup", "setup"]
    assert len(meta.calls) == 1
    for outcome in outcomes:
        assert isinstance(outcome, RetryAfter)
        assert f"error {code}" in outcome.error
        assert "access_token, dataset_id and api_version" in outcome.error
        assert "other" not in outcome.error


def test_throttling_pauses_deliveries_for_as_long_as_meta_estimates(meta: MetaVendor) -> None:
    usage = '{"1": [{"type": "ads_management", "estimated_time_to_regain_access": 3}]}'
    meta.always = graph_error(400, 80004, "Too many calls", X_Business_Use_Case_Usage=usage)
    with a_destination(meta) as destination:
        outcomes = destination.deliver(a_batch([an_event(number) for number in range(1500)]))

    assert {(outcome.retry_class, outcome.seconds) for outcome in outcomes if isinstance(outcome, RetryAfter)} == {
        ("throttled", 180.0)
    }
    assert len(outcomes) == 1500
    assert len(meta.calls) == 1
