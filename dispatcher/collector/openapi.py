"""OpenAPI: what the collector takes and answers, described from its own routes, limits and reasons.

The form is OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html). No key, origin or name of a source is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dispatcher.collector.edx.event import EventRoute
from dispatcher.collector.edx.mobile import MobileRoute
from dispatcher.collector.handover import MAX_WAIT_SECONDS, HandoverRoute
from dispatcher.collector.page.events import EventsRoute
from dispatcher.collector.reasons import REFUSED, REJECTED
from dispatcher.collector.segment_api import pixel, project_settings
from dispatcher.collector.segment_api.calls import CallsRoute
from dispatcher.event import DIRECT_TYPES, MAX_ID_CHARACTERS
from dispatcher.outcomes import TOO_LARGE
from dispatcher.secrecy.visitor import MAX_REFERENCES
from dispatcher.store.mailboxes import STATUSES

if TYPE_CHECKING:
    from dispatcher.collector.route import Route
    from dispatcher.collector.routes import Routes
    from dispatcher.config.collector import CollectorSettings

#: Where the collector serves it.
PATH: Final = "/openapi.json"

# What may become of any request that has a body, of its head, and of what is put into the outbox.
_OF_HEAD: Final = ("slow_head", "long_head", "bad_http", "connections", "pipelined", "busy")
_OF_BODY: Final = ("slow_body", TOO_LARGE, "bomb", "damaged_body", "unknown_encoding", "upgrade")
_OF_JSON: Final = ("not_json", "too_deep", "not_an_object")
_OF_SOURCE: Final = ("unknown_key", "foreign_origin", "rate", "too_many")
_OF_APPEND: Final = ("outbox", "failed")
_OF_HANDOVER: Final = ("unknown_visitor", "forged_visitor", "expired_visitor", "handover_waits", "store", "failed")
_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_TIME: Final = {"type": "string", "format": "date-time"}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "type": {"enum": sorted(DIRECT_TYPES)},
        "messageId": _ID,
        **dict.fromkeys(("userId", "anonymousId", "event", "name", "category", "groupId", "previousId"), _TEXT),
        **dict.fromkeys(("properties", "traits", "context", "integrations"), _OBJECT),
        "timestamp": _TIME,
        "sentAt": _TIME,
        "writeKey": {"type": "string", "description": "Where neither Basic authentication nor the query has it."},
    },
}
_BATCH: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "items": _CALL},
        "writeKey": _CALL["properties"]["writeKey"],
        "context": _OBJECT,
        "integrations": _OBJECT,
        "sentAt": _TIME,
    },
}
_VISITOR: Final = {"type": "array", "items": _TEXT, "maxItems": MAX_REFERENCES}
_PAGE_EVENTS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["key", "events"],
    "properties": {
        "key": _TEXT,
        "visitor": _VISITOR,
        "sentAt": _TIME,
        "dropped": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": _ID,
                    "type": {"enum": ["event", "track", "page", "identify"]},
                    **dict.fromkeys(("name", "page", "anonymousId", "userId", "via", "script"), _TEXT),
                    "data": {},
                    "context": _OBJECT,
                    "integrations": _OBJECT,
                    "timestamp": _TIME,
                },
            },
        },
    },
}
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "event_type": _TEXT,
        "event": {"type": "string", "description": "JSON of any type, or any text."},
        "page": _TEXT,
        "courserun_key": _TEXT,
    },
}
_ASKED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["key", "visitor"],
    "properties": {
        "key": _TEXT,
        "visitor": {**_VISITOR, "minItems": 1},
        "acks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "destination", "status"],
                "properties": {"id": _ID, "destination": _TEXT, "status": {"enum": sorted(STATUSES)}},
            },
        },
        "wait": {"type": "number", "minimum": 0, "description": f"Seconds; {MAX_WAIT_SECONDS:g} at the most."},
    },
}
_HANDED: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id", "destination", "calls", "consent", "advertising"],
        "properties": {
            "id": _ID,
            "destination": _TEXT,
            "calls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["call", "arguments"],
                    "properties": {"call": _TEXT, "arguments": {"type": "array"}},
                },
            },
            "consent": {"type": "array", "items": _TEXT},
            "advertising": {"type": "boolean"},
        },
    },
}
_RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["success", "accepted", "rejected"],
    "properties": {
        "handover": {**_HANDED, "description": "The calls that events become on the page that sent them."},
        "success": {"const": True},
        "accepted": {"type": "integer", "minimum": 0},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "messageId", "code", "message"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "messageId": _TEXT,
                    "code": {"enum": list(REJECTED)},
                    "message": _TEXT,
                },
            },
        },
    },
}
_SCHEMAS: Final = {
    "Call": _CALL,
    "Batch": _BATCH,
    "PageEvents": _PAGE_EVENTS,
    "Handover": _ASKED,
    "Handed": {"type": "object", "required": ["events"], "properties": {"events": _HANDED}},
    "Result": _RESULT,
}


def describe(settings: CollectorSettings, routes: Routes) -> dict[str, Any]:
    """The description of a collector with these settings.

    Args:
        settings: Its paths and limits.
        routes: Made from the same settings.

    Returns:
        An OpenAPI document.
    """
    paths: dict[str, Any] = {}
    for path, route in routes.exact.items():
        if path != settings.mobile_path or settings.mobile_secret is not None:
            paths[path] = {method.lower(): _operation(route, method, path) for method in sorted(route.methods)}
    for prefix, route in routes.prefixes:
        path = f"{prefix}{{key}}/settings" if prefix == project_settings.PREFIX else f"{prefix}{{type}}"
        paths[path] = {method.lower(): _operation(route, method, path) for method in sorted(route.methods)}
    for path, statuses in (("/healthz", (200,)), ("/readyz", (200, 503)), (PATH, (200,))):
        answers = {str(status): {"description": "Ready." if status == 200 else "Draining."} for status in statuses}
        paths[path] = {"get": {"operationId": f"get{path.replace('.', '_')}", "responses": answers}}
    limits = f"A body may have {settings.body_bytes:,} bytes as it is sent, and {settings.inflated_bytes:,} after gzip."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dispatcher collector",
            "version": "1",
            "description": f"Takes events over HTTP. 200 means that they are in the outbox. {limits}",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(route: Route, method: str, path: str) -> dict[str, Any]:
    """One method of one path: what it takes, and each status with the codes that it can have."""
    codes, body, answer = _details(route)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT if name == "key" else {"enum": kinds}}
        for name, kinds in (("key", ()), ("type", [*sorted(DIRECT_TYPES), *(f"{k}.gif" for k in sorted(DIRECT_TYPES))]))
        if f"{{{name}}}" in path
    ]
    queries = {pixel.PixelRoute: ("data", "writeKey"), MobileRoute: ("key",), CallsRoute: ("writeKey",)}
    names = queries.get(type(route), tuple(_FORM["properties"]) if method == "GET" and body else ())
    parameters += [{"name": name, "in": "query", "schema": _TEXT} for name in names]
    responses: dict[str, Any] = {"200": {"description": "Taken.", "content": answer}}
    for status in sorted({REFUSED[code][0] for code in codes}):
        found = {code: REFUSED[code][1] for code in codes if REFUSED[code][0] == status}
        responses[str(status)] = {
            "description": " ".join(f"`{code}`: {meaning}" for code, meaning in found.items()),
            "content": {"application/json": {"schema": _refusal(list(found))}},
        }
        if status in (429, 503):
            seconds = {"description": "Whole seconds.", "schema": {"type": "integer", "minimum": 1}}
            responses[str(status)]["headers"] = {"Retry-After": seconds}
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}{path}".translate(str.maketrans("{}.", "___")),
        "description": (type(route).__doc__ or "").partition("\n\n")[0].replace("``", "`"),
        "parameters": parameters,
        "responses": responses,
    }
    if body and method == "POST":
        takes_nothing = isinstance(route, EventRoute | pixel.MetricsRoute)
        described["requestBody"] = {"required": not takes_nothing, "content": body}
    return described


def _details(route: Route) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """The codes of a route's refusals, the bodies that it takes, and the body of its answer, by media type."""
    result = {"application/json": {"schema": {"$ref": "#/components/schemas/Result"}}}
    plain, gif = {"text/plain": {"schema": _TEXT}}, {"image/gif": {"schema": _TEXT}}
    common = [*_OF_HEAD, *_OF_BODY]
    posted = [*common, *_OF_JSON, *_OF_SOURCE, *_OF_APPEND]
    codes, answer = posted, result
    body: dict[str, Any] = {}
    if isinstance(route, CallsRoute):
        schema = {"schema": {"$ref": f"#/components/schemas/{'Batch' if route.is_batch else 'Call'}"}}
        codes, body = [*posted, *(["no_batch"] if route.is_batch else [])], {"application/json": schema}
    elif isinstance(route, EventsRoute):
        codes, body = [*posted, "no_events"], {"text/plain": {"schema": {"$ref": "#/components/schemas/PageEvents"}}}
    elif isinstance(route, HandoverRoute):
        codes = [*common, *_OF_JSON, "unknown_key", "foreign_origin", "rate", *_OF_HANDOVER]
        body = {"text/plain": {"schema": {"$ref": "#/components/schemas/Handover"}}}
        answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Handed"}}}
    elif isinstance(route, EventRoute):
        body = {"application/x-www-form-urlencoded": {"schema": _FORM}, "application/json": {"schema": _FORM}}
        codes, answer = [*common, "foreign_origin", "rate", "bad_form", *_OF_APPEND], plain
    elif isinstance(route, MobileRoute):
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Call"}}}
        codes, answer = [*common, *_OF_JSON, "unknown_key", *_OF_APPEND], plain
    elif isinstance(route, pixel.PixelRoute):
        codes, answer = [*posted, "bad_pixel", "unknown_path"], gif
    elif isinstance(route, project_settings.ProjectSettingsRoute):
        codes = [*common, "unknown_key", "foreign_origin", "rate", "unknown_path"]
        answer = {"application/json": {"schema": _OBJECT}}
    else:
        codes, body, answer = common, {"application/json": {"schema": {}}}, {"application/json": {"schema": _OBJECT}}
    return codes, body, answer


def _refusal(codes: list[str]) -> dict[str, Any]:
    fields = {"success": {"const": False}, "code": {"enum": codes}, "message": _TEXT}
    return {"type": "object", "required": list(fields), "properties": fields}
