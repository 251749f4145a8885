"""Google's servers as documented: the Measurement Protocol, its validation server, and a server container.

They check a request against every documented rule. Google answers 204 to everything, and so does ``GoogleCollect``:
events that break a rule are in ``violations`` and not in ``taken``. An event's id is its parameter ``event_id``. The
validation server refuses a value with "poison" in it. Without that server an event is invalid if the destination itself
refuses it, for example for a field whose name begins with an underscore: ``{"_poison": 1}``.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations
https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference
https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events
https://developers.google.com/tag-platform/tag-manager/server-side/send-data
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.vendor import POISON, Call, Reply, Vendor

MEASUREMENT_ID = "G-1A2B3C4D5E"
FIREBASE_APP_ID = "1:1234567890:android:321abc456def7890"
API_SECRET = "hidden-api-secret"


def words(text: str) -> set[str]:
    return set(text.split())


# Letters of any language, as https://support.google.com/analytics/answer/13316687 has it; Python's \w takes ½ as well.
NAME = re.compile(r"[^\W\d_]\w*")
CLIENT_ID = re.compile(r"\d+\.\d+")
APP_INSTANCE_ID = re.compile(r"[0-9A-Fa-f]{32}")
RESERVED_EVENTS = words(
    "ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception app_install "
    "app_remove app_store_refund app_update app_upgrade dynamic_link_app_open dynamic_link_app_update "
    "dynamic_link_first_open error firebase_campaign firebase_in_app_message_action firebase_in_app_message_dismiss "
    "firebase_in_app_message_impression first_open first_visit notification_dismiss notification_foreground "
    "notification_open notification_receive notification_send os_update session_start user_engagement"
)
APP_EVENTS = {"ad_impression", "in_app_purchase", "screen_view"}
RESERVED_USER_PROPERTIES = words(
    "first_open_time first_visit_time last_deep_link_referrer user_id first_open_after_install"
)
PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
ITEM_PARAMETERS = words(
    "affiliation coupon creative_name creative_slot currency discount index item_brand item_category item_category2 "
    "item_category3 item_category4 item_category5 item_id item_list_id item_list_name item_name item_variant "
    "location_id price promotion_id promotion_name quantity"
)
TOP_LEVEL = words(
    "client_id app_instance_id user_id timestamp_micros user_properties user_data consent non_personalized_ads "
    "user_location ip_override device user_agent validation_behavior events"
)
VALUES = {"page_title": 300, "page_referrer": 420, "page_location": 1000}
OLDEST_SECONDS = 72 * 3600 + 60


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule. ``place`` is the index of the event, or None for the whole request."""

    place: int | None
    path: str
    code: str
    text: str


@dataclass
class Rulebook:
    """Checks requests of one kind of stream."""

    stream: Literal["web", "app"] = "web"
    longest_value: int = 100
    #: Whether it checks like the validation server.
    strict: bool = False
    found: list[Violation] = field(default_factory=list)

    def look_at(self, call: Call) -> list[Violation]:
        self.found = []
        if len(call.body) >= 130_000:
            self._say(None, "#", "VALUE_OUT_OF_BOUNDS", f"the body has {len(call.body)} bytes")
        if call.method != "POST" or call.headers.get("content-type") != "application/json":
            self._say(None, "#", "VALUE_INVALID", "not a POST of JSON")
        body = json.loads(call.body)
        self._request(body)
        events = body.get("events")
        if not isinstance(events, list) or not events:
            self._say(None, "events", "VALUE_REQUIRED", "no events")
            return self.found
        if len(events) > 25:
            self._say(None, "events", "EXCEEDED_MAX_ENTITIES", f"{len(events)} events")
        for place, event in enumerate(events):
            self._event(place, event)
        return self.found

    def _say(self, place: int | None, path: str, code: str, text: str) -> None:
        self.found.append(Violation(place, path, code, text))

    def _request(self, body: dict[str, Any]) -> None:
        for key in body.keys() - TOP_LEVEL:
            self._say(None, key, "NAME_INVALID", f"no such field: [{key}]")
        who, pattern, other = {
            "web": ("client_id", CLIENT_ID, "app_instance_id"),
            "app": ("app_instance_id", APP_INSTANCE_ID, "client_id"),
        }[self.stream]
        if not body.get(who):
            self._say(None, who, "VALUE_REQUIRED", f"no {who}")
        elif not pattern.fullmatch(body[who]) or "0" in body[who].split("."):
            self._say(None, who, "VALUE_INVALID", f"{who} [{body[who]}]")
        if other in body:
            self._say(None, other, "NAME_INVALID", f"{other} is not of this stream")
        user_id = body.get("user_id", "x")
        if not isinstance(user_id, str) or not 0 < len(user_id) <= 256:
            self._say(None, "user_id", "VALUE_INVALID", f"user_id [{user_id}]")
        for key, state in body.get("consent", {}).items():
            if key not in {"ad_user_data", "ad_personalization"} or state not in {"GRANTED", "DENIED"}:
                self._say(None, "consent", "VALUE_INVALID", f"consent [{key}] [{state}]")
        self._moment(None, body)
        properties = body.get("user_properties", {})
        if len(properties) > 25:
            self._say(None, "user_properties", "EXCEEDED_MAX_ENTITIES", f"{len(properties)} user properties")
        for name, said in properties.items():
            self._name(None, f"user_properties.{name}", name, 24, RESERVED_USER_PROPERTIES)
            self._value(None, f"user_properties.{name}", said.get("value"), 36)

    def _event(self, place: int, event: dict[str, Any]) -> None:
        for key in event.keys() - {"name", "params", "timestamp_micros"}:
            self._say(place, f"events.{key}", "NAME_INVALID", f"no such field: [{key}]")
        reserved = RESERVED_EVENTS if self.stream == "app" else RESERVED_EVENTS | APP_EVENTS
        self._name(place, "events", event.get("name", ""), 40, reserved)
        self._moment(place, event)
        params = event.get("params", {})
        if len(params) > 25:
            self._say(place, "events.params", "EXCEEDED_MAX_ENTITIES", f"{len(params)} parameters")
        for name, value in params.items():
            self._name(place, f"events.params.{name}", name, 40, {"firebase_conversion"})
            if name == "items":
                self._items(place, value)
            elif name != "session_id":
                self._value(place, f"events.params.{name}", value, max(self.longest_value, VALUES.get(name, 0)))
        if not re.fullmatch("[0-9]+", str(params.get("session_id", 0)), re.ASCII):
            self._say(place, "events.params.session_id", "VALUE_INVALID", f"session_id [{params['session_id']}]")
        if "session_id" in params and "engagement_time_msec" not in params:
            self._say(place, "events.params.engagement_time_msec", "VALUE_REQUIRED", "a session without engagement")

    def _items(self, place: int, items: object) -> None:
        if not isinstance(items, list) or not items:
            self._say(place, "events.params.items", "VALUE_INVALID", "items is not a list, or empty")
            return
        for item in items:
            if len(item.keys() - ITEM_PARAMETERS) > 10:
                self._say(place, "events.params.items", "EXCEEDED_MAX_ENTITIES", "too many custom parameters")
            for name, value in item.items():
                self._name(place, f"events.params.items.{name}", name, 40, set())
                self._value(place, f"events.params.items.{name}", value, self.longest_value)

    def _name(self, place: int | None, path: str, name: str, longest: int, reserved: set[str]) -> None:
        is_name = NAME.fullmatch(name) and all(one == "_" or one.isalpha() or one.isdecimal() for one in name)
        if not is_name or len(name) > longest:
            self._say(place, path, "NAME_INVALID", f"invalid name [{name}]")
        if name in reserved or name.startswith(PREFIXES):
            self._say(place, path, "NAME_RESERVED", f"reserved name [{name}]")

    def _value(self, place: int | None, path: str, value: object, longest: int) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self._say(place, path, "VALUE_INVALID", f"neither text nor number: [{value}]")
        elif isinstance(value, str) and (not value or len(value) > longest):
            self._say(place, path, "VALUE_OUT_OF_BOUNDS", f"{len(value)} characters: [{value}]")
        elif self.strict and isinstance(value, str) and POISON in value:
            self._say(place, path, "VALUE_INVALID", f"not allowed: [{value}]")

    def _moment(self, place: int | None, said: dict[str, Any]) -> None:
        micros = said.get("timestamp_micros")
        if micros is None:
            return
        age = time.time() - micros / 1e6 if isinstance(micros, int) else -1
        if not -60 <= age <= OLDEST_SECONDS:
            self._say(place, "timestamp_micros", "VALUE_OUT_OF_BOUNDS", f"timestamp_micros [{micros}]")


class GoogleVendor(Vendor):
    """The base of Google's servers. ``violations`` has the broken rules, in order."""

    def __init__(self, *, stream: Literal["web", "app"] = "web", longest_value: int = 100) -> None:
        super().__init__()
        self.stream: Literal["web", "app"] = stream
        self.longest_value = longest_value
        self.violations: list[Violation] = []

    def look_at(self, call: Call, *, strict: bool = False) -> list[Violation]:
        return Rulebook(self.stream, self.longest_value, strict).look_at(call)

    def taken_of(self, call: Call, violations: list[Violation]) -> Iterator[str]:
        """The ids of the events that keep all rules."""
        bad = {violation.place for violation in violations}
        if None not in bad:
            for place, event in enumerate(call.value["events"]):
                if place not in bad:
                    yield str(event.get("params", {}).get("event_id", ""))


class GoogleCollect(GoogleVendor):
    """www.google-analytics.com. Takes hits of one stream with one secret, and never reports a problem."""

    def answer(self, call: Call) -> Reply:
        validated = call.path == "/debug/mp/collect"
        if not validated and call.path != "/mp/collect":
            return Reply(status=404)
        try:
            violations = self.look_at(call, strict=validated)
        except ValueError:
            violations = [Violation(None, "#", "VALUE_INVALID", "no JSON")]
        if validated:
            # The validation server counts nothing, and checks neither secret nor app id.
            return Reply(body=_messages(violations), headers={"Content-Type": "application/json"})
        self.violations += violations
        known = call.query == self._query()
        return Reply(status=204, taken=self.taken_of(call, violations) if known else ())

    def _query(self) -> dict[str, str]:
        if self.stream == "app":
            return {"firebase_app_id": FIREBASE_APP_ID, "api_secret": API_SECRET}
        return {"measurement_id": MEASUREMENT_ID, "api_secret": API_SECRET}


class ServerContainer(GoogleVendor):
    """A server container of Tag Manager. If it is ``published``, one client in it claims requests."""

    def __init__(self, *, path: str = "/mp/collect", published: bool = True) -> None:
        super().__init__()
        self.path = path
        self.published = published

    def answer(self, call: Call) -> Reply:
        if not self.published or call.path != self.path:
            return Reply(status=400)
        violations = self.look_at(call)
        self.violations += violations
        return Reply(taken=self.taken_of(call, violations))


def _messages(violations: list[Violation]) -> bytes:
    messages = [
        {
            "fieldPath": violation.path,
            "description": f"Event at index: [{violation.place}] {violation.text}",
            "validationCode": violation.code,
        }
        for violation in violations
    ]
    return json.dumps({"validationMessages": messages}).encode()
