"""App: the collector as raw ASGI. One look-up of the path; the routes are plain functions, the rest is done here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dispatcher.collector import openapi
from dispatcher.collector.answer import Headers, accepted_body, encode_answer, encode_body, encode_head, refused_body
from dispatcher.collector.body import BodyRefusedError, Receive, inflate, read_body, too_large, wait_until_gone
from dispatcher.collector.commit import Committer, retry_after
from dispatcher.collector.cors import cors_headers, preflight_headers
from dispatcher.collector.handover import HandoverRoute
from dispatcher.collector.head import Head
from dispatcher.collector.page.calls import PageCalls
from dispatcher.collector.route import Accepted, Rejected, Request, RequestMemory, Route
from dispatcher.collector.routes import Routes
from dispatcher.collector.sources import Sources, page_origin
from dispatcher.collector.user import UserLookup
from dispatcher.config.collector_secret import read_secret
from dispatcher.intake.json_body import nests_deeper
from dispatcher.intake.refused import Refused
from dispatcher.monitoring.intake import Intake
from dispatcher.outcomes import TOO_LARGE
from dispatcher.request.address import Proxies
from dispatcher.wire import encode_json

if TYPE_CHECKING:
    from dispatcher.config import Settings

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)
#: Has a line for each request where collector.access_log is set.
access = logging.getLogger("dispatcher.collector.access")

_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")
_MAX_ORIGINS: Final = 1_000
_NOBODY: Final[Mapping[str, Any]] = MappingProxyType({})
_BUSY: Final = "the collector has as many requests as it can hold: send this one again later"


class App:
    """The ASGI application of one process. For one event loop.

    Args:
        settings: Of the collector, its sources, and the outbox.
        committer: Its outbox, open.
    """

    def __init__(self, settings: Settings, committer: Committer) -> None:
        self._settings = settings.collector
        self._committer = committer
        self._sources = Sources(settings.sources)
        secret = read_secret(settings) if settings.browser_destinations else b""
        self._handover = handover = HandoverRoute(settings, secret, lambda: self.is_draining) if secret else None
        self._page_calls = PageCalls(settings) if secret else None
        self._routes = Routes(settings.collector, handover, secret)
        self._proxies = Proxies(settings.collector.proxies)
        #: What came in and what was refused.
        self.counts: Final = Intake()
        #: Set at the end: /readyz says 503, and everything else goes on.
        self.is_draining = False
        table = settings.collector
        self._users = UserLookup(table.user, table.user_seconds, self.counts) if table.user else None
        self._requests = 0
        self._bytes = 0
        self._description = b""
        # The beginnings of good answers, by the Origin that they name.
        self._begins: dict[str, bytes] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if not self._settings.access_log:
            await self._answer(scope, receive, send)
            return
        status = 0

        async def note(message: Mapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._answer(scope, receive, note)
        finally:
            # Keys are in queries, and may be in paths that nobody knows.
            path = scope["path"]
            known = path if path in _PROBES or self._routes.find(path) is not None else "(unknown path)"
            access.info("%s %s %s", scope["method"], known, status or "no answer")

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        method, path = scope["method"], scope["path"]
        origin = headers.get("origin", "")
        route = self._routes.find(path)
        if method == "OPTIONS":
            methods = sorted(route.methods) if route is not None else ["GET", "POST"]
            asked = headers.get("access-control-request-headers", "")
            await self._send(send, 204, b"", preflight_headers(origin, asked, methods, self._sources))
            return
        known = route.methods if route is not None else _PROBE_METHODS
        if path in _PROBES and method in _PROBE_METHODS:
            await self._answer_probe(path, send, is_head=method == "HEAD")
            return
        if route is None and path not in _PROBES:
            outcome: Accepted | Refused | None = Refused(404, "unknown_path", "the path is unknown")
        elif route is None or method not in known:
            allowed = {"allow": ", ".join(sorted(known))}
            outcome = Refused(405, "wrong_method", "the path does not take this method", allowed)
        else:
            outcome = await self._take(scope, headers, receive, route)
            if isinstance(outcome, Accepted) and outcome.later is not None:
                # A page may wait for long, and holds no place meanwhile.
                gone = asyncio.ensure_future(wait_until_gone(receive))
                try:
                    outcome = await outcome.later(gone)
                finally:
                    gone.cancel()
                if outcome is None:  # all that it had to say was taken
                    return
        if outcome is None:
            self.counts.refuse("client_gone")
            return
        status, body, extra = self._describe(outcome, origin)
        await self._send(send, status, b"" if method == "HEAD" else body, extra, length=len(body))

    def find_immediate(self) -> dict[str, Route]:
        """The routes whose requests ``answer`` takes, by path: nothing is waited for between their body and answer."""
        if self._committer.is_synced or self._settings.access_log:
            return {}
        asks = self._routes.asks_user if self._users is not None else frozenset()
        return {
            path: route
            for path, route in self._routes.exact.items()
            if "POST" in route.methods and path not in asks and path not in self._routes.waits
        }

    def answer(self, head: Head, body: bytes, *, keeps_alive: bool) -> bytes:
        """Answer a POST whose body came as a whole: the bytes of the answer, once its events are in the outbox.

        It does what a call of the app does, without a task and the messages of ASGI, which take most of the time of a
        small request. Does not block.

        Args:
            head: Its route is one of ``find_immediate``.
            body: As it was sent, of at most ``collector.body_bytes``.
            keeps_alive: Whether the connection goes on.
        """
        outcome: Accepted | Refused
        headers = head.headers
        if self._is_full(len(body)):
            outcome = Refused(429, "busy", _BUSY, retry_after())
        else:
            memory = head.memory or RequestMemory()
            request = Request("POST", head.path, headers, b"", body, head.peer, datetime.now(UTC), _NOBODY, memory)
            outcome = self._decide(head.route, request, head.raw)
        origin = headers.get("origin", "")
        if type(outcome) is not Accepted or outcome.rejected or outcome.handover or outcome.body is not None:
            status, text, extra = self._describe(outcome, origin)
            self.counts.requests[status] += 1
            return encode_answer(status, text, extra, keeps_alive=keeps_alive)
        self._count(outcome)
        self.counts.requests[200] += 1
        text, extra = accepted_body(outcome)
        begin = self._begins.get(origin)
        if begin is None:
            begin = encode_head(200, [*extra, *cors_headers(origin, self._sources)])
            if len(self._begins) < _MAX_ORIGINS:
                self._begins[origin] = begin
        return begin + encode_body(text, keeps_alive=keeps_alive)

    def _is_full(self, expected: int) -> bool:
        settings = self._settings
        return self._requests >= settings.requests or self._bytes + expected > settings.request_bytes

    def _describe(self, outcome: Accepted | Refused, origin: str) -> tuple[int, bytes, Headers]:
        """Count an outcome, and make the status, the body and the headers of its answer."""
        if isinstance(outcome, Refused):
            self.counts.refuse(outcome.code)
            body, extra = refused_body(outcome)
        else:
            self._count(outcome)
            body, extra = accepted_body(outcome)
        if "access-control-allow-origin" not in getattr(outcome, "headers", ()):
            extra = [*extra, *cors_headers(origin, self._sources)]
        return outcome.status, body, extra

    async def _take(
        self, scope: Mapping[str, Any], headers: dict[str, str], receive: Receive, route: Route
    ) -> Accepted | Refused | None:
        """Admit, read, hand to the route, and commit. None where the client has gone."""
        settings = self._settings
        length = headers.get("content-length", "0")
        # A body of chunks may become as large as any.
        expected = int(length) if length.isdecimal() and len(length) < 16 else 0
        if "transfer-encoding" in headers:
            expected = settings.body_bytes
        if expected > settings.body_bytes:
            return too_large(settings.body_bytes, "body_bytes")
        if self._is_full(expected):
            return Refused(429, "busy", _BUSY, retry_after())
        self._requests += 1
        self._bytes += expected
        path, client = scope["path"], scope.get("client")
        try:
            body = await read_body(receive, settings)
            if "upgrade" in headers and expected and not body:
                # The parser takes what comes behind such a head for another protocol.
                return Refused(400, "upgrade", "the request has an Upgrade header: send it as HTTP/1.1, without")
            user: Mapping[str, Any] = {}
            if self._users is not None and path in self._routes.asks_user:
                # A page of anybody else could send with its visitors' cookies.
                is_ours = self._sources.lists_origin(page_origin(headers))
                user = await self._users.find(headers) if is_ours else {}
            peer = client[0] if client else ""
            query, now = scope["query_string"], datetime.now(UTC)
            request = Request(scope["method"], path, headers, query, body, peer, now, user)
            outcome = self._decide(route, request, scope["headers"])
            if isinstance(outcome, Accepted) and outcome.events:
                return await self._committer.wait_until_safe(len(outcome.events)) or outcome
            return outcome
        except BodyRefusedError as error:
            return error.refused
        finally:
            self._requests -= 1
            self._bytes -= expected

    def _decide(self, route: Route, request: Request, raw: Sequence[tuple[bytes, bytes]]) -> Accepted | Refused:
        """Hand a request to its route, and append the events that come of it. Whatever fails is a refusal.

        Args:
            request: With the body as it was sent, and the other end of the connection as its address.
            raw: Its headers as they were sent.
        """
        headers, body_bytes = request.headers, len(request.body)
        try:
            self.counts.body_bytes += body_bytes
            if "content-encoding" in headers:
                request.body = inflate(request.body, headers["content-encoding"], self._settings.inflated_bytes)
            if "x-forwarded-for" in headers and self._settings.proxies:
                hops = [value for name, value in raw if name.lower() == b"x-forwarded-for"]
                request.address = self._proxies.address_of(request.address, b",".join(hops).decode("latin-1"))
            self._sources.admitted = ""
            outcome = route(request, self._sources)
            if isinstance(outcome, Accepted):
                if not outcome.events:
                    return outcome
                size = body_bytes + len(request.query)
                refused = self._check_items(outcome, size) or self._committer.append(outcome)
                if refused is None:
                    if self._page_calls is not None and self._handover is not None:
                        outcome.handover = self._page_calls.of(outcome, self._handover.paused)
                    return outcome
            else:
                refused = outcome
        except BodyRefusedError as error:
            refused, self._sources.admitted = error.refused or _failure(), ""
        except Exception:
            # Its text could hold parts of the request.
            logger.error("a route failed on %s; its request is answered 500", request.path, exc_info=False)
            logger.debug("the traceback", exc_info=True)
            refused = _failure()
        # For operators, who want to know which page sends what is refused.
        self.counts.attribute_refusal(refused.code, self._sources.admitted, page_origin(headers))
        return refused

    def _check_items(self, accepted: Accepted, body_bytes: int) -> Refused | None:
        """Reject the events that the source may not send, by name, size or depth; refuse a batch of too many."""
        source = accepted.source
        if source is None:
            return None
        table = source.settings
        if len(accepted.events) > table.batch_events:
            return Refused(413, "too_many", f"the batch has more events than sources.{source.name}.batch_events")
        # Most bodies are smaller than one event may be.
        is_large = body_bytes > table.event_bytes
        depth = self._settings.depth
        # All at once, which finds nothing for nearly every request.
        is_deep = (accepted.depth is None or accepted.depth > depth) and nests_deeper(
            [[event.data, event.context] for event in accepted.events], depth + 2
        )
        if table.names is None and not is_large and not is_deep:
            return None
        kept, places = [], []
        for place, event in zip(accepted.indexes or range(len(accepted.events)), accepted.events, strict=True):
            if not source.takes_name(event.name):
                message = f"the name is not in sources.{source.name}.names"
                accepted.rejected.append(Rejected(place, event.id[:100], "name_not_listed", message))
            elif is_deep and nests_deeper([event.data, event.context], depth + 1):
                message = f"the event nests deeper than collector.depth ({depth}): flatten it"
                accepted.rejected.append(Rejected(place, event.id[:100], "too_deep", message))
            elif is_large and len(encode_json([event.data, event.context])) > table.event_bytes:
                message = f"the event is larger than sources.{source.name}.event_bytes ({table.event_bytes:,})"
                accepted.rejected.append(Rejected(place, event.id[:100], TOO_LARGE, message))
            else:
                kept.append(event)
                places.append(place)
        accepted.events, accepted.indexes = kept, places
        return None

    def _count(self, accepted: Accepted) -> None:
        source = accepted.source
        if source is not None:
            self.counts.accepted[source.name] += len(accepted.events)
            if accepted.client is not None:
                self.counts.see_client(source.name, accepted.client)
            for item in accepted.rejected:
                self.counts.reject(source.name, item.code)
            for reason, count in accepted.dropped.items():
                self.counts.drop(source.name, reason, count)

    async def _answer_probe(self, path: str, send: Send, *, is_head: bool) -> None:
        status, body, kind = 200, b"ok\n", _TEXT
        if path == "/readyz" and self.is_draining:
            status, body = 503, b"draining\n"
        elif path == openapi.PATH:
            self._description = self._description or encode_json(openapi.describe(self._settings, self._routes))
            body, kind = self._description, _JSON
        await self._send(
            send, status, b"" if is_head else body, [kind, (b"cache-control", b"no-store")], length=len(body)
        )

    async def _send(self, send: Send, status: int, body: bytes, headers: Headers, *, length: int | None = None) -> None:
        self.counts.requests[status] += 1
        size = len(body) if length is None else length
        if status not in (204, 304):
            headers = [*headers, (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _failure() -> Refused:
    return Refused(500, "failed", "the collector failed on this request", retry_after())


_PROBE_METHODS: Final = frozenset({"GET", "HEAD"})
_PROBES: Final = frozenset({"/healthz", "/readyz", openapi.PATH})
