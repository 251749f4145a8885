"""Events: ``/v1/events``, to which tracker.js sends: events of the tracking log, and calls for Segment alone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from dispatcher.collector.route import Accepted, Rejected, Request
from dispatcher.collector.sources import Sources
from dispatcher.event import Event, EventType, is_id
from dispatcher.intake.json_body import count_brackets, decode_body
from dispatcher.intake.refused import Refused
from dispatcher.intake.timestamps import corrected_time, parse_time
from dispatcher.request.course import course_fields
from dispatcher.secrecy.visitor import CONTEXT_KEY as MAILBOX_KEY
from dispatcher.secrecy.visitor import read_references
from dispatcher.store.deprecated_calls import CONTEXT_KEY
from dispatcher.wire import STANDARD

if TYPE_CHECKING:
    from dispatcher.config.collector import CollectorSettings
else:
    # As in dispatcher.event: msgspec knows no other type of times.
    datetime = STANDARD["datetime"]

#: The calls of tracker.js that go to Segment only, and the field of Segment's that has what they say.
_CALLS: Final = {"track": "properties", "page": "properties", "identify": "traits"}
#: What a page may not say of itself: who the user is and where the request came from is known here.
_OURS: Final = frozenset(
    {
        *("user_id", "username", "session", "anonymous_id", "client_id", "ip", "agent", "host", "path", "referer"),
        *(CONTEXT_KEY, MAILBOX_KEY),
        *(
            "accept_language",
            "event_source",
            "event_type",
            "event_id",
            "timestamp",
            "received_at",
            "page",
            "collector_source",
        ),
    }
)
#: Reasons for which a page drops events are a few words of tracker.js; others are not counted.
_MAX_REASONS: Final = 10
_MAX_SCRIPT_CHARACTERS: Final = 500
_TEXT: Final = frozenset({str, type(None)})


class _Item(msgspec.Struct, gc=False, rename="camel"):
    """One of the events. The types are those that tracker.js sends; others come by ``_decode_unusual``."""

    id: Any = None
    type: Any = None
    name: Any = None
    timestamp: datetime | None = None
    data: Any = None
    page: Any = None
    context: Any = None
    anonymous_id: Any = None
    integrations: Any = None
    user_id: Any = None
    category: Any = None
    via: Any = None
    script: Any = None
    o: Any = None


class _Body(msgspec.Struct, gc=False, rename="camel"):
    events: list[_Item | None]
    key: Any = None
    sent_at: datetime | None = None
    dropped: Any = None
    version: Any = None
    visitor: Any = None


_decode: Final = msgspec.json.Decoder(_Body).decode


class EventsRoute:
    """Takes ``{"key": …, "sentAt": …, "dropped": {…}, "events": [{"id": …, "name": …, "data": …}]}``.

    The body is text/plain, so that no page has to ask before it sends. An item without ``type`` is an event; with the
    type ``track``, ``page`` or ``identify`` it is Segment's call of that name.

    Args:
        settings: Where Logger is removed, events by it are refused one by one.
        secret: What makes the name of the visitor's mailbox; empty where no page is handed anything.
    """

    methods: Final = frozenset({"POST"})

    def __init__(self, settings: CollectorSettings, secret: bytes = b"") -> None:
        self._secret = secret
        self._is_logger_removed = settings.logger_stage == "removed"

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The events of the request; see ``Route``."""
        try:
            body: _Body | Refused = _decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = _decode_unusual(request.body)
        if isinstance(body, Refused):
            return body
        source = sources.admit(body.key, request)
        if isinstance(source, Refused):
            return source
        items = body.events
        if len(items) > source.settings.batch_events:
            most = source.settings.batch_events
            return Refused(413, "too_many", f"a request has at most {most} events: send the rest in another one")
        dropped = _dropped(body.dropped) if body.dropped else {}
        depth = count_brackets(request.body)
        accepted = Accepted(source, dropped=dropped, client=body.version, depth=depth, memory=request.memory)
        events: list[Event] = []
        indexes: list[int] = []
        context = request.context(source)
        if body.visitor and self._secret:
            given = body.visitor if isinstance(body.visitor, list) else [body.visitor]
            mailboxes, _ = read_references(self._secret, given)
            if mailboxes:
                # A dict of its own: the request's may be another visitor's too.
                context = {**context, MAILBOX_KEY: mailboxes[0]}
        for index, item in enumerate(items):
            made: Event | tuple[str, str]
            if self._is_logger_removed and item is not None and item.via:
                # By a page that was loaded before.
                made = ("removed_call", "Logger is removed (collector.logger_stage): call Tracker.emit instead")
            else:
                made = _to_event(item, context, body.sent_at, request)
            if isinstance(made, Event):
                events.append(made)
                indexes.append(index)
            elif item is None or item.type != "on":
                # A page that ends without its script also sends the listeners of its stub: nothing to take or refuse.
                code, message = made
                item_id = item.id if item is not None and is_id(item.id) else ""
                accepted.rejected.append(Rejected(index, item_id, code, message))
        accepted.events, accepted.indexes = events, indexes
        return accepted


def _decode_unusual(raw: bytes) -> _Body | Refused:
    """What any JSON says, where ``_decode`` finds it of other types, or odd in another way."""
    body = decode_body(raw)
    if isinstance(body, Refused):
        return body
    if not isinstance(body, dict) or not isinstance(body.get("events"), list):
        return Refused(400, "no_events", 'the body must be an object with a list "events"')
    fields = dict(zip(_Item.__struct_fields__, _Item.__struct_encode_fields__, strict=True))
    items = [
        _Item(**{name: item.get(key) for name, key in fields.items()}) if isinstance(item, dict) else None
        for item in body["events"]
    ]
    return _Body(
        items,
        body.get("key"),
        parse_time(body.get("sentAt")),
        body.get("dropped"),
        body.get("version"),
        body.get("visitor"),
    )


def _to_event(
    item: _Item | None, shared: dict[str, Any], sent_at: datetime | None, request: Request
) -> Event | tuple[str, str]:
    if item is None:
        return "not_an_object", "each of the events must be an object"
    if not is_id(item.id):
        return "bad_id", "an id must have 1 to 100 printable characters"
    timestamp = corrected_time(item.timestamp, sent_at, request.received_at)
    if item.page is None:
        _read_arguments(item)
    kind, name = item.type, item.name
    if isinstance(kind, str) and kind in _CALLS:
        return _to_call(kind, item, item.context if isinstance(item.context, dict) else {}, shared, timestamp)
    if kind not in (None, "event") or not isinstance(name, str) or not name:
        return "bad_type", 'an event has a name, and no type but "track", "page" or "identify"'
    return Event(id=item.id, name=name, timestamp=timestamp, data=item.data, context=_context(item, shared, request))


def _read_arguments(item: _Item) -> None:
    """Turn an item of the stub, which has a call's first three arguments, into what tracker.js makes of the call.

    Items of tracker.js always name their page, and those of the stub never do.
    """
    given = (item.name, item.data, item.o)
    if item.type == "page":
        # (category, name, properties), each of which may be left out; one text is the name.
        texts = [value for value in given if isinstance(value, str)]
        item.category = texts[0] if len(texts) > 1 else item.category
        item.name = texts[min(len(texts), 2) - 1] if texts else None
        item.data = next((value for value in given if isinstance(value, dict)), None)
        return
    if item.type == "identify":
        # (userId, traits, options), of which the id may be left out.
        if isinstance(item.name, dict):
            item.data = item.name
        elif item.user_id is None and isinstance(item.name, str | int):
            item.user_id = str(item.name)
    elif item.type == "emit":
        item.type = None
    options = item.o if isinstance(item.o, dict) else {}
    item.context = item.context or options.get("context")
    item.integrations = item.integrations or options.get("integrations")
    item.via, item.script = item.via or options.get("via"), item.script or options.get("script")


def _context(item: _Item, shared: dict[str, Any], request: Request) -> dict[str, Any]:
    """The context of an event, which is the very same dict for the events of a page one after another."""
    page, told, memory = item.page, item.context if isinstance(item.context, dict) else {}, request.memory
    is_usual = not (item.via or item.integrations)
    said = (page, item.anonymous_id, told)
    if is_usual and memory.page is not None and memory.page[0] is shared and memory.page[1] == said:
        return memory.page[2]
    context = dict(shared)
    for key, value in told.items():
        if key not in _OURS:
            context[key] = value
    course = context.pop("courserun_key", None) or context.get("course_id")
    if course is not None or (type(page) is str and "/course" in page):
        context |= course_fields(page, course)
    context["event_source"] = "browser"
    context["page"] = page if isinstance(page, str) else None
    if item.anonymous_id:
        context["anonymous_id"] = item.anonymous_id
    if item.integrations:
        context["integrations"] = item.integrations
    via, script = item.via, item.script
    if isinstance(via, str) and via:
        script = script[:_MAX_SCRIPT_CHARACTERS] if isinstance(script, str) else ""
        context[CONTEXT_KEY] = {"via": via[:100], "script": script}
    # What is all text is equal to nothing else, as 1 is to 1.0 and to True.
    if is_usual and _TEXT.issuperset(map(type, (page, item.anonymous_id, *told.values()))):
        memory.page = shared, said, context
    return context


def _to_call(kind: str, item: _Item, told: dict[str, Any], shared: dict[str, Any], timestamp: datetime) -> Event:
    name = item.name
    context = dict(told)
    if isinstance(item.page, str):
        page = context.get("page")
        context["page"] = {"url": item.page, **(page if isinstance(page, dict) else {})}
    call = {
        _CALLS[kind]: item.data,
        "userId": item.user_id,
        "anonymousId": item.anonymous_id,
        "name": name if kind == "page" else None,
        "category": item.category,
        "integrations": item.integrations,
        "context": context or None,
    }
    return Event(
        id=item.id,
        type=cast("EventType", kind),
        name=name if kind == "track" and isinstance(name, str) else kind,
        timestamp=timestamp,
        data={key: value for key, value in call.items() if value is not None},
        context=shared,
    )


def _dropped(counts: Any) -> dict[str, int]:
    """How many events the page had to drop since it last said so, by reason."""
    if not isinstance(counts, dict):
        return {}
    good = [(reason, count) for reason, count in counts.items() if type(count) is int and 0 < count < 1_000_000]
    return {reason: count for reason, count in good[:_MAX_REASONS] if reason.isidentifier() and len(reason) < 30}
