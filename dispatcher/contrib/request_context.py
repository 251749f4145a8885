"""Request context: what is bound for the length of a request, whatever the framework. Names and order are edX's."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from dispatcher.monitoring.otel.traceparent import HEADER, trace_context
from dispatcher.monitoring.otel.variables import read_otel
from dispatcher.process.clock import monotonic
from dispatcher.request.address import Proxies
from dispatcher.request.client_id import client_id_of
from dispatcher.request.cookies import read_cookies
from dispatcher.secrecy.foreign_error import describe_error, type_name

logger = logging.getLogger(__name__)

#: Under which name it is entered.
LAYER: Final = "request"
# No browser sends longer headers, and each event of the request would have them.
_MAX_CHARACTERS: Final = 4_096
_LOG_SECONDS: Final = 60.0

_Request = TypeVar("_Request")


def hash_session(key: str, secret: str = "") -> str:
    """The same 32 characters for all requests of a session, from which nobody gets the session's key.

    Args:
        key: Whoever has it is that user, so it stands in no event.
        secret: The site's own. Django's SECRET_KEY gives what edX's middleware writes.
    """
    return hashlib.shake_128((secret + key).encode("utf-8", "surrogateescape")).hexdigest(16)


class RequestContext:
    """Makes the context of a request. Safe in threads.

    Args:
        proxies: Networks of proxies whose ``X-Forwarded-For`` counts, such as ``10.0.0.0/8``. None: it is not read.
        session_cookie: The cookie that is the same for all requests of a session. Empty: ``session`` stays empty.

    Raises:
        ValueError: One of the proxies is not a network.
        TypeError: ``proxies`` is one text instead of several.
    """

    def __init__(self, *, proxies: Sequence[str] = (), session_cookie: str = "") -> None:
        if isinstance(proxies, str):
            raise TypeError(f'proxies must be a list of networks, not a text: write ["{proxies[:80]}"]')
        self._proxies = Proxies(proxies)
        self._session_cookie = session_cookie
        self._carries_traces = read_otel(os.environ).carries_traces

    def make(self, *, peer: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """The context, in which what is not known is empty. Neither blocks nor raises.

        Args:
            peer: The address at the other end of the connection; empty for a Unix socket.
            path: With the part that leads to the app.
            headers: By names in lower case; of a header that comes twice all lines, joined by commas.
        """
        cookies = read_cookies(headers.get("cookie", ""))
        session = cookies.get(self._session_cookie) if self._session_cookie else None
        fields = {
            "session": hash_session(session) if session else "",
            "user_id": "",
            "username": "",
            "ip": self._proxies.address_of(peer, headers.get("x-forwarded-for")),
            "host": headers.get("host", "")[:_MAX_CHARACTERS],
            "agent": headers.get("user-agent", "")[:_MAX_CHARACTERS],
            "path": path[:_MAX_CHARACTERS],
            "referer": headers.get("referer", "")[:_MAX_CHARACTERS],
            "accept_language": headers.get("accept-language", "")[:_MAX_CHARACTERS],
            "client_id": client_id_of(cookies),
            "course_id": "",
            "org_id": "",
        }
        if self._carries_traces:
            fields |= trace_context(headers.get(HEADER, ""))
        return fields


class Hook:
    """A function of the site that says more of a request. Its mistakes cost no request. Safe in threads.

    Args:
        function: Gets the request as the framework has it, and returns what is to be bound beside the rest, and
            instead of what has the same name; None for nothing.
        name: What the setting is called, for the log.

    Raises:
        TypeError: It cannot be called, or not with a request alone.
    """

    def __init__(self, function: Callable[[_Request], Any], name: str) -> None:
        _check_takes_one(function)
        self._function: Callable[[Any], Any] = function
        self._name = name
        self._logged_at = float("-inf")

    def ask(self, request: object) -> Any:
        """What the function returned: a dict, or what is to be awaited for one. Empty where it raised."""
        try:
            return self._function(request)
        except Exception as error:
            return self._fail(describe_error(error))

    def read(self, answer: object) -> Mapping[str, Any]:
        """What the function returned, if that can be bound; empty otherwise."""
        if answer is None:
            return {}
        try:
            if isinstance(answer, Mapping):
                return dict(answer)
        except Exception as error:  # the code of its own class
            return self._fail(describe_error(error))
        return self._fail(f"it returned {type_name(answer)}: return a dict or None")

    async def find(self, request: object) -> Mapping[str, Any]:
        """What the function says, which may be a coroutine function. Waits as long as it does."""
        answer = self.ask(request)
        if hasattr(answer, "__await__"):
            try:
                answer = await answer
            except Exception as error:
                return self._fail(describe_error(error))
        return self.read(answer)

    def _fail(self, why: str) -> dict[str, Any]:
        if monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = monotonic()
            logger.warning("%s: events go on without what it knows: %s", self._name, why)
        return {}


def _check_takes_one(function: object) -> None:
    """Raise where no request could ever be asked, so that it shows as the app starts and not in a log."""
    if not callable(function):
        raise TypeError(f"{type_name(function)} cannot be called")
    try:
        signature = inspect.signature(function)
    except Exception:  # of code that is not Python's, or whose annotations cannot be read
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(f"it must be a function of one argument, the request: {error}") from None
