"""HttpClient: one request, with a time limit on everything, and what came of it."""

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


def _is_no_request_line(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


# It logs each request's path and query at DEBUG, and some vendors want their credentials in the query. A filter and no
# level, since an app that looks for something else may set the level of every logger.
logging.getLogger("urllib3.connectionpool").addFilter(_is_no_request_line)
logging.getLogger("urllib3.util.retry").addFilter(_is_no_request_line)

# Bytes of an answer that are read: no vendor says more that matters, and a hostile one could say it without end.
_MOST_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it goes out, but for what the client adds to every one (Host, Content-Length, User-Agent).

    Args:
        url: Where to, without a query.
        body: What is sent.
        query: Put behind the URL, encoded. Empty for most.
        headers: With the Content-Type.
        method: The HTTP method.
    """

    url: str
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"

    @property
    def full_url(self) -> str:
        """The URL with its query, in which a colon stays one, as Firebase's app ids need it."""
        return f"{self.url}?{urlencode(self.query, safe=':')}" if self.query else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a destination answered.

    Args:
        status: The HTTP status.
        headers: By their names, in any spelling of case.
        body: At most its first MiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request got no answer.

    Args:
        outcome: What that means for its events.
        maybe_taken: The destination may have got the request all the same.
    """

    outcome: RetryAfter
    maybe_taken: bool


class HttpClient:
    """Sends requests over kept-alive connections. Safe in threads; made in the process that uses it.

    Redirects are not followed, since they would turn a POST into a GET, and no credentials of ~/.netrc are added.

    Args:
        url: Any URL of the destination; says whether it is on this machine.
        label: Names the destination in errors, such as ``Sailthru at api.sailthru.com``.
        connect_seconds: How long connecting may take.
        answer_seconds: How long the answer may be silent.
        connections: How many to keep open; further ones are closed after their request.
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
                body: bytes = next(response.iter_content(_MOST_ANSWER_BYTES), b"")
            finally:
                # Read to its end it goes back to the pool, else it is closed.
                response.close()
        except RequestException as error:
            connect_seconds, answer_seconds = self._timeout
            return no_answer(error, label=self._label, connect_seconds=connect_seconds, answer_seconds=answer_seconds)
        return Answer(status=response.status_code, headers=response.headers, body=body)

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._session.close()


def no_answer(error: RequestException, *, label: str, connect_seconds: float, answer_seconds: float) -> NoAnswer:
    """What it means that requests raised this. See ``outcome_of_error`` for the arguments."""
    outcome = outcome_of_error(error, label=label, connect_seconds=connect_seconds, answer_seconds=answer_seconds)
    return NoAnswer(outcome, maybe_taken=may_have_arrived(error))


def proxies_to(url: str) -> dict[str, str] | None:
    """The ``proxies`` that requests goes to a URL with: none to this machine, else those of the environment."""
    host = urlsplit(url).hostname
    # A proxy of the environment cannot reach this machine's own servers.
    return {"no_proxy": host} if host is not None and is_local(host) else None


class _NoAuth(AuthBase):
    """Keeps requests from looking for credentials in ~/.netrc, which would take the place of the header given."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request
