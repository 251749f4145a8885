"""Handover: ``/v1/handover``, where a page takes the events that only it can hand to a vendor's script, and says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from dispatcher.collector.commit import retry_after
from dispatcher.collector.page.calls import page_note
from dispatcher.collector.route import Accepted, Request
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.destinations.types import load_type
from dispatcher.errors import StoreUnavailableError
from dispatcher.event import is_id
from dispatcher.intake.json_body import decode_body
from dispatcher.intake.refused import Refused
from dispatcher.secrecy.visitor import read_references
from dispatcher.store.mailboxes import STATUSES, Mailboxes, WaitingCalls

if TYPE_CHECKING:
    from dispatcher.collector.sources import Source, Sources
    from dispatcher.config import Settings

T = TypeVar("T")

# Seconds that Redis may take for one answer, and that a request may take beside what it waits for.
_REDIS_SECONDS: Final = 2.0
_REQUEST_SECONDS: Final = 5.0
#: The longest that a page waits for an event: less than the 30 seconds after which many proxies give up.
MAX_WAIT_SECONDS: Final = 25.0
# Numbers beyond it are a mistake, and none is too large for a float below.
_REQUESTED_MOST: Final = 3600
# Seconds after which it is looked again whether a destination is paused.
_PAUSE_SECONDS: Final = 1.0
# Seconds between two looks into the mailboxes of all pages that wait.
_LOOK_SECONDS: Final = 0.5
_THREADS: Final = 4
# Events of one destination in an answer, and acknowledgements in a request. More come with the next one.
_MAX_EVENTS: Final = 20
_MAX_ACKS: Final = 200

_MESSAGES: Final = {
    "unknown_visitor": "the page does not say who its visitor is: load handover.js",
    "forged_visitor": "the reference of the visitor is not of this collector: is collector.secret the same everywhere?",
    "expired_visitor": "the reference of the visitor has ended: load the page again",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    source: Source
    mailboxes: list[str]
    acks: dict[str, list[tuple[str, str]]]
    wait_seconds: float


class HandoverRoute:
    """Takes ``{"key": …, "visitor": […], "acks": [{"id": …, "destination": …, "status": …}], "wait": seconds}``.

    Answers ``{"events": [{"id": …, "destination": …, "calls": […], "consent": […], "advertising": …}]}``: what waits
    for this visitor and nobody else. An event comes again with each answer until it is acknowledged. For one event
    loop: Redis is asked in threads.

    Args:
        settings: The destinations in browsers, and the store.
        secret: What references are signed with.
        is_ending: Whether the process is about to end, so that no page waits.
    """

    methods: Final = frozenset({"POST"})

    def __init__(self, settings: Settings, secret: bytes, is_ending: Callable[[], bool]) -> None:
        self._secret = secret
        self._is_ending = is_ending
        self._limit = settings.collector.handover_waits
        #: What a page has to know of each destination before it hands over.
        self._notes = {
            name: page_note(table, load_type(table.type).advertising)
            for name, table in settings.browser_destinations.items()
        }
        self._mailboxes = Mailboxes(RedisPool(settings.store, timeout_seconds=_REDIS_SECONDS))
        self._threads = ThreadPoolExecutor(_THREADS, "dispatcher-handover")
        self._waiting: dict[asyncio.Future[None], list[str]] = {}
        self._looking: asyncio.Task[None] | None = None
        #: Destinations that were paused when a page last asked: no page gets an event for them.
        self.paused: frozenset[str] = frozenset()
        self._paused_at = 0.0

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """Read the request; see ``Route``. The answer comes later."""
        body = decode_body(request.body)
        if isinstance(body, Refused):
            return body
        if not isinstance(body, dict):
            return Refused(400, "not_an_object", "the body must be an object")
        source = sources.admit(body.get("key"), request)
        if isinstance(source, Refused):
            return source
        given = body.get("visitor")
        mailboxes, problem = read_references(self._secret, given if isinstance(given, list) else [given])
        if problem and (problem == "forged_visitor" or not mailboxes):
            return Refused(403, problem, _MESSAGES[problem])
        acks: dict[str, list[tuple[str, str]]] = {}
        items = body.get("acks")
        for item in items[:_MAX_ACKS] if isinstance(items, list) else ():
            if not isinstance(item, dict):
                continue
            name, status, event_id = item.get("destination"), item.get("status"), item.get("id")
            if not isinstance(name, str) or not isinstance(status, str):
                continue
            if name in self._notes and status in STATUSES and is_id(event_id):
                acks.setdefault(name, []).append((str(event_id), status))
        wait = body.get("wait")
        seconds = float(wait) if isinstance(wait, int | float) and 0 < wait < _REQUESTED_MOST else 0.0
        asked = _Asked(source, mailboxes, acks, min(seconds, MAX_WAIT_SECONDS))
        return Accepted(source, later=partial(self._exchange, asked))

    async def _exchange(self, asked: _Asked, gone: asyncio.Future[None]) -> Accepted | Refused | None:
        """Record the acknowledgements, and answer with what waits, as soon as anything does.

        None where the client has gone meanwhile: what waits is left for the page that asks next.
        """
        try:
            events = await self._run(self._acknowledge_and_fetch, asked)
            ends = asyncio.get_running_loop().time() + asked.wait_seconds
            # Another browser of the user may have what is there.
            while not events and (seconds := ends - asyncio.get_running_loop().time()) > 0 and not self._is_ending():
                if len(self._waiting) >= self._limit:
                    message = "the collector has as many waiting pages as collector.handover_waits: ask again later"
                    return Refused(429, "handover_waits", message, retry_after())
                has_come = await self._wait(asked.mailboxes, seconds, gone)
                # Whoever fetches what waits for a user keeps it from the user's other browsers for a while.
                if gone.done():
                    return None
                if has_come:
                    events = await self._run(self._fetch, asked)
        except (StoreUnavailableError, TimeoutError):
            return Refused(503, "store", "the collector cannot look into its store now: ask again later", retry_after())
        rows = [
            {
                "id": one.id,
                "destination": one.destination,
                "calls": msgspec.Raw(one.calls),
                **self._notes[one.destination],
            }
            for one in events
        ]
        return Accepted(asked.source, body=_encode({"events": rows}), headers={"content-type": "application/json"})

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self._threads, function, *arguments), _REQUEST_SECONDS)

    def _acknowledge_and_fetch(self, asked: _Asked) -> list[WaitingCalls]:
        if asked.acks:
            self._mailboxes.acknowledge(asked.mailboxes, asked.acks)
        return self._fetch(asked)

    def _fetch(self, asked: _Asked) -> list[WaitingCalls]:
        return self._mailboxes.fetch(self._find_open(), asked.mailboxes, limit=_MAX_EVENTS)

    def _find_open(self) -> list[str]:
        """The destinations that nobody has paused, as of the last second. Asks Redis; for any thread."""
        if time.monotonic() - self._paused_at > _PAUSE_SECONDS:
            self.paused = self._mailboxes.find_paused(list(self._notes))
            self._paused_at = time.monotonic()
        return [name for name in self._notes if name not in self.paused]

    def _look_for(self, boxes: Sequence[str]) -> list[bool]:
        names = self._find_open()
        return self._mailboxes.have_events(names, boxes) if names else [False] * len(boxes)

    async def _wait(self, mailboxes: list[str], seconds: float, gone: asyncio.Future[None]) -> bool:
        """Wait until an event may be in one of the mailboxes; False where none came, or the client has gone."""
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[None] = loop.create_future()
        self._waiting[arrival] = mailboxes
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._look())
        try:
            await asyncio.wait((arrival, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[arrival]
        return arrival.done()

    async def _look(self) -> None:
        """Look into the mailboxes of all pages that wait, in one round trip, for as long as any does."""
        while self._waiting:
            await asyncio.sleep(_LOOK_SECONDS)
            waiting = list(self._waiting.items())
            boxes = list(dict.fromkeys(box for _, of_page in waiting for box in of_page))
            try:
                found = await self._run(self._look_for, boxes)
            except (StoreUnavailableError, TimeoutError):
                found = [False] * len(boxes)
            filled = {box for box, has_events in zip(boxes, found, strict=True) if has_events}
            is_ending = self._is_ending()
            for arrival, of_page in waiting:
                if not arrival.done() and (is_ending or not filled.isdisjoint(of_page)):
                    arrival.set_result(None)


_encode: Final = msgspec.json.Encoder().encode
