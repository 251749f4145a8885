"""Segment's own calls: to Segment only, never to the tracking log.

Like ``tracker.emit`` they touch no network, and return the id that becomes Segment's messageId. ip, userAgent, page
and the Google Analytics client id come from the tracking context where the call's own ``context`` has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dispatcher import tracker

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.event import EventType

__all__ = ["alias", "group", "identify", "page", "screen", "track"]

#: None and "" stand for nobody in particular.
Id = int | str | UUID | None


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
    body = _make_body(
        user_id, anonymous_id, context, integrations, name=name or None, category=category, properties=properties
    )
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
    body = _make_body(
        user_id, anonymous_id, context, integrations, name=name or None, category=category, properties=properties
    )
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
    body = _make_body(user_id, anonymous_id, context, integrations, groupId=_text(group_id), traits=traits)
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
    body = _make_body(user_id, None, context, integrations, previousId=_text(previous_id))
    return _submit("alias", "alias", body, timestamp)


def _make_body(
    user_id: Id,
    anonymous_id: Id,
    context: dict[str, Any] | None,
    integrations: dict[str, Any] | None,
    **rest: Any,
) -> dict[str, Any]:
    body = {
        "userId": _text(user_id),
        "anonymousId": _text(anonymous_id),
        **rest,
        "context": context,
        "integrations": integrations,
    }
    return {key: value for key, value in body.items() if value is not None}


def _text(identity: Id) -> str | None:
    return None if identity is None else str(identity) or None


def _submit(event_type: EventType, name: str, body: dict[str, Any], timestamp: datetime | None) -> str:
    return tracker.get_tracker().submit(event_type, name, body, timestamp=timestamp)
