"""A Conversions API that enforces Meta's documented contract. An event with "poison" counts as invalid, error 100.

One invalid event makes it refuse the whole request. The rules are those of
https://developers.facebook.com/documentation/ads-commerce/conversions-api/ (using-the-api, parameters/server-event,
parameters/customer-information-parameters) and https://developers.facebook.com/docs/graph-api/guides/error-handling.
"""

from __future__ import annotations

import json
import re
import time
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from tests.support.vendor import POISON, Call, Reply, Vendor

DATASET_ID: Final = "1234567890123456"
ACCESS_TOKEN: Final = "hidden-access-token"
API_VERSIONS: Final = ("v25.0", "v26.0")

_DAY: Final = 86_400
_MOST_EVENTS: Final = 1000
_MOST_BYTES: Final = 1_000_000
_LONGEST_NAME: Final = 50

_BODY_KEYS: Final = {"data", "access_token", "test_event_code", "partner_agent"}
_EVENT_KEYS: Final = {
    "event_name",
    "event_time",
    "event_id",
    "event_source_url",
    "action_source",
    "user_data",
    "custom_data",
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
}
_ACTION_SOURCES: Final = {
    "email",
    "website",
    "app",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
}
_HASHED: Final = {"em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"}
_PLAIN: Final = {"client_ip_address", "client_user_agent", "fbc", "fbp", "subscription_id", "lead_id"}
_TOO_BROAD: Final = (
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
)
_CLICK_OR_BROWSER_ID: Final = re.compile(r"fb\.[0-9]\.\d{13}\.[\w.-]+", re.ASCII)
_LONGEST_TEXT: Final = 4096
# Not str.isprintable, which knows the letters of one version of Unicode.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class MetaVendor(Vendor):
    """Takes events of one data set; ``taken`` counts them by event_id."""

    def answer(self, call: Call) -> Reply:
        version, dataset, *rest = [*call.path.strip("/").split("/"), "", ""]
        if call.method != "POST" or rest[0] != "events":
            return graph_error(400, 2500, "Unknown path components")
        if version not in API_VERSIONS:
            return graph_error(400, 2635, "You are calling a deprecated version of the Ads API")
        body = call.value
        if call.headers.get("content-type", "").partition(";")[0] != "application/json" or not isinstance(body, dict):
            return graph_error(400, 100, "(#100) The parameter data is required")
        # Meta also accepts it in the query, but there logs would contain it.
        if call.query or body.get("access_token") != ACCESS_TOKEN:
            return graph_error(401, 190, "Invalid OAuth access token - Cannot parse access token")
        if dataset != DATASET_ID:
            return graph_error(400, 100, f"Object with ID '{dataset}' does not exist", subcode=33)
        return _refusal(call, body) or _received(body)


def graph_error(
    status: int, code: int, message: str, *, subcode: int | None = None, is_transient: bool = False, **headers: str
) -> Reply:
    """An error in the Graph API's form. Keywords are headers, with ``_`` for ``-``."""
    error: dict[str, Any] = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "is_transient": is_transient,
        "fbtrace_id": "AbCdEfGhIjK",
    }
    if subcode is not None:
        error |= {"error_subcode": subcode, "error_user_title": "Title", "error_user_msg": message}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=json.dumps({"error": error}).encode(), headers=named)


def received(count: int, *, ids: tuple[str, ...] = ()) -> Reply:
    """The answer to ``count`` received events."""
    body = {"events_received": count, "messages": [], "fbtrace_id": "AbCdEfGhIjK"}
    return Reply(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, taken=ids)


def _received(body: dict[str, Any]) -> Reply:
    return received(len(body["data"]), ids=tuple(event["event_id"] for event in body["data"]))


def _refusal(call: Call, body: dict[str, Any]) -> Reply | None:
    events = body.get("data")
    if len(call.body) > _MOST_BYTES:
        return graph_error(413, 1, "The request is too large")
    if set(body) - _BODY_KEYS or not isinstance(events, list) or not 0 < len(events) <= _MOST_EVENTS:
        return _invalid("data must have 1 to 1000 events")
    now = time.time()
    return next((refusal for event in events if (refusal := _of_event(event, now)) is not None), None)


def _of_event(event: Any, now: float) -> Reply | None:
    if not isinstance(event, dict) or set(event) - _EVENT_KEYS:
        return _invalid("an event is an object with known keys")
    if POISON in json.dumps(event):
        return _invalid(f"Invalid parameter in {json.dumps(event)}")
    name, source = event.get("event_name"), event.get("action_source")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return _invalid("event_name")
    if not isinstance(event.get("event_id"), str) or source not in _ACTION_SOURCES:
        return _invalid("event_id and action_source")
    return (
        _of_time(event.get("event_time"), now, days=62 if source == "physical_store" else 7)
        or _of_user_data(event.get("user_data"))
        or _of_website(event)
        or _of_custom_data(name, event.get("custom_data", {}))
        or _of_processing(event)
    )


def _of_time(moment: object, now: float, *, days: int) -> Reply | None:
    if not isinstance(moment, int) or isinstance(moment, bool):
        return _invalid("event_time is in whole seconds")
    if moment < now - days * _DAY:
        return graph_error(400, 100, "Invalid parameter: too old", subcode=2804003)
    if moment > now + 1:
        return graph_error(400, 100, "Invalid parameter: in the future", subcode=2804004)
    return None


def _of_user_data(found: object) -> Reply | None:
    if not isinstance(found, dict) or set(found) - _HASHED - _PLAIN:
        return _invalid("user_data has known keys")
    if any(set(found) <= broad for broad in _TOO_BROAD):
        return graph_error(400, 100, "Invalid parameter: not enough customer information", subcode=2804050)
    wrong = [
        key for key, value in found.items() if not (_is_hashed(value) if key in _HASHED else _is_plain(key, value))
    ]
    if wrong and wrong[0] in _PLAIN:
        return graph_error(400, 100, f"Invalid parameter: user_data.{wrong[0]}: {found[wrong[0]]}", subcode=2804001)
    return _invalid(f"user_data.{wrong[0]}: {found[wrong[0]]}") if wrong else None


def _is_hashed(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) > 0
        and all(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in values)
    )


def _is_plain(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value:
        return False
    if key in {"fbc", "fbp"}:
        return _CLICK_OR_BROWSER_ID.fullmatch(value) is not None
    if key == "client_ip_address":
        try:
            address = ip_address(value)
        except ValueError:
            return False
        return not (isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped))
    return len(value) <= _LONGEST_TEXT and _CONTROL.search(value) is None


def _of_website(event: dict[str, Any]) -> Reply | None:
    url = event.get("event_source_url")
    if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://"))):
        return _invalid("event_source_url")
    if event["action_source"] == "website" and (url is None or "client_user_agent" not in event["user_data"]):
        return _invalid("event_source_url and client_user_agent are required for website events")
    return None


def _of_custom_data(name: str, found: object) -> Reply | None:
    if not isinstance(found, dict):
        return _invalid("custom_data")
    value, currency, ids = found.get("value"), found.get("currency"), found.get("content_ids", [])
    if name == "Purchase" and value is None:
        return graph_error(400, 100, "Missing value for purchase event", subcode=2804009)
    if value is not None and currency is None:
        return graph_error(400, 100, "Missing currency", subcode=2804023)
    is_well_formed = (
        (value is None or (isinstance(value, int | float) and not isinstance(value, bool)))
        and (currency is None or (isinstance(currency, str) and re.fullmatch("[A-Za-z]{3}", currency) is not None))
        and isinstance(ids, list)
        and all(isinstance(one, str | int) for one in ids)
    )
    return None if is_well_formed else _invalid(f"custom_data: {found}")


def _of_processing(event: dict[str, Any]) -> Reply | None:
    options = event.get("data_processing_options", [])
    country, state = (event.get(f"data_processing_options_{key}", 0) for key in ("country", "state"))
    if options not in ([], ["LDU"]) or country not in (0, 1) or not (state == 0 or 1000 <= state <= 1013):
        return _invalid("data_processing_options")
    return None


def _invalid(message: str) -> Reply:
    return graph_error(400, 100, f"Invalid parameter: {message}")
