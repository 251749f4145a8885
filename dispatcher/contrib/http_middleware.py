"""HTTP middleware: what the middleware of ASGI and that of WSGI are given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from dispatcher.contrib.request_context import Hook, RequestContext
from dispatcher.contrib.request_event import IGNORED, RequestEvents

_App = TypeVar("_App")
_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class HttpMiddleware(Generic[_App, _Request, _Answer]):
    """Binds who sent a request for its length. It changes neither the request nor the response.

    Args:
        app: What it stands before.
        proxies: Networks of proxies whose ``X-Forwarded-For`` counts, such as ``10.0.0.0/8``. None: it is not read.
        session_cookie: The cookie that is the same for all requests of a session; its hash becomes ``session``.
        context: Gets the request as the server has it, and returns what else to bind, such as ``{"user_id": 7}``. If
            it raises, that is logged, and the request goes on.
        request_events: Whether each request emits an event, with its path as the name. A small form is then read
            before the app is called, which finds it as if nobody had.
        ignore_paths: Regular expressions for the start of paths that have no such event.

    Raises:
        ValueError: One of the proxies is not a network, or one of the expressions cannot be compiled.
        TypeError: ``proxies`` or ``ignore_paths`` is one text, ``context`` does not take a request, or the app is one
            for the other interface.
    """

    #: With how many arguments a server calls an app.
    _app_arguments: ClassVar[int]
    #: Where the middleware of the other interface is, whose apps are called with another number.
    _other_module: ClassVar[str]

    def __init__(
        self,
        app: _App,
        *,
        proxies: Sequence[str] = (),
        session_cookie: str = "",
        context: Callable[[_Request], _Answer] | None = None,
        request_events: bool = False,
        ignore_paths: Iterable[str] = IGNORED,
    ) -> None:
        self._check_interface(app)
        self._app = app
        self._fields = RequestContext(proxies=proxies, session_cookie=session_cookie)
        self._hook = _read_hook(context)
        events = _read_patterns(ignore_paths)
        self._events = events if request_events else None

    def _check_interface(self, app: object) -> None:
        """Refuse an app of the other interface, which would fail at its first request. Others may be anything."""
        if not _takes(app, self._app_arguments) and _takes(app, 5 - self._app_arguments):
            raise TypeError(
                f"the app, of type {type(app).__name__}, is not called with {self._app_arguments} arguments: its "
                f"middleware is that of {self._other_module}"
            )


def _takes(app: object, count: int) -> bool:
    """Whether an app can be called with so many arguments; also where it does not say."""
    if not callable(app):
        return True
    try:
        inspect.signature(app).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _read_hook(context: Callable[[_Request], _Answer] | None) -> Hook | None:
    try:
        return None if context is None else Hook(context, "DispatcherMiddleware's context")
    except TypeError as error:
        raise TypeError(f"context: {error}") from error


def _read_patterns(ignore_paths: Iterable[str]) -> RequestEvents:
    try:
        return RequestEvents(ignore_paths)
    except (TypeError, ValueError) as error:
        raise type(error)(f"ignore_paths: {error}") from error
