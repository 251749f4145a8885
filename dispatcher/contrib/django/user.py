"""User: who is signed in, as events have it, and who signs in or out in the middle of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.functional import SimpleLazyObject

from dispatcher.contrib.request_context import LAYER
from dispatcher.emit.context import current, enter_context

if TYPE_CHECKING:
    from django.http import HttpRequest


def bind_user(user: Any) -> None:
    """Bind another user for the rest of the request. Does not block. Outside a request it does nothing.

    ``login`` and ``logout`` do it by themselves. Call it after ``alogin`` and ``alogout``, whose signals Django sends
    in a task of their own, and for what authenticates in a view, such as a token of Django REST framework.

    Args:
        user: With ``pk`` and ``get_username``; None and an anonymous one are nobody.
    """
    fields = current().layer(LAYER)
    if fields is not None:
        enter_context(LAYER, fields | user_fields(user))


def user_fields(user: Any) -> dict[str, Any]:
    """``user_id`` and ``username`` of a user; both empty for nobody."""
    if user is None or not user.is_authenticated:
        return {"user_id": "", "username": ""}
    return {"user_id": user.pk, "username": user.get_username()}


def find_user(request: HttpRequest) -> Any:
    """The request's user, or None. Asks the database where the request has a session, as ``request.user`` does.

    What it does to the session is undone: a response only depends on the cookie, for caches, if a view looks itself.
    """
    if not _has_user(request):
        return None
    session = getattr(request, "session", None)
    accessed = getattr(session, "accessed", None)
    user = request.user
    user.is_authenticated  # noqa: B018 - fetches it
    if accessed is False and session is not None:
        session.accessed = False
        request.user = SimpleLazyObject(lambda: _look(session, user))
    return user


async def afind_user(request: HttpRequest) -> Any:
    """What ``find_user`` does, in an event loop."""
    if not _has_user(request):
        return None
    if not hasattr(request, "auser"):  # set by other middleware, which has fetched it
        return request.user
    session = getattr(request, "session", None)
    accessed = getattr(session, "accessed", None)
    user = await request.auser()
    if accessed is False and session is not None:
        session.accessed = False

        async def auser() -> Any:
            return _look(session, user)

        request.auser = auser
        request.user = SimpleLazyObject(lambda: _look(session, user))
    return user


def _look(session: Any, user: Any) -> Any:
    session.accessed = True
    return user


def _has_user(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    # A lazy one comes out of the session; without the cookie it is nobody, and the session stays untouched.
    return user is not None and (type(user) is not SimpleLazyObject or settings.SESSION_COOKIE_NAME in request.COOKIES)


def on_login(sender: object, user: Any = None, **_: Any) -> None:
    """Receive ``user_logged_in``."""
    bind_user(user)


def on_logout(sender: object, **_: Any) -> None:
    """Receive ``user_logged_out``."""
    bind_user(None)
