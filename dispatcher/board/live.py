"""Live: the board's answers on events as they pass. With debug only, since events hold what they say of people."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dispatcher.config.board import SHOP_KEY
from dispatcher.errors import StoreUnavailableError
from dispatcher.event import is_id
from dispatcher.find.search import MAX_LOG_BYTES, find_events
from dispatcher.live.lease import Lease
from dispatcher.live.viewer import SHOWN_PER_SECOND, TooManyViewersError, Viewer, refusal
from dispatcher.outcomes import FILTERED_REASONS, ROUTING_REASONS
from dispatcher.routing import Router

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

logger = logging.getLogger(__name__)

_SHOP: Final = Path(__file__).parent / "page" / "shop.html"
#: Seconds between two looks: ten a second, so that a page is less than a third of one behind.
LOOK_SECONDS: Final = 0.1
# Seconds after which a page is told the rates, though nothing came.
_TICK_SECONDS: Final = 1.0
# Seconds before the next look while Redis is away.
_AWAY_SECONDS: Final = 1.0
# Characters of what a page may look for.
_MAX_WORDS: Final = 255


class Live:
    """The routes of the live page.

    Args:
        settings: Gives the settings as they are now.
        pool: For leases, for what passes, and for what is looked for.
        is_ending: Whether the server ends, so that streams end too.
    """

    def __init__(self, settings: Callable[[], Settings], pool: RedisPool, is_ending: Callable[[], bool]) -> None:
        self._settings = settings
        self._pool = pool
        self._is_ending = is_ending

    def routes(self) -> list[Route]:
        """What is answered to who has a login."""
        return [
            Route("/api/live", self._stream),
            Route("/api/live/session", self._session),
            Route("/api/find", self._find),
            Route("/api/why", self._why),
            Route("/shop", self._shop),
        ]

    async def _session(self, _: Request) -> Response:
        settings = self._settings()
        return _json(
            {
                "refusal": refusal(settings),
                "environment": settings.environment,
                "destinations": {name: table.type for name, table in settings.destinations.items()},
                "reasons": {**FILTERED_REASONS, **ROUTING_REASONS},
                "shown_per_second": SHOWN_PER_SECOND,
                "shop": _shop_client(settings),
            }
        )

    async def _shop(self, _: Request) -> Response:
        settings = self._settings()
        collector = settings.board.shop_url
        if collector is None or not settings.is_debug:
            return PlainTextResponse("the shop is closed: `dispatcher up --shop` opens it, in development\n", 404)
        # The client is the collector's, as on a site's page, and sends there. Its origin has to be told.
        policy = (
            f"default-src 'none'; script-src 'self' {collector}; style-src 'self'; connect-src 'self' {collector}; "
            "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {"content-security-policy": policy, "referrer-policy": "origin"}
        return Response(_SHOP.read_bytes(), headers=headers, media_type="text/html; charset=utf-8")

    async def _stream(self, request: Request) -> Response:
        if (refused := self._refusal()) is not None:
            return refused
        name, destination, user, event_id = (
            request.query_params.get(key, "")[:_MAX_WORDS] for key in ("name", "destination", "user", "id")
        )
        wanted = Lease(id="", name=name, destination=destination, user=user, event_id=event_id)
        viewer = Viewer(self._pool, wanted)
        try:
            await asyncio.to_thread(viewer.open)
        except TooManyViewersError as error:
            return _json({"error": str(error)}, 503)
        logger.info("%s looks at live events", request.state.user)
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._items(viewer), media_type="text/event-stream", headers=headers)

    async def _items(self, viewer: Viewer) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        sent_at = 0.0
        try:
            yield b"retry: 1000\n\n"
            while not self._is_ending():
                try:
                    seen = await asyncio.to_thread(viewer.read)
                except StoreUnavailableError:
                    yield b'data: {"away":true}\n\n'
                    await asyncio.sleep(_AWAY_SECONDS)
                    continue
                if seen.items or loop.time() - sent_at >= _TICK_SECONDS:
                    sent_at = loop.time()
                    rates = b'"per_second":%.1f,"shown":%.1f' % (seen.per_second, seen.shown_per_second)
                    # The items are JSON already, on one line, and nothing here has to look into them.
                    yield b'data: {%b,"items":[%b]}\n\n' % (rates, seen.items)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            # Not awaited: the page that went away has this cancelled. A lease that stays runs out by itself.
            loop.run_in_executor(None, _close, viewer)

    async def _find(self, request: Request) -> Response:
        if (refused := self._refusal()) is not None:
            return refused
        event_id = request.query_params.get("id", "")
        if not is_id(event_id):
            return _json({"error": "id: it must be the id of an event, such as `dispatcher emit` prints"}, 400)
        logger.info("%s looks for event %s", request.state.user, event_id)
        settings = self._settings()
        found = await asyncio.to_thread(find_events, settings, self._pool, [event_id], max_log_bytes=MAX_LOG_BYTES)
        return _json(found[0])

    async def _why(self, request: Request) -> Response:
        if (refused := self._refusal()) is not None:
            return refused
        name, kind = (request.query_params.get(key, "")[:_MAX_WORDS] for key in ("name", "type"))
        explanations = Router(self._settings()).explain(name, kind or "event")  # type: ignore[arg-type]
        return _json(
            [
                {
                    "destination": one.destination,
                    "goes": one.goes,
                    "sentence": one.sentence,
                    "entry": one.entry,
                    "nearest": one.nearest,
                }
                for one in explanations
            ]
        )

    def _refusal(self) -> Response | None:
        why = refusal(self._settings())
        return None if why is None else _json({"error": why}, 403)


def _shop_client(settings: Settings) -> dict[str, str] | None:
    """What the shop's page loads and where it sends to; None without a shop."""
    url, collector = settings.board.shop_url, settings.collector
    if url is None:
        return None
    return {"script": f"{url}/{collector.script_name}", "key": SHOP_KEY, "url": f"{url}{collector.events_path}"}


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _close(viewer: Viewer) -> None:
    try:
        viewer.close()
    except StoreUnavailableError as error:
        logger.debug("a lease runs out by itself: %s", error)
