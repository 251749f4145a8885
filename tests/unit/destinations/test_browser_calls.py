"""Browser calls: what an event becomes for vendors that take it only from a browser."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from dispatcher import config
from dispatcher.config.destination_types import traits_of
from dispatcher.destinations.browser.base import BrowserDestination
from dispatcher.destinations.browser.crazy_egg import CrazyEgg
from dispatcher.destinations.browser.google_analytics_web import GoogleAnalyticsWeb
from dispatcher.destinations.browser.google_tag_manager_web import GoogleTagManagerWeb
from dispatcher.destinations.browser.meta_pixel import MetaPixel
from dispatcher.destinations.browser.optimizely_web import OptimizelyWeb
from dispatcher.destinations.browser.qualaroo import Qualaroo
from dispatcher.destinations.browser.segment_web import SegmentWeb
from dispatcher.destinations.types import load_type
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import Event, decode, encode
from dispatcher.rules.rules import Rules

TYPES: tuple[type[BrowserDestination], ...] = (
    GoogleTagManagerWeb,
    OptimizelyWeb,
    Qualaroo,
    CrazyEgg,
    GoogleAnalyticsWeb,
    MetaPixel,
    SegmentWeb,
)


def event(data: Any = None, /, *, name: str = "shop.paid", **context: Any) -> Event:
    return Event(
        id="01890a5d-ac96-774b-bcce-b302099a8057",
        name=name,
        timestamp=datetime(2026, 1, 31, tzinfo=UTC),
        data={} if data is None else data,
        context=context,
    )


def of(kind: type[BrowserDestination], *, fields: tuple[str, ...] | None = ("*",), **rules: Any) -> BrowserDestination:
    settings = config.Settings.model_validate({"destinations": {"page": {"type": "qualaroo", **rules}}})
    table = settings.destinations["page"]
    kept = Rules.of(table, integration=kind.integration, advertising=kind.advertising)
    return kind("page", kind.Options(fields=fields), rules=kept)


def test_every_browser_type_is_installed_and_marked_as_such() -> None:
    classes = {name: load_type(name) for name in config.installed_types()}

    assert {classes[name] for name in classes if traits_of(name).in_browser} == set(TYPES)
    assert {name for name in classes if issubclass(classes[name], BrowserDestination)} == {
        name for name in classes if traits_of(name).in_browser
    }


def test_tag_manager_gets_name_data_user_and_event_id() -> None:
    handed = of(GoogleTagManagerWeb).hand_over(event({"order": 17, "items": [{"sku": "x"}]}, user_id=3))

    assert handed == {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "calls": [
            {
                "call": "dataLayer.push",
                "arguments": [
                    {
                        "event": "shop.paid",
                        "eventId": "01890a5d-ac96-774b-bcce-b302099a8057",
                        "userId": "3",
                        "order": 17,
                        "items": [{"sku": "x"}],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize("key", ["event", "eventCallback", "eventTimeout", "gtm", "gtm.start"])
def test_data_cannot_set_tag_managers_control_keys(key: str) -> None:
    with pytest.raises(UndeliverableError, match=rf"{key} in the data layer: .*destinations\.page\.mapping") as caught:
        of(GoogleTagManagerWeb).hand_over(event({key: "x", "order": 17}))

    assert caught.value.reason == "reserved"


def test_tag_manager_takes_fields_that_a_mapping_renames() -> None:
    renaming = of(GoogleTagManagerWeb, mapping=[{"rename": {"event": "action"}}])

    (call,) = renaming.hand_over(event({"event": "click"}))["calls"]

    assert call["arguments"][0]["event"] == "shop.paid"
    assert call["arguments"][0]["action"] == "click"


def test_optimizely_gets_flat_tags_and_a_name_without_colons() -> None:
    data = {"sku": "x", "price": 1.5, "gift": True, "revenue": 7502, "none": None, "items": [1], "to": {"a": 1}}

    (call,) = of(OptimizelyWeb).hand_over(event(data, name="shop:paid"))["calls"]

    assert call == {
        "call": "optimizely.push",
        "arguments": [
            {
                "type": "event",
                "eventName": "shop_paid",
                "tags": {"sku": "x", "price": 1.5, "gift": True, "revenue": 7502},
            }
        ],
    }


def test_whole_cents_may_be_written_as_a_float() -> None:
    (text,) = of(OptimizelyWeb).hand_over(event({"revenue": "7502"}))["calls"]
    (call,) = of(OptimizelyWeb).hand_over(event({"revenue": 7502.0}))["calls"]

    assert text == call

    assert json.dumps(call["arguments"][0]["tags"]) == '{"revenue": 7502}'


def test_google_tag_manager_gets_amounts_as_numbers() -> None:
    items = [{"item_id": "17", "price": "24.95", "quantity": "2"}]
    data = {"value": "49.90", "tax": "49,90", "ecommerce": {"value": "49.90", "transaction_id": "5", "items": items}}
    (call,) = of(GoogleTagManagerWeb).hand_over(event(data))["calls"]

    (message,) = call["arguments"]
    assert (message["value"], message["tax"]) == (49.9, "49,90")
    assert message["ecommerce"] == {
        "value": 49.9,
        "transaction_id": "5",
        "items": [{"item_id": "17", "price": 24.95, "quantity": 2}],
    }


@pytest.mark.parametrize("revenue", [75.02, "75.02", "75.00", True, 1e400, 10**400, "7_502"])
def test_a_revenue_that_is_not_whole_cents_is_refused(revenue: Any) -> None:
    with pytest.raises(UndeliverableError, match="whole number of cents") as caught:
        of(OptimizelyWeb).hand_over(event({"revenue": revenue}))

    assert caught.value.reason == "invalid"


def test_gtag_gets_a_name_that_it_takes_and_the_events_id() -> None:
    data = {
        "value": "49.90",
        "items": [{"item_id": "17", "price": "24.95"}],
        "note": "x" * 200,
        "to": {"a": 1},
        "l": [1],
    }

    (call,) = of(GoogleAnalyticsWeb).hand_over(event(data))["calls"]

    assert call == {
        "call": "gtag",
        "arguments": [
            "event",
            "shop_paid",
            {
                "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                "value": 49.9,
                "items": [{"item_id": "17", "price": 24.95}],
                "note": "x" * 100,
            },
        ],
    }


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x" * 41, {}),
        ("9lives", {}),
        ("ga_paid", {}),
        ("_paid", {}),
        ("paid", {"google_x": 1}),
        ("paid", {f"k{n}": n for n in range(25)}),
    ],
)
def test_what_google_analytics_refuses_is_not_handed_over(name: str, data: dict[str, Any]) -> None:
    with pytest.raises(UndeliverableError) as caught:
        of(GoogleAnalyticsWeb).hand_over(event(data, name=name))

    assert caught.value.reason == "invalid"


def test_the_pixel_gets_the_id_of_the_servers_copy() -> None:
    (call,) = of(MetaPixel).hand_over(event({"value": "9.5", "currency": "EUR"}, name="Purchase"))["calls"]
    (custom,) = of(MetaPixel).hand_over(event())["calls"]

    an_id = {"eventID": "01890a5d-ac96-774b-bcce-b302099a8057"}
    assert call == {"call": "fbq", "arguments": ["track", "Purchase", {"value": 9.5, "currency": "EUR"}, an_id]}
    assert custom["arguments"] == ["trackCustom", "shop.paid", {}, an_id]
    with pytest.raises(UndeliverableError, match="value and currency"):
        of(MetaPixel).hand_over(event({"value": 5}, name="Purchase"))


def test_analytics_js_gets_the_id_that_segment_gets_from_the_server() -> None:
    (call,) = of(SegmentWeb).hand_over(event({"revenue": 5}))["calls"]

    assert call["call"] == "analytics.track"
    assert call["arguments"] == ["shop.paid", {"revenue": 5}, {"messageId": "01890a5d-ac96-774b-bcce-b302099a8057"}]


def test_only_listed_fields_go_to_a_page_and_the_preview_names_the_others() -> None:
    data = {"value": 5, "grade": "F", "note": "secret"}

    by_default = of(GoogleTagManagerWeb, fields=None).preview(event(data))
    listed = of(GoogleTagManagerWeb, fields=("gr*",)).preview(event(data))

    assert by_default["calls"][0]["arguments"][0].keys() == {"event", "eventId", "value"}
    assert by_default["kept_back"] == ["grade", "note"]
    assert listed["calls"][0]["arguments"][0]["grade"] == "F"
    assert listed["kept_back"] == ["value", "note"]
    assert "kept_back" not in of(GoogleTagManagerWeb).preview(event(data))


@pytest.mark.parametrize("value", ["ada@example.org", "to ada@example.org, now", "https://x.org/ada%40example.org/"])
def test_addresses_never_go_to_a_page(value: str) -> None:
    previewed = of(SegmentWeb).preview(event({"value": value, "items": [value, "tea"], "to": {"who": value, "n": 1}}))

    assert previewed["calls"][0]["arguments"][1] == {"items": ["tea"], "to": {"n": 1}}
    assert previewed["kept_back"] == ["value", "items[0]", "to.who"]


def test_urls_go_without_what_is_behind_their_path() -> None:
    data = {"url": "https://x.org/a?token=5#b", "text": "see http://x.org/b?c and d", "at": "12:30?"}
    (call,) = of(SegmentWeb).hand_over(event(data))["calls"]

    assert call["arguments"][1] == {"url": "https://x.org/a", "text": "see http://x.org/b and d", "at": "12:30?"}


def test_qualaroo_gets_the_user_and_the_event() -> None:
    handed = of(Qualaroo).hand_over(event({"plan": "gold", "items": []}, user_id="sam"))

    assert handed["calls"] == [
        {"call": "_kiq.push", "arguments": [["identify", "sam"]]},
        {"call": "_kiq.push", "arguments": [["set", {"plan": "gold", "Triggered: shop.paid": True}]]},
    ]


@pytest.mark.parametrize("nobody", [{}, {"user_id": None}, {"user_id": ""}, {"user_id": True}])
def test_an_unknown_visitor_is_not_identified(nobody: dict[str, Any]) -> None:
    (call,) = of(Qualaroo).hand_over(event(**nobody))["calls"]

    assert call["arguments"][0][0] == "set"


def test_a_user_in_the_data_is_not_taken_for_the_visitor() -> None:
    enrolled_by_staff = event({"user_id": 99}, user_id=3)

    assert of(Qualaroo).hand_over(enrolled_by_staff)["calls"][0]["arguments"] == [["identify", "3"]]


def test_crazy_egg_takes_no_events() -> None:
    with pytest.raises(DropEvent) as caught:
        of(CrazyEgg).hand_over(event())
    preview = of(CrazyEgg).preview(event())

    assert caught.value.reason == "no_event_call"
    assert (preview["outcome"], preview["reason"]) == ("filtered", "no_event_call")
    assert "no call" in preview["error"]


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind is not CrazyEgg])
@pytest.mark.parametrize("data", [{}, "a=1&b=%5B%5D", {"é": "ü", "deep": {"a": [{}]}}, []])
def test_any_data_makes_json_calls_and_leaves_the_event_unchanged(kind: type[BrowserDestination], data: Any) -> None:
    given = event(data, user_id=3)
    before = encode(given)

    handed = of(kind).hand_over(given)

    assert json.loads(json.dumps(handed)) == handed
    assert handed["id"] == given.id
    assert handed["calls"]
    assert encode(given) == before
    assert of(kind).hand_over(decode(before)) == handed


@pytest.mark.parametrize("kind", TYPES)
def test_the_operators_rules_are_applied_first(kind: type[BrowserDestination]) -> None:
    skipping = of(kind, mapping=[{"skip": True}])

    assert skipping.preview(event()) | {"error": ""} == {"outcome": "filtered", "reason": "mapping", "error": ""}


def test_the_preview_of_an_undeliverable_event_shows_its_reason() -> None:
    preview = of(GoogleTagManagerWeb).preview(event({"gtm.start": 1}))

    assert (preview["outcome"], preview["reason"]) == ("dead", "reserved")


@pytest.mark.parametrize("kind", TYPES)
def test_browser_destinations_have_no_options(kind: type[BrowserDestination]) -> None:
    with pytest.raises(ValidationError):
        kind.Options.model_validate({"key": "x"})
