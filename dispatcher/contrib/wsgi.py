"""WSGI: the request's context for Flask, Bottle and everything else that runs under a WSGI server.

app.wsgi_app = dispatcher.contrib.wsgi.DispatcherMiddleware(app.wsgi_app)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from dispatcher.contrib.bound_body import BoundBody
from dispatcher.contrib.request_context import LAYER, Hook, RequestContext
from dispatcher.emit.context import current, replace_context

_Environ = dict[str, Any]
_App = Callable[[_Environ, Any], Iterable[bytes]]

__all__ = ["DispatcherMiddleware"]

_HEADERS: Final = {
    "HTTP_COOKIE": "cookie",
    "HTTP_HOST": "host",
    "HTTP_USER_AGENT": "user-agent",
    "HTTP_REFERER": "referer",
    "HTTP_ACCEPT_LANGUAGE": "accept-language",
    "HTTP_X_FORWARDED_FOR": "x-forwarded-for",
}


class DispatcherMiddleware:
    """Binds who sent a request for its length, until the response's body is closed.

    It changes neither the request nor the response, and does not block, but for ``context``. Safe in threads and
    greenlets, and after a fork.

    Args:
        app: What it stands before.
        proxies: Networks of proxies whose ``X-Forwarded-For`` counts, such as ``10.0.0.0/8``. None: it is not read.
        session_cookie: The cookie that is the same for all requests of a session; its hash becomes ``session``.
        context: Gets the environ, and returns what else to bind, such as ``{"user_id": 7}``. If it raises, that is
            logged, and the request goes on.

    Raises:
        ValueError: One of the proxies is not a network.
        TypeError: ``proxies`` is one text.
    """

    def __init__(
        self,
        app: _App,
        *,
        proxies: Sequence[str] = (),
        session_cookie: str = "",
        context: Callable[[_Environ], Mapping[str, Any] | None] | None = None,
    ) -> None:
        self._app = app
        self._fields = RequestContext(proxies=proxies, session_cookie=session_cookie)
        self._hook = None if context is None else Hook(context, "DispatcherMiddleware's context")

    def __call__(self, environ: _Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        fields = self._fields.make(
            peer=environ.get("REMOTE_ADDR", ""),
            path=_path_of(environ),
            headers={name: environ[key] for key, name in _HEADERS.items() if key in environ},
        )
        if self._hook is not None:
            fields |= self._hook.read(self._hook.ask(environ))
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            body = self._app(environ, start_response)
        finally:
            bound = replace_context(before)
        if _is_made(body, environ):
            return body
        return BoundBody(body, bound)


def _path_of(environ: _Environ) -> str:
    # The bytes of UTF-8, each of them as one character (PEP 3333).
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_made(body: object, environ: _Environ) -> bool:
    """Whether no code of the app runs while the server sends the body, so that it can stay what it is."""
    if type(body) in (list, tuple):
        return True
    # The server sends such a file without reading it.
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)
