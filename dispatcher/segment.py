"""Segment's own calls: to Segment only, never to the tracking log.

Like ``tracker.emit`` they touch no network, and return the id that becomes Segment's messageId. ip, userAgent, page
and the Google Analytics client id come from the tracking context where the call's own ``context`` has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from dispatcher import tracker
from dispatcher.emit.encoding import RefusedCall
from dispatcher.wire import plain_text

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.event import EventType

__all__ = ["alias", "group", "identify", "page", "screen", "track"]

#: None and "" stand for nobody in particular.
Id = int | str | UUID | None
# Fields of a call that are absent where their text is empty.
_TEXTS: Final = frozenset({"userId", "anonymousId", "groupId", "previousId", "name"})
# Values of JSON that are no text. Most name nobody, but a float does where it is whole.
_NO_IDS: Final = (type(None), bool, float, list, tuple, dict, set, frozenset, bytes, bytearray, type, BaseException)


def track(
    user_id: Id,
    event_name: str,
    properties: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    *,
    anonymous_id: Id = None,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Record that a user did something. Returns the event's id.

    Args:
        user_id: Who; None for someone who has not logged in. With neither id, the tracking context says who it was.
        event_name: What they did.
        properties: Its details.
        context: Segment's context; what it says wins over the tracking context.
        anonymous_id: Who, before they have an account.
        integrations: Which of Segment's destinations take it, such as ``{"All": False, "Mixpanel": True}``.
        timestamp: When it happened; now, if not given.
    """
    body = _make_body(user_id, anonymous_id, context, integrations, event=event_name, properties=properties)
    return _submit("track", event_name, body, timestamp)


def identify(
    user_id: Id,
    traits: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    *,
    anonymous_id: Id = None,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Say who a user is: ``traits`` such as email and name. Returns the event's id; see ``track`` for the rest."""
    body = _make_body(user_id, anonymous_id, context, integrations, traits=traits)
    return _submit("identify", "identify", body, timestamp)


def page(
    user_id: Id,
    name: str | None = None,
    properties: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    *,
    category: str | None = None,
    anonymous_id: Id = None,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Record that a user saw a page. Returns the event's id; see ``track`` for the rest."""
    # The title goes into the call only: it may be longer, and hold other characters, than the name of an event.
    body = _make_body(user_id, anonymous_id, context, integrations, name=name, category=category, properties=properties)
    return _submit("page", "page", body, timestamp)


def screen(
    user_id: Id,
    name: str | None = None,
    properties: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    *,
    category: str | None = None,
    anonymous_id: Id = None,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Record that a user saw a screen of a mobile app. Returns the event's id; see ``track`` for the rest."""
    body = _make_body(user_id, anonymous_id, context, integrations, name=name, category=category, properties=properties)
    return _submit("screen", "screen", body, timestamp)


def group(
    user_id: Id,
    group_id: Id,
    traits: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    *,
    anonymous_id: Id = None,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Put a user into a group, which has ``traits`` of its own. Returns the event's id; see ``track`` for the rest."""
    body = _make_body(user_id, anonymous_id, context, integrations, groupId=_to_id(group_id), traits=traits)
    return _submit("group", "group", body, timestamp)


def alias(
    previous_id: Id,
    user_id: Id,
    context: dict[str, Any] | None = None,
    *,
    integrations: dict[str, Any] | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Say that ``previous_id`` is known as ``user_id`` from now on. Returns the event's id."""
    body = _make_body(user_id, None, context, integrations, previousId=_to_id(previous_id))
    return _submit("alias", "alias", body, timestamp)


def _make_body(
    user_id: Id,
    anonymous_id: Id,
    context: dict[str, Any] | None,
    integrations: dict[str, Any] | None,
    **rest: Any,
) -> dict[str, Any]:
    body = {
        "userId": _to_id(user_id),
        "anonymousId": _to_id(anonymous_id),
        **rest,
        "context": context,
        "integrations": integrations,
    }
    return {
        key: value
        for key, value in body.items()
        if value is not None and not (key in _TEXTS and type(value) is str and not value)
    }


def _to_id(identity: object) -> object:
    """An id as text; what cannot be one stays as it is.

    Whether true, 7.0 or a list names somebody is decided once for all destinations, where they read it, and what has no
    text of its own is refused as it is everywhere else in an event.
    """
    kind = type(identity)
    if issubclass(kind, str):
        return plain_text(identity)
    try:
        has_text = kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
        return str(identity) if has_text and not issubclass(kind, _NO_IDS) else identity
    except Exception:  # the code of its own class, or of its metaclass
        return identity


def _submit(event_type: EventType, name: str, body: dict[str, Any], timestamp: datetime | None) -> str:
    if issubclass(type(body.get("userId")), dict):
        body = RefusedCall(
            body,
            f"the user_id of segment.{event_type} must be text, a number or a UUID, not a dict: who it is comes first, "
            "then the details; pass None for someone who is not known, with anonymous_id=…",
        )
    return tracker.get_tracker().submit(event_type, name, body, timestamp=timestamp)
