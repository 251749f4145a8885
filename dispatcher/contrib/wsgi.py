"""WSGI: the request's context for Flask, Bottle and everything else that runs under a WSGI server.

app.wsgi_app = dispatcher.contrib.wsgi.DispatcherMiddleware(app.wsgi_app)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dispatcher.contrib.bound_body import BoundBody
from dispatcher.contrib.environ import read_headers
from dispatcher.contrib.http_middleware import HttpMiddleware
from dispatcher.contrib.request_context import LAYER
from dispatcher.contrib.request_event import RequestEvents, form_length, read_fields
from dispatcher.emit.context import current, replace_context

_Environ = dict[str, Any]
_App = Callable[[_Environ, Any], Iterable[bytes]]

__all__ = ["DispatcherMiddleware"]


class DispatcherMiddleware(HttpMiddleware[_App, _Environ, Mapping[str, Any] | None]):
    """Binds who sent a request for its length, until the response's body is closed.

    It changes neither the request nor the response, and does not block, but for ``context``, which gets the environ.
    Safe in threads and greenlets, and after a fork. The arguments are those of ``HttpMiddleware``.
    """

    _app_arguments = 2
    _other_module = "dispatcher.contrib.asgi"

    def __call__(self, environ: _Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        fields = self._fields.make(
            peer=environ.get("REMOTE_ADDR", ""),
            path=_path_of(environ),
            headers=read_headers(environ),
        )
        if self._hook is not None:
            fields |= self._hook.read(self._hook.ask(environ))
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._events is not None:
                _emit_request(self._events, environ)
            body = self._app(environ, start_response)
        finally:
            bound = replace_context(before)
        if _is_made(body, environ):
            return body
        return BoundBody(body, bound)


def _emit_request(events: RequestEvents, environ: _Environ) -> None:
    path = _decode(environ.get("PATH_INFO", ""))
    if not events.ignores(path):
        query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
        events.emit(path, read_fields(query), read_fields(_read_form(environ)))


def _read_form(environ: _Environ) -> bytes:
    """The bytes of a small form, which the app can read once more; empty where there is none."""
    length = form_length(
        environ.get("REQUEST_METHOD", ""), environ.get("CONTENT_TYPE", ""), environ.get("CONTENT_LENGTH", "")
    )
    if not length:
        return b""
    try:
        form: bytes = environ["wsgi.input"].read(length)
    except Exception:  # a client that has gone: the app meets the same as it reads
        return b""
    environ["wsgi.input"] = io.BytesIO(form)
    return form


def _path_of(environ: _Environ) -> str:
    return _decode(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))


def _decode(path: str) -> str:
    # The bytes of UTF-8, each of them as one character (PEP 3333).
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_made(body: object, environ: _Environ) -> bool:
    """Whether no code of the app runs while the server sends the body, so that it can stay what it is."""
    if type(body) in (list, tuple):
        return True
    # The server sends such a file without reading it.
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)
