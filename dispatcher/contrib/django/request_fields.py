"""Request fields: the context of a Django request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import DisallowedHost

from dispatcher.contrib.django.user import user_fields
from dispatcher.contrib.environ import read_headers
from dispatcher.contrib.request_context import RequestContext, hash_session

if TYPE_CHECKING:
    from django.http import HttpRequest


def host_of(request: HttpRequest) -> str:
    """The host that the request is for; empty where Django does not allow it, which it answers when a view asks."""
    try:
        host: str = request.get_host()
    except DisallowedHost:
        return ""
    return host


def request_fields(request: HttpRequest, maker: RequestContext, user: Any) -> dict[str, Any]:
    """What is bound for a request. Does not block.

    Args:
        request: With or without a session.
        maker: Of the site's settings.
        user: Who is signed in, fetched already; None for nobody.
    """
    headers = read_headers(request.META)
    headers["host"] = host_of(request)
    fields = maker.make(peer=request.META.get("REMOTE_ADDR", ""), path=request.path, headers=headers)
    key = getattr(getattr(request, "session", None), "session_key", None)
    return fields | user_fields(user) | {"session": hash_session(key, settings.SECRET_KEY) if key else ""}
