"""Person: whom an event is about, as far as it says so. Only this file knows where edX's events keep that.

What counts as an id, an address or a URL is the same everywhere: dispatcher/destinations/identifiers.py.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from dispatcher.destinations.identifiers import (
    MAX_URL,
    to_address,
    to_id,
    to_path,
    to_referrer,
    to_user_agent,
    to_web_url,
)
from dispatcher.event import DIRECT_TYPES, data_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event

# ASCII that a path may have as it is (RFC 3986 §3.3), and the percent sign of what is quoted already.
_IN_PATHS = "/:@!$&'()*+,;=~%"


class Person(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whom an event is about. What the event does not say, or says in a form that cannot be, is None.

    Args:
        user_id: Of the logged-in user: of the call (userId), else of the context, else of the data (as where a
            background job enrols somebody), else the username.
        anonymous_id: Of a visitor who is not logged in: of the call, else anonymous_id or session of the context.
        client_id: Google Analytics' id of the browser, from its ``_ga`` cookie.
        email: In clear, from traits, data or context.
        ip: Of the request.
        user_agent: Of the browser.
        page_url: Where it happened: a URL.
        page_path: Its path on its host.
        referrer: What led there: a URL.
    """

    user_id: str | None = None
    anonymous_id: str | None = None
    client_id: str | None = None
    email: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    page_url: str | None = None
    page_path: str | None = None
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
            email=_first((traits, "email"), (data, "email"), (context, "email")),
            **_browser(context),
        )

    @classmethod
    def of_browser(cls, event: Event) -> Person:
        """Only what the browser of an event says: client_id, address, name and pages, without who is before it."""
        return cls(**_browser(event.context))


def segment_ids(event: Event) -> dict[str, str]:
    """Whom Segment takes an event for: ``userId`` and ``anonymousId``, by its spec; empty if the event says nothing.

    A call that names somebody decides alone. Else it is the context's user_id, else its anonymous_id, session or
    client_id. The data and names have no say, because Segment keeps a user for each id for ever: an event's data may
    name somebody else than who acted, and a name is not the id that the user has there.
    """
    call: Mapping[str, Any] = data_fields(event) if event.type in DIRECT_TYPES else {}
    if ids := {key: id_ for key in ("userId", "anonymousId") if (id_ := to_id(call.get(key))) is not None}:
        return ids
    context = event.context
    if (user_id := to_id(context.get("user_id"))) is not None:
        return {"userId": user_id}
    anonymous_id = _first((context, "anonymous_id"), (context, "session"), (context, "client_id"))
    return {} if anonymous_id is None else {"anonymousId": anonymous_id}


def _browser(context: Mapping[str, Any]) -> Mapping[str, str | None]:
    given = [context.get(key) for key in ("client_id", "ip", "agent", "page", "host", "path", "referer")]
    if all(value is None or (isinstance(value, str) and len(value) <= MAX_URL) for value in given):
        return _read_browser(*given)
    return _read_browser.__wrapped__(*given)


# The events of one request of an app have the same browser.
@lru_cache(maxsize=256)
def _read_browser(
    client_id: object, ip: object, agent: object, page: object, host: object, path: object, referer: object
) -> Mapping[str, str | None]:
    return MappingProxyType(
        {
            "client_id": to_id(client_id),
            "ip": to_address(ip),
            "user_agent": to_user_agent(agent),
            "page_url": to_web_url(page) or _join(host, path),
            "page_path": to_path(path),
            "referrer": to_referrer(referer),
        }
    )


def _first(*places: tuple[Mapping[str, Any], str]) -> str | None:
    for mapping, key in places:
        if (id_ := to_id(mapping.get(key))) is not None:
            return id_
    return None


def _join(host: object, path: object) -> str | None:
    """The URL of a path on a host. Servers tell an app the path unquoted."""
    if not isinstance(host, str) or not isinstance(path, str) or not host or not path:
        return None
    url = f"https://{host}{'' if path.startswith('/') else '/'}"
    return to_web_url(url + path) or to_web_url(url + quote(path, safe=_IN_PATHS, errors="replace"))
