"""Person: whom an event is about, as far as it says so. Only this file knows where edX's events keep that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.event import DIRECT_TYPES, data_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom an event is about. What the event does not say is None; numbers are text.

    Args:
        user_id: Of the logged-in user: of the call (userId), else of the context, else of the data (as where a
            background job enrols somebody), else the username.
        anonymous_id: Of a visitor who is not logged in: of the call, else anonymous_id or session of the context.
        client_id: Google Analytics' id of the browser, from its ``_ga`` cookie.
        email: In clear, from traits, data or context.
        ip: Of the request.
        user_agent: Of the browser.
        page_url: Where it happened: a URL.
        referrer: What led there.
    """

    user_id: str | None = None
    anonymous_id: str | None = None
    client_id: str | None = None
    email: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    page_url: str | None = None
    referrer: str | None = None

    @classmethod
    def of(cls, event: Event) -> Person:
        """The person of an event."""
        context = event.context
        data: Mapping[str, Any] = data_fields(event)
        call = data if event.type in DIRECT_TYPES else {}
        traits = call.get("traits")
        traits = traits if isinstance(traits, dict) else {}
        return cls(
            user_id=_first(
                (call, "userId"), (context, "user_id"), (data, "user_id"), (context, "username"), (data, "username")
            ),
            anonymous_id=_first((call, "anonymousId"), (context, "anonymous_id"), (context, "session")),
            client_id=_first((context, "client_id")),
            email=_first((traits, "email"), (data, "email"), (context, "email")),
            ip=_first((context, "ip")),
            user_agent=_first((context, "agent")),
            page_url=web_url(context.get("page")) or _joined(context),
            referrer=_first((context, "referer")),
        )


def _first(*places: tuple[Mapping[str, Any], str]) -> str | None:
    for mapping, key in places:
        value = mapping.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def web_url(value: object) -> str | None:
    """The value if it is a web address; else None. edX's server has "x_module" as the page of a course's component."""
    return value if isinstance(value, str) and value.startswith(("http://", "https://")) else None


def _joined(context: Mapping[str, Any]) -> str | None:
    host, path = context.get("host"), context.get("path")
    if not isinstance(host, str) or not isinstance(path, str) or not host or not path:
        return None
    return f"https://{host}{'' if path.startswith('/') else '/'}{path}"
