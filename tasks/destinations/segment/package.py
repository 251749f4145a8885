"""Package: what segment-analytics-python says of a request. Its own ``post`` makes it, up to where it would be sent."""

from __future__ import annotations

import logging
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from requests import PreparedRequest, Session
from requests.adapters import BaseAdapter
from segment.analytics.request import post

from dispatcher.tasks.destinations.http import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Headers that requests adds by itself, and that are the connection's business.
_OF_REQUESTS: Final = frozenset({"Connection", "Content-Length", "Accept-Encoding"})

# Segment's package logs whole request bodies at DEBUG: what people did, with their ids and addresses.
logging.getLogger("segment").setLevel(logging.CRITICAL)


class RequestTemplate:
    """The requests to one source, as the package makes them: all but their messages and the time of sending.

    Immutable; may be shared by threads.

    Args:
        write_key: The source's write key; may be empty.
        host: Scheme and host.
        attempt: How often the messages were sent before.
    """

    def __init__(self, *, write_key: str, host: str, attempt: int) -> None:
        try:
            _post(write_key, host, retry_count=attempt, batch=[], sentAt="")
        except _Built as built:
            request = built.request
        else:
            raise AssertionError("Segment's package has posted nothing")
        self._request: Final = request
        #: What a body has beside its messages, such as sentAt and writeKey.
        self._fields: Final[dict[str, Any]] = msgspec.json.decode(request.body)
        del self._fields["batch"]

    def fill(self, messages: Sequence[bytes], *, sent_at: str) -> Request:
        """A request with these messages, which are JSON already, uncompressed."""
        rest = msgspec.json.encode({**self._fields, "sentAt": sent_at})
        body = b"".join((b'{"batch":[', b",".join(messages), b"],", rest[1:]))
        return Request(url=self._request.url, body=body, headers=self._request.headers, method=self._request.method)


class _Built(Exception):  # noqa: N818 - not an error
    """Ends the package's ``post`` where it would send: with the request that it has built."""

    def __init__(self, request: Request) -> None:
        self.request = request


class _Builder(BaseAdapter):
    """In the place of the package's connections, which have no deadline and no limit for what they read."""

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> NoReturn:
        body = request.body
        assert isinstance(body, str | bytes), "the package sends its body at once"
        raise _Built(
            Request(
                url=str(request.url),
                body=body.encode() if isinstance(body, str) else body,
                headers={name: str(text) for name, text in request.headers.items() if name not in _OF_REQUESTS},
                method=str(request.method),
            )
        )

    def close(self) -> None:
        pass


def _post_that_builds() -> Callable[..., Any]:
    """The package's ``post``, with a session of our own in the place of the one that it shares with all its users.

    So it follows no redirect with the write key, and no ~/.netrc takes the place of the write key.
    """
    session = Session()
    session.trust_env = False
    session.mount("https://", _Builder())
    session.mount("http://", _Builder())
    return FunctionType(post.__code__, {**post.__globals__, "_session": session}, post.__name__, post.__defaults__)


_post: Final = _post_that_builds()
