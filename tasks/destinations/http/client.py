"""HttpClient: sends one request, with time limits on connecting and on the answer."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from requests import RequestException, Session
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from dispatcher.connections.urls import is_local
from dispatcher.tasks.destinations.http.status import may_have_arrived, outcome_of_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

    from dispatcher.outcomes import RetryAfter


def _is_above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


# urllib3 logs each request's path and query at DEBUG, and some vendors want their credentials in the query. This is a
# filter and not a level, because an app that looks for something else may set the level of every logger.
logging.getLogger("urllib3.connectionpool").addFilter(_is_above_debug)
logging.getLogger("urllib3.util.retry").addFilter(_is_above_debug)

# Bytes of an answer that are read. No vendor needs more, and a hostile one could send without end.
_MAX_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request. The client adds Host, Content-Length and User-Agent to it.

    Args:
        url: The URL, without a query.
        body: The body's bytes.
        query: The query's names and values, unencoded; it may hold credentials.
        headers: The headers, including Content-Type.
        method: The HTTP method.
    """

    url: str
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"

    @property
    def full_url(self) -> str:
        """The URL with its query, encoded. Colons stay as they are, because Firebase wants its app ids so."""
        return f"{self.url}?{urlencode(self.query, safe=':')}" if self.query else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a vendor answered.

    Args:
        status: The HTTP status.
        headers: The headers; upper and lower case do not matter in their names.
        body: The body, up to its first MiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value; None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request that got no answer.

    Args:
        outcome: What that means for its events.
        maybe_taken: Whether the vendor may have received the request nevertheless.
    """

    outcome: RetryAfter
    maybe_taken: bool


class HttpClient:
    """Sends requests over kept-alive connections. Safe in threads; make it in the process that uses it.

    It does not follow redirects, which would turn a POST into a GET, and adds no credentials of ~/.netrc.

    Args:
        url: Any URL of the destination. Requests to this machine go past the environment's proxy.
        label: What errors call the destination, such as ``Sailthru at api.sailthru.com``.
        connect_seconds: How long connecting may take.
        answer_seconds: How long the answer may be silent.
        connections: How many connections are kept open; further ones are closed after their request.
    """

    def __init__(
        self, url: str, *, label: str, connect_seconds: float, answer_seconds: float, connections: int
    ) -> None:
        self._label = label
        self._timeout = (connect_seconds, answer_seconds)
        self._proxies = proxies_to(url)
        self._session = Session()
        self._session.auth = _NoAuth()
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(self, request: Request) -> Answer | NoAnswer:
        """Send one request. Blocks up to the time limits; raises nothing for what a network or a server may do."""
        try:
            response = self._session.request(
                request.method,
                request.full_url,
                data=request.body,
                headers=dict(request.headers),
                timeout=self._timeout,
                proxies=self._proxies,
                allow_redirects=False,
                stream=True,
            )
            try:
                body: bytes = next(response.iter_content(_MAX_ANSWER_BYTES), b"")
            finally:
                # A connection whose answer was read to its end goes back to the pool; any other is closed.
                response.close()
        except RequestException as error:
            return self.no_answer(error)
        return Answer(status=response.status_code, headers=response.headers, body=body)

    def no_answer(self, error: RequestException) -> NoAnswer:
        """What an error that requests has raised for one of the destination's requests means."""
        connect_seconds, answer_seconds = self._timeout
        outcome = outcome_of_error(
            error, label=self._label, connect_seconds=connect_seconds, answer_seconds=answer_seconds
        )
        return NoAnswer(outcome, maybe_taken=may_have_arrived(error))

    def close(self) -> None:
        """Close the connections. May be called twice; a later request opens new ones."""
        self._session.close()


def proxies_to(url: str) -> dict[str, str] | None:
    """The ``proxies`` argument for requests to a URL. None leaves them to the environment."""
    host = urlsplit(url).hostname
    # A proxy cannot reach this machine's own servers.
    return {"no_proxy": host} if host is not None and is_local(host) else None


class _NoAuth(AuthBase):
    """Keeps requests from taking credentials of ~/.netrc, which would replace the header that was given."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request
