"""Middleware: binds a request's context for its length, as edX's TrackMiddleware does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.http import FileResponse, StreamingHttpResponse

from dispatcher.contrib.bound_body import AsyncBoundBody, BoundBody
from dispatcher.contrib.django.conf import read_configuration
from dispatcher.contrib.django.request_event import emit_request
from dispatcher.contrib.django.user import afind_user, find_user, user_fields
from dispatcher.contrib.request_context import LAYER, hash_session
from dispatcher.emit.context import BoundContext, current, replace_context

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase


class RequestContextMiddleware:
    """Binds who, where and from where, streamed bodies included. The response stays what it is.

    It stands behind the middleware of sessions and of authentication. A request with a session costs the query of its
    user, which a view that asks for ``request.user`` does not do again.

    Args:
        get_response: What it stands before, sync or async.

    Raises:
        ImproperlyConfigured: ``DISPATCHER`` of the settings is wrong.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._configuration = read_configuration()
        if self._configuration.problems:
            raise ImproperlyConfigured("; ".join(f"{one.text}. {one.hint}" for one in self._configuration.problems))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request; in an event loop, a coroutine that does."""
        if self._is_async:
            return self._answer(request)
        fields = self._make(request, find_user(request))
        if self._configuration.hook is not None:
            fields |= self._configuration.hook.read(self._configuration.hook.ask(request))
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._configuration.request_events:
                emit_request(request, self._configuration.ignored)
            return _bind_body(self._get_response(request), current())
        finally:
            replace_context(before)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        fields = self._make(request, await afind_user(request))
        if self._configuration.hook is not None:
            fields |= await self._configuration.hook.find(request)
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._configuration.request_events:
                emit_request(request, self._configuration.ignored)
            return _bind_body(await self._get_response(request), current())
        finally:
            replace_context(before)

    def _make(self, request: HttpRequest, user: Any) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            headers["host"] = request.get_host()
        except DisallowedHost:  # Django answers that when a view asks
            headers["host"] = ""
        fields = self._configuration.fields.make(
            peer=request.META.get("REMOTE_ADDR", ""), path=request.path, headers=headers
        )
        key = getattr(getattr(request, "session", None), "session_key", None)
        return fields | user_fields(user) | {"session": hash_session(key, settings.SECRET_KEY) if key else ""}


def _bind_body(response: HttpResponseBase, bound: BoundContext) -> HttpResponseBase:
    # A file is read by the server, and no code of the app runs meanwhile.
    if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
        if response.is_async:
            response.streaming_content = AsyncBoundBody(aiter(response.streaming_content), bound)
        else:
            response.streaming_content = BoundBody(response.streaming_content, bound)
    return response
