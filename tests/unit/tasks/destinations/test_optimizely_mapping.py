"""What an Optimizely user finds: conversions like those that the vendor's own SDK sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from optimizely.error_handler import NoOpErrorHandler
from optimizely.event.event_factory import EventFactory
from optimizely.event.user_event_factory import UserEventFactory
from optimizely.logger import NoOpLogger
from optimizely.project_config import ProjectConfig
from pydantic import ValidationError

from dispatcher.errors import UndeliverableError
from dispatcher.event import Event
from dispatcher.tasks.destinations.optimizely import CLIENT, Optimizely, OptimizelyOptions

EVENT_ID = "019abcde-0000-7000-8000-000000000001"
TIMESTAMP = datetime(2026, 11, 23, 13, 50, 44, 123999, tzinfo=UTC)
MILLISECONDS = 1_795_441_844_123

# As Optimizely hands it out to its SDKs, without what conversions have no use for.
DATAFILE: dict[str, Any] = {
    "version": "4",
    "revision": "42",
    "accountId": "1887578053",
    "projectId": "7205579439",
    "anonymizeIP": True,
    "botFiltering": False,
    "events": [{"id": "4841578001", "key": "enrolled", "experimentIds": ["200"]}],
    "attributes": [{"id": "300", "key": "plan"}, {"id": "301", "key": "age"}, {"id": "302", "key": "staff"}],
    "experiments": [],
    "groups": [],
    "audiences": [],
    "featureFlags": [],
    "rollouts": [],
    "variables": [],
}


def an_event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": EVENT_ID,
        "name": "enrolled",
        "timestamp": TIMESTAMP,
        "data": {"course_id": "course-v1:Shore+KNOT101+2026"},
        "context": {"user_id": 7, "session": "a-session", "agent": "Mozilla/5.0"},
    }
    return Event(**(fields | changes))


def an_optimizely(**options: Any) -> Optimizely:
    given = {"account_id": "1887578053", "event_ids": {"enrolled": "4841578001"}, **options}
    return Optimizely("experiments", OptimizelyOptions(**given))


def conversion_of(event: Event, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = an_optimizely(**options).item(event)["snapshots"][0]["events"][0]
    return found


def body_of(events: list[Event], **options: Any) -> dict[str, Any]:
    optimizely = an_optimizely(**options)
    body: dict[str, Any] = json.loads(optimizely.request([optimizely.item(event) for event in events]).body)
    return body


def sdk_body(user_id: str, attributes: dict[str, Any] | None, tags: dict[str, Any] | None) -> dict[str, Any]:
    """What the SDK's event factory builds for a conversion."""
    config = ProjectConfig(json.dumps(DATAFILE), NoOpLogger(), NoOpErrorHandler())
    conversion = UserEventFactory.create_conversion_event(config, "enrolled", user_id, attributes, tags)
    made = EventFactory.create_log_event(conversion, NoOpLogger())
    assert made is not None
    params: dict[str, Any] = made.params
    return params


def without_what_is_each_one_s_own(body: dict[str, Any]) -> dict[str, Any]:
    """The body without the sender's name, the datafile's revision, which the API does not know, id and time."""
    (visitor,) = body["visitors"]
    (snapshot,) = visitor["snapshots"]
    (event,) = snapshot["events"]
    event = {key: value for key, value in event.items() if key not in {"uuid", "timestamp"}}
    kept = {key: value for key, value in body.items() if key not in {"client_name", "client_version", "revision"}}
    attributes = sorted(visitor["attributes"], key=lambda attribute: attribute["key"])
    return kept | {"visitors": [visitor | {"attributes": attributes, "snapshots": [snapshot | {"events": [event]}]}]}


@pytest.mark.parametrize(
    ("attributes", "tags"),
    [
        ({}, None),
        ({"plan": "gold", "age": 36, "staff": True}, {"category": "shoes", "revenue": 6432, "value": 4}),
        ({"plan": "", "age": 36.5, "staff": False}, {"value": "1.5", "first": True, "course": "Grüße 🎉"}),
        ({"age": float(2**53), "plan": ["no", "attribute"]}, {"revenue": -100, "value": 0}),
        ({"age": 2**53 + 2}, {"value": "many", "price": 1.25}),
        ({"plan": None}, {"value": True}),
        ({"age": 10**400}, None),
    ],
    ids=["bare", "full", "text-value", "edges", "no-value", "bool-value", "huge"],
)
def test_a_conversion_equals_the_sdks(attributes: dict[str, Any], tags: dict[str, Any] | None) -> None:
    ours = body_of(
        [an_event(data={**(tags or {}), **attributes})],
        project_id=DATAFILE["projectId"],
        attribute_ids={attribute["key"]: attribute["id"] for attribute in DATAFILE["attributes"]},
        bot_filtering=DATAFILE["botFiltering"],
    )
    theirs = sdk_body("7", {**attributes, "$opt_user_agent": "Mozilla/5.0"}, tags)
    assert without_what_is_each_one_s_own(ours) == without_what_is_each_one_s_own(theirs)


def test_the_sdks_events_have_the_same_form_of_id_and_time() -> None:
    (ours,) = body_of([an_event()])["visitors"][0]["snapshots"][0]["events"]
    (theirs,) = sdk_body("7", None, None)["visitors"][0]["snapshots"][0]["events"]
    assert {key: type(ours[key]) for key in ("uuid", "timestamp")} == {
        key: type(theirs[key]) for key in ("uuid", "timestamp")
    }
    assert len(str(ours["timestamp"])) == len(str(theirs["timestamp"]))


def test_an_event_becomes_a_conversion_with_its_own_id_and_time() -> None:
    assert an_optimizely().item(an_event()) == {
        "visitor_id": "7",
        "attributes": [],
        "snapshots": [
            {
                "events": [
                    {
                        "entity_id": "4841578001",
                        "key": "enrolled",
                        "timestamp": MILLISECONDS,
                        "uuid": EVENT_ID,
                        "tags": {"course_id": "course-v1:Shore+KNOT101+2026"},
                    }
                ]
            }
        ],
    }


def test_a_request_names_account_and_sender() -> None:
    body = body_of([an_event()])
    assert {key: value for key, value in body.items() if key != "visitors"} == {
        "account_id": "1887578053",
        **CLIENT,
        "anonymize_ip": True,
        "enrich_decisions": True,
    }


def test_a_request_asks_to_be_validated_strictly() -> None:
    optimizely = an_optimizely()
    headers = optimizely.request([optimizely.item(an_event())]).headers
    assert headers == {"Content-Type": "application/json", "X-Optimizely-Strict": "true"}


def test_strict_validation_may_be_switched_off() -> None:
    optimizely = an_optimizely(strict=False)
    assert "X-Optimizely-Strict" not in optimizely.request([optimizely.item(an_event())]).headers


def test_events_of_one_visitor_are_sent_as_one_visitor() -> None:
    events = [an_event(id=f"event-{number}", context={"user_id": number % 2}) for number in range(4)]
    visitors = body_of(events)["visitors"]
    found = [
        (visitor["visitor_id"], [event["uuid"] for event in visitor["snapshots"][0]["events"]]) for visitor in visitors
    ]
    assert found == [("0", ["event-0", "event-2"]), ("1", ["event-1", "event-3"])]
    assert all(len(visitor["snapshots"]) == 1 for visitor in visitors)


def test_a_visitor_with_changed_attributes_is_sent_as_two() -> None:
    events = [an_event(data={"plan": plan}) for plan in ("free", "gold", "gold")]
    visitors = body_of(events, attribute_ids={"plan": "300"})["visitors"]
    assert [visitor["attributes"][0]["value"] for visitor in visitors] == ["free", "gold"]


def test_attributes_come_from_data_or_context_and_are_not_tags() -> None:
    ids = {"plan": "300", "org_id": 301, "absent": "302"}
    item = an_optimizely(attribute_ids=ids).item(
        an_event(data={"plan": "gold", "org_id": "Shore"}, context={"user_id": 7, "org_id": "edX", "plan": "free"})
    )
    assert item["attributes"] == [
        {"entity_id": "300", "key": "plan", "type": "custom", "value": "gold"},
        {"entity_id": "301", "key": "org_id", "type": "custom", "value": "Shore"},
    ]
    assert "tags" not in item["snapshots"][0]["events"][0]


def test_lists_and_objects_become_tags_of_json_text() -> None:
    tags = conversion_of(an_event(data={"list": [1, "ü"], "object": {"a": None}, "nothing": None, "n": 1}))["tags"]
    assert tags == {"list": '[1,"ü"]', "object": '{"a":null}', "n": 1}


def test_the_text_of_a_form_is_a_tag() -> None:
    assert conversion_of(an_event(data="a=1&b=2"))["tags"] == {"data": "a=1&b=2"}


@pytest.mark.parametrize(
    "revenue", [12.5, 12.0, "12.5", "12.00", "1_200", " ", True, [12], 2**63, 10**400, "9223372036854775808"], ids=repr
)
def test_a_revenue_that_is_not_whole_cents_is_undeliverable(revenue: object) -> None:
    with pytest.raises(UndeliverableError, match="whole number of cents") as refused:
        conversion_of(an_event(data={"revenue": revenue}))
    assert refused.value.reason == "invalid"


@pytest.mark.parametrize(
    ("value", "number"), [("49.90", 49.9), ("1E+2", 100.0), ("-0.00", 0.0), (10**400, None), ("1_000", None)]
)
def test_a_decimal_counts_as_revenue_and_value(value: Any, number: float | None) -> None:
    conversion = conversion_of(an_event(data={"revenue": "4990", "value": value}))

    assert conversion["revenue"] == 4990
    assert conversion.get("value") == number


def test_an_event_without_revenue_is_valid() -> None:
    assert "revenue" not in conversion_of(an_event(data={"revenue": None}))


@pytest.mark.parametrize(
    ("visitor", "context", "expected"),
    [
        ("either", {"user_id": 7, "session": "s"}, "7"),
        ("either", {"session": "s"}, "s"),
        ("anonymous_id", {"user_id": 7, "session": "s"}, "s"),
        ("user_id", {"user_id": 7, "session": "s"}, "7"),
    ],
)
def test_the_settings_choose_the_visitor_id(visitor: str, context: dict[str, Any], expected: str) -> None:
    assert an_optimizely(visitor=visitor).item(an_event(context=context))["visitor_id"] == expected


@pytest.mark.parametrize(
    ("visitor", "context"), [("either", {}), ("user_id", {"session": "s"}), ("anonymous_id", {"user_id": 7})]
)
def test_an_event_without_a_visitor_is_undeliverable_with_a_remedy(visitor: str, context: dict[str, Any]) -> None:
    with pytest.raises(UndeliverableError, match="DISPATCHER_DESTINATIONS__EXPERIMENTS__VISITOR") as refused:
        an_optimizely(visitor=visitor).item(an_event(context=context))
    assert refused.value.reason == "missing_visitor_id"


def test_an_event_without_an_optimizely_id_is_undeliverable_with_a_remedy() -> None:
    with pytest.raises(UndeliverableError, match=r"event_ids of \[destinations\.experiments\]") as refused:
        conversion_of(an_event(name="other"))
    assert refused.value.reason == "unknown_event"


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ({"account_id": None}, "DISPATCHER_DESTINATIONS__EXPERIMENTS__ACCOUNT_ID"),
        ({"event_ids": {}}, "event_ids in [destinations.experiments]"),
    ],
    ids=["account", "events"],
)
def test_a_missing_setting_is_named(absent: dict[str, Any], said: str) -> None:
    assert said in (an_optimizely(**absent).missing_settings() or "")


def test_ids_may_be_given_as_numbers() -> None:
    optimizely = an_optimizely(account_id=1887578053, event_ids={"enrolled": 4841578001})
    assert optimizely.missing_settings() is None
    assert optimizely.item(an_event())["snapshots"][0]["events"][0]["entity_id"] == "4841578001"


@pytest.mark.parametrize("options", [{"account_id": ""}, {"event_ids": {"enrolled": ""}}, {"host": "logx"}], ids=str)
def test_invalid_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        an_optimizely(**options)


def test_the_european_endpoint_is_another_host() -> None:
    assert an_optimizely().endpoint == "https://logx.optimizely.com/v1/events"
    assert an_optimizely(host="https://eu.logx.optimizely.com/").endpoint == EventFactory.EVENT_ENDPOINTS["EU"]
