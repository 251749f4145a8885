"""App: the board's routes, for uvicorn. Nothing but /healthz is answered without a login."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dispatcher.board.controls import Controls, Order, UnknownDestinationError
from dispatcher.board.examination import ExaminationError, Examiner
from dispatcher.board.live import Live
from dispatcher.board.login import Logins
from dispatcher.board.watcher import Watcher
from dispatcher.errors import StoreUnavailableError
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.counts import NOT_TAKEN

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.monitoring.snapshot import Observer

logger = logging.getLogger(__name__)

_PAGE: Final = Path(__file__).parent / "page"
# The page's scripts, each of which imports some of the others.
_SCRIPTS: Final = (
    *("batches", "board", "charts", "destination", "doctor", "dom", "letters", "orders", "others", "server"),
    *("state", "sums", "words"),
    *("live", "live_event", "shop"),
)
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live": ("live.html", "text/html; charset=utf-8"),
    "/board.css": ("board.css", "text/css; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
}
#: On every answer. No script or style but the board's own files, no frame, and nothing kept by caches.
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# Bytes of a request's body; orders have some hundred.
_MAX_BODY: Final = 10_000
# Seconds without news after which a line shows a proxy that the stream lives, and the page the time.
_TICK_SECONDS: Final = 1.0

_Body = TypeVar("_Body")


class _Letter(msgspec.Struct, forbid_unknown_fields=True):
    destination: str
    id: str


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _RefusalError(Exception):
    """The request cannot be answered as it is."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class Guard:
    """Asks for the login before anything is looked at, and puts the headers on every answer.

    Args:
        app: What it stands before.
        logins: Who is let in.
    """

    def __init__(self, app: ASGIApp, logins: Logins) -> None:
        self._app = app
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is something else."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                # A page may have a policy of its own, as the shop has.
                named = {name for name, _ in own}
                message["headers"] = [*own, *(header for header in HEADERS if header[0] not in named)]
            await send(message)

        if scope["path"] == "/healthz":
            await PlainTextResponse("ok\n")(scope, receive, send_guarded)
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        user = self._logins.user(given)
        if user is None:
            if given:
                logger.warning("a wrong login from %s", (scope.get("client") or ("a socket",))[0])
            asks = {"www-authenticate": 'Basic realm="dispatcher board", charset="UTF-8"'}
            await PlainTextResponse("a login is needed\n", 401, headers=asks)(scope, receive, send_guarded)
            return
        scope["state"] = {**scope.get("state", {}), "user": user}
        await self._app(scope, receive, send_guarded)


class Board:
    """The routes' answers.

    Args:
        observer: For the ledger; for this board alone.
        pool: For dead letters and for what the buttons do.
        allow_control: Whether the buttons do anything.
    """

    def __init__(self, observer: Observer, pool: RedisPool, *, allow_control: bool) -> None:
        self._observer = observer
        self._controls = Controls(pool)
        self._allow_control = allow_control
        self._files = {path: ((_PAGE / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}
        # Other sites' pages cannot read it, so what bears it comes from the board's own page.
        self._token = secrets.token_urlsafe(24)
        # One order at a time: two of the same would count the same dead letters.
        self._order_lock = asyncio.Lock()
        self._examiner = Examiner()
        self.watcher = Watcher(observer)
        #: Set when the server ends, so that streams end too.
        self.is_ending = False
        self._live = Live(lambda: observer.settings, pool, lambda: self.is_ending)

    def routes(self) -> list[Route]:
        """All that is answered to who has a login."""
        return [
            *(Route(path, self._file) for path in _FILES),
            Route("/api/session", self._session),
            Route("/api/ledger", self._ledger),
            Route("/api/stream", self._stream),
            Route("/api/history", self._history),
            Route("/api/dead", self._list_letters),
            Route("/api/dead/show", self._show_letter, methods=["POST"]),
            Route("/api/waiting", self._list_waiting),
            Route("/api/doctor", self._examine, methods=["POST"]),
            Route("/api/plan", self._plan, methods=["POST"]),
            Route("/api/do", self._do, methods=["POST"]),
            *self._live.routes(),
        ]

    def app(self, logins: Logins) -> ASGIApp:
        """The ASGI application behind the login."""
        handlers: Any = {
            _RefusalError: _refusal,
            StoreUnavailableError: _unavailable,
            UnknownDestinationError: _unknown,
            ExaminationError: _unexamined,
            ClientDisconnect: _refusal,
        }
        return Guard(Starlette(routes=self.routes(), lifespan=self._lifespan, exception_handlers=handlers), logins)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        reader = asyncio.create_task(self.watcher.run())
        try:
            yield
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def _file(self, request: Request) -> Response:
        body, kind = self._files[request.scope["path"]]
        return Response(body, media_type=kind)

    async def _session(self, request: Request) -> Response:
        settings = self._observer.settings
        return _json(
            {
                "user": request.state.user,
                "environment": settings.environment,
                "allow_control": self._allow_control,
                "token": self._token,
                "flower_url": settings.board.flower_url,
            }
        )

    async def _ledger(self, _: Request) -> Response:
        with self.watcher.looking():
            latest = self.watcher.latest
            reading = await self.watcher.after(latest.number if latest is not None else 0)
        return Response(reading.body, media_type="application/json")

    async def _stream(self, _: Request) -> Response:
        if self.watcher.is_full:
            raise _RefusalError(503, "too many look at the board already")
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._readings(), media_type="text/event-stream", headers=headers)

    async def _readings(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        with self.watcher.looking():
            sent, sent_at = 0, 0.0
            while not self.is_ending:
                reading = await self.watcher.after(sent)
                # Behind a slow reader there may be readings that it has not had.
                has_missed, sent = reading.number != sent + 1, reading.number
                if has_missed or reading.is_new or loop.time() - sent_at >= _TICK_SECONDS:
                    yield b"data: %b\n\n" % reading.body
                    sent_at = loop.time()

    async def _history(self, _: Request) -> Response:
        return _json(self.watcher.history.json())

    async def _list_letters(self, request: Request) -> Response:
        destination = self._known(request.query_params.get("destination", ""))
        reason = request.query_params.get("reason", "")
        return _json(await asyncio.to_thread(self._controls.list_letters, destination, reason))

    async def _show_letter(self, request: Request) -> Response:
        wanted = await self._body(request, _Letter)
        destination = self._known(wanted.destination)
        user = request.state.user
        letter = await asyncio.to_thread(self._controls.show_letter, destination, wanted.id[:100], user=user)
        if letter is None:
            raise _RefusalError(404, "the dead letter is gone: somebody replayed or dropped it, or it went to a file")
        return _json(letter)

    async def _list_waiting(self, request: Request) -> Response:
        destination = self._known(request.query_params.get("destination", ""))
        return _json(await asyncio.to_thread(self._controls.list_waiting, destination))

    async def _examine(self, request: Request) -> Response:
        await self._body(request, _Nothing)
        if self._examiner.is_busy:
            raise _RefusalError(409, "the doctor is looking already: wait until it is done")
        return _json(await self._examiner.examine())

    async def _plan(self, request: Request) -> Response:
        order = await self._order(request)
        plan = await asyncio.to_thread(self._controls.plan, order, self._observer.settings)
        return _json({"words": plan.words, "count": plan.count, "can_be_done": plan.can_be_done})

    async def _do(self, request: Request) -> Response:
        order = await self._order(request)
        if order.action in ("replay", "drop") and order.count is None:
            raise _RefusalError(400, "count: it must be the number of dead letters that the plan has shown")
        if self._order_lock.locked():
            raise _RefusalError(409, "another order is being carried out: wait until it is done")
        async with self._order_lock:
            user, settings = request.state.user, self._observer.settings
            plan = await asyncio.to_thread(self._controls.plan, order, settings)
            if not plan.can_be_done:
                raise _RefusalError(409, plan.words)
            words = await asyncio.to_thread(self._controls.carry_out, order, settings, user=user)
        return _json({"words": words})

    async def _order(self, request: Request) -> Order:
        if not self._allow_control:
            raise _RefusalError(403, "this board only shows: start it with --allow-control")
        order = await self._body(request, Order)
        self._known(order.destination)
        if order.seconds is not None and not 0 < order.seconds <= 366 * 86_400:
            raise _RefusalError(400, "seconds: it must be more than 0, and a year at most")
        if order.count is not None and order.count < 0:
            raise _RefusalError(400, "count: it must not be negative")
        return order

    async def _body(self, request: Request, kind: type[_Body]) -> _Body:
        """The body of a request of the board's own page. Raises _RefusalError for any other."""
        origin, token = request.headers.get("origin"), request.headers.get("x-board-token", "")
        is_foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if origin is not None:
            is_foreign = is_foreign or origin.partition("://")[2] != request.headers.get("host")
        if is_foreign or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise _RefusalError(
                403, "this did not come from the board's page, or the board was started anew: load the page again"
            )
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                raise _RefusalError(413, f"the body must have at most {_MAX_BODY:,} bytes")
        try:
            return msgspec.json.decode(body, type=kind)
        # UnicodeDecodeError is a ValueError.
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _RefusalError(400, one_line(str(error))) from error

    def _known(self, destination: str) -> str:
        """The destination, if the settings or the ledger know it. Raises UnknownDestinationError."""
        latest = self.watcher.latest
        names = {*self._observer.settings.destinations, NOT_TAKEN}
        if latest is not None:
            names |= set(latest.snapshot.destinations)
        if destination not in names:
            raise UnknownDestinationError("the destination is not known")
        return destination


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def _refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, _RefusalError):
        return _json({"error": "the request ended early"}, 400)
    status, headers = error.status, {"retry-after": "5"} if error.status == 503 else {}
    return Response(msgspec.json.encode({"error": error.error}), status, headers, media_type="application/json")


async def _unavailable(_: Request, error: Exception) -> Response:
    body = msgspec.json.encode({"error": f"Redis does not answer: {one_line(str(error))}"})
    return Response(body, 503, {"retry-after": "5"}, media_type="application/json")


async def _unknown(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 404)


async def _unexamined(_: Request, error: Exception) -> Response:
    return Response(
        msgspec.json.encode({"error": str(error)}), 503, {"retry-after": "5"}, media_type="application/json"
    )
