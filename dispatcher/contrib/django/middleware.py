"""Middleware: binds a request's context for its length, as edX's TrackMiddleware does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, StreamingHttpResponse

from dispatcher.contrib.bound_body import AsyncBoundBody, BoundBody
from dispatcher.contrib.django.conf import read_configuration
from dispatcher.contrib.django.request_event import emit_request
from dispatcher.contrib.django.request_fields import request_fields
from dispatcher.contrib.django.user import afind_user, find_user
from dispatcher.contrib.request_context import LAYER
from dispatcher.emit.context import BoundContext, current, replace_context

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

_APP: Final = "dispatcher.contrib.django"


class RequestContextMiddleware:
    """Binds who, where and from where, streamed bodies included. The response stays what it is.

    It stands behind the middleware of sessions and of authentication. A request with a session costs the query of its
    user, which a view that asks for ``request.user`` does not do again.

    Args:
        get_response: What it stands before, sync or async.

    Raises:
        ImproperlyConfigured: ``DISPATCHER`` of the settings is wrong, or the app is not installed.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not apps.is_installed(_APP):
            # Nothing would set the tracker up, follow logins or check the settings, and no event would tell.
            raise ImproperlyConfigured(f'RequestContextMiddleware needs its app: put "{_APP}" into INSTALLED_APPS.')
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
        fields = request_fields(request, self._configuration.fields, find_user(request))
        if self._configuration.hook is not None:
            fields |= self._configuration.hook.read(self._configuration.hook.ask(request))
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._configuration.emits_requests:
                emit_request(request, self._configuration.request_events)
            return _bind_body(self._get_response(request), current())
        finally:
            replace_context(before)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        fields = request_fields(request, self._configuration.fields, await afind_user(request))
        if self._configuration.hook is not None:
            fields |= await self._configuration.hook.find(request)
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._configuration.emits_requests:
                emit_request(request, self._configuration.request_events)
            return _bind_body(await self._get_response(request), current())
        finally:
            replace_context(before)


def _bind_body(response: HttpResponseBase, bound: BoundContext) -> HttpResponseBase:
    # A file is read by the server, and no code of the app runs meanwhile.
    if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
        if response.is_async:
            response.streaming_content = AsyncBoundBody(aiter(response.streaming_content), bound)
        else:
            response.streaming_content = BoundBody(response.streaming_content, bound)
    return response
