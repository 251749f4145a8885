"""Protocol: uvicorn's, with what it has no limits for.

That is slow and long heads, clients that read nothing, requests that are sent ahead of answers, the rest of a body that
was refused, old connections, and too many of them.

A request that came with one read, head and body, and that nothing has to wait for, is answered in the same turn of the
event loop: the app is called without a task and without ASGI's messages. Those of one turn are answered one after the
other once all was read, which is faster than by turns with the reading. All others go uvicorn's way.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dispatcher.collector.head import Head, RepeatedHead
from dispatcher.collector.route import read_known_headers

if TYPE_CHECKING:
    from dispatcher.collector.app import App
    from dispatcher.collector.route import Route
    from dispatcher.config.collector import CollectorSettings

#: Bytes of a request line and its headers; more are answered 431. As much as nginx and Apache take together.
MAX_HEAD_BYTES: Final = 64 * 1024
# Requests on one connection that wait for the answer to another. Few clients send ahead at all.
_MAX_WAITING: Final = 256
# Of a body that was refused so many times body_bytes are read, so that the client gets to the answer.
_MAX_DISCARDED: Final = 8
# uvicorn's lines about clients that do not speak HTTP: anybody could fill a disk with them. They are counted.
_quiet: Final = logging.getLogger("dispatcher.collector.protocol")
_quiet.setLevel(logging.ERROR)
# A request with such a header takes more than one turn, or looks like one that does.
_SPECIAL: Final = frozenset({"expect", "transfer-encoding"})
# Requests that wait for the end of a turn, at most: a turn reads as much as all connections have sent.
_MAX_TOGETHER: Final = 64
#: A request as ``App.answer`` takes it, and whether the connection goes on.
_Whole = tuple[Head, bytes, bool]
_CLOSING: Final = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n%b\r\n"


def make_protocol(settings: CollectorSettings, app: App) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn, with the limits of the settings. What it ends is counted by reason.

    Args:
        settings: ``header_seconds``, ``connection_seconds``, ``connections`` and ``keep_alive_seconds``.
        app: Answers.
    """
    counts, keep_alive_seconds = app.counts, int(settings.keep_alive_seconds)
    # By path; at most as many as there are routes. A path that is not among them costs one look-up.
    immediate = {path.encode(): route for path, route in app.find_immediate().items()}

    # Requests that were read in this turn of the loop, with what the app needs to answer them.
    waiting: list[tuple[CollectorProtocol, _Whole]] = []

    def answer_waiting() -> None:
        todo = waiting[:]
        waiting.clear()
        for connection, (head, body, keeps_alive) in todo:
            try:
                connection.send_answer(app.answer(head, body, keeps_alive=keeps_alive), keeps_alive=keeps_alive)
            except Exception:  # the others go on
                _quiet.error("a request could not be answered", exc_info=False)
                _quiet.debug("the traceback", exc_info=True)
                connection.transport.abort()

    class CollectorProtocol(HttpToolsProtocol):
        """One connection."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            #: The headers of the request as they were sent; of one that comes twice, the first.
            self._fields: dict[bytes, bytes] = {}
            if not settings.proxies:
                # Called by the parser for each header: a method of a dict takes a quarter of the time of one in Python.
                self.on_header = self._fields.setdefault  # type: ignore[assignment]
            super().__init__(*args, **kwargs)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.logger = _quiet
            self.flow = _Flow(transport, self.pipeline)
            # Give or take a tenth, so that connections that were opened together do not end together.
            self._old_at = self.loop.time() + settings.connection_seconds * random.uniform(0.9, 1.1)
            self._in_head, self._head_bytes, self._has_ended, self._discarded = True, 0, False, 0
            # Whether all that came so far is whole requests.
            self._is_between = True
            # The bytes of the body and the head of what was parsed just now; and a head by which the next is known.
            self._parsed: tuple[int, Head] | None = None
            self._repeated: RepeatedHead | None = None
            self._running: RequestResponseCycle | None = None
            # For the head, or for the rest of a refused body; and for a client that does not read.
            self._timer: asyncio.TimerHandle | None = None
            self._write_timer: asyncio.TimerHandle | None = None
            # Of a request that can be answered at once: its route, and what has come of its body.
            self._route: Route | None = None
            self._parts: list[bytes] = []
            self._peer = self.client[0] if self.client else ""
            self._idle_since = 0.0
            self._idle_timer: asyncio.TimerHandle | None = None
            if len(self.connections) > settings.connections:
                self._end(b"503 Service Unavailable", "connections", b"retry-after: %d\r\n" % random.randint(1, 10))
                return
            self._arm(settings.header_seconds, self._end_slow_head)

        def data_received(self, data: bytes) -> None:
            if self._repeated is not None and self._is_between and self._can_answer():
                body = self._repeated.body_of(data)
                if body is not None and len(body) <= settings.body_bytes:
                    self._unset_keepalive_if_required()
                    self._wait_for_turn(self._repeated.head, body, keeps_alive=self._may_go_on())
                    return
            was_between, self._has_ended = self._is_between, False
            super().data_received(data)
            if was_between and self._is_between and self._parsed is not None:
                self._repeated = RepeatedHead.learn(data, *self._parsed)
            self._parsed = None
            if self._route is not None:
                if self.transport.is_closing():  # it is no HTTP
                    self._route, self._parts = None, []
                else:
                    # The rest of it comes later, if at all: that takes timers and limits.
                    self._go_the_long_way()
            if self._in_head and self.transport is not None and not self.transport.is_closing():
                # What came before this head, in the same bytes, does not count.
                self._head_bytes += 1 if self._has_ended else len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._end(b"431 Request Header Fields Too Large", "long_head")
                elif self._timer is None:
                    self._arm(settings.header_seconds, self._end_slow_head)

        def on_message_begin(self) -> None:
            self._in_head, self._head_bytes, self._is_between = True, 0, False
            self.url, self.headers = b"", []
            self._fields.clear()

        def on_headers_complete(self) -> None:
            self._in_head, self._head_bytes = False, 0
            if self._timer is not None:
                self._disarm()
            parser = self.parser
            self._route = immediate.get(self.url)
            if self._route is None:
                self._start_cycle()
            elif (
                parser.get_method() != b"POST"
                or parser.get_http_version() != "1.1"
                or parser.should_upgrade()
                or not self._can_answer()
            ):
                self._go_the_long_way()

        def _can_answer(self) -> bool:
            return not (
                self.flow.write_paused
                or self.transport.is_closing()
                or not (self.cycle is None or self.cycle.response_complete)
            )

        def on_body(self, body: bytes) -> None:
            if self._route is None:
                super().on_body(body)
                if self.cycle.response_complete:
                    self._discarded += len(body)
                    if self._discarded > _MAX_DISCARDED * settings.body_bytes:
                        self._close()
                    elif self._timer is None:
                        self._arm(settings.body_seconds, self._close)
            else:
                self._parts.append(body)

        def on_message_complete(self) -> None:
            route, self._has_ended, self._is_between = self._route, True, True
            if route is None:
                super().on_message_complete()
                if self.cycle.response_complete:
                    self._end_refused()
                return
            headers = self.headers or list(self._fields.items())
            known = read_known_headers(headers)
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            if len(body) > settings.body_bytes or not known.keys().isdisjoint(_SPECIAL):
                self._go_the_long_way()
                super().on_message_complete()
                return
            self._route, self._parts = None, []
            head = Head(route, self.url.decode("latin-1"), headers, known, self._peer)
            keeps_alive = self._may_go_on() and self.parser.should_keep_alive()
            if keeps_alive:
                self._parsed = len(body), head
            self._wait_for_turn(head, body, keeps_alive=keeps_alive)

        def _may_go_on(self) -> bool:
            return self.loop.time() <= self._old_at and not app.is_draining

        def _wait_for_turn(self, head: Head, body: bytes, *, keeps_alive: bool) -> None:
            if not waiting:
                self.loop.call_soon(answer_waiting)
            waiting.append((self, (head, body, keeps_alive)))
            if not keeps_alive or len(waiting) >= _MAX_TOGETHER:
                answer_waiting()

        def send_answer(self, answer: bytes, *, keeps_alive: bool) -> None:
            """Write an answer, and close the connection behind it unless it goes on."""
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                return
            self.transport.write(answer)
            if not keeps_alive:
                self.transport.close()
                return
            self._idle_since = self.loop.time()
            # One timer for many requests, which looks when it is time: to start it anew each time costs more.
            if self._idle_timer is None:
                self._idle_timer = self.loop.call_later(keep_alive_seconds, self._end_idle)

        def drain(self) -> None:
            """Have the answers to what is under way say that the connection ends, as all later ones do."""
            for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
                if cycle is not None:
                    cycle.keep_alive = False

        def eof_received(self) -> None:
            # The connection is closed behind this.
            answer_waiting()
            super().eof_received()

        def shutdown(self) -> None:
            answer_waiting()
            super().shutdown()

        def on_header(self, name: bytes, value: bytes) -> None:
            # All of them where proxies are, which add to X-Forwarded-For by a line of their own. Not those that come
            # behind a body in chunks, which no proxy has looked at.
            if self._in_head:
                self.headers.append((name, value))

        def _start_cycle(self) -> None:
            # Answers are in the order of the requests.
            answer_waiting()
            url, headers = self.url, self.headers or list(self._fields.items())
            super().on_message_begin()
            self.url = url
            for name, value in headers:
                super().on_header(name, value)
            super().on_headers_complete()
            if self.loop.time() > self._old_at or app.is_draining:
                # The answer says "connection: close".
                self.cycle.keep_alive = False
            if len(self.pipeline) > _MAX_WAITING and not self.transport.is_closing():
                self._end(b"429 Too Many Requests", "pipelined", b"retry-after: %d\r\n" % random.randint(1, 10))

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._running = cycle
            super()._start_asgi_task(cycle, app)

        def _go_the_long_way(self) -> None:
            self._route = None
            self._start_cycle()
            for part in self._parts:
                super().on_body(part)
            self._parts = []

        def _end_refused(self) -> None:
            """The rest of a body whose request was answered before has come: the next head may."""
            self._disarm()
            self._discarded = 0
            if self.timeout_keep_alive_task is None and not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def _end_idle(self) -> None:
            self._idle_timer = None
            remaining = self._idle_since + keep_alive_seconds - self.loop.time()
            if self._head_bytes or self._timer is not None or not (self.cycle is None or self.cycle.response_complete):
                remaining = max(remaining, 1.0)  # something is under way, which has timers of its own
            if remaining > 0:
                self._idle_timer = self.loop.call_later(remaining, self._end_idle)
            else:
                self._close()

        def timeout_keep_alive_handler(self) -> None:
            self._close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write_timer = self.loop.call_later(settings.body_seconds, self._end_slow_reader)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer is not None:
                self._write_timer.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            if self._write_timer is not None:
                self._write_timer.cancel()
            self._disarm()
            if self._running is not None:
                # uvicorn tells the last request that the client has gone, not the one that waits to write its answer.
                self._running.disconnected = True
                self._running.message_event.set()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            answer_waiting()
            if not self.transport.is_closing():
                counts.refuse("bad_http")
                counts.requests[400] += 1
                super().send_400_response(msg)

        def _arm(self, seconds: float, end: Callable[[], None]) -> None:
            self._disarm()
            self._timer = self.loop.call_later(seconds, end)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _close(self) -> None:
            # What is still to be written could wait for ever for a client that does not read.
            if self.transport.get_write_buffer_size():
                self.loop.call_later(settings.body_seconds, self.transport.abort)
            self.transport.close()

        def _end_slow_head(self) -> None:
            self._timer = None
            if self._head_bytes:
                self._end(b"408 Request Timeout", "slow_head")
            else:  # nothing was asked
                self._close()

        def _end_slow_reader(self) -> None:
            counts.refuse("slow_reader")
            self.transport.abort()

        def _end(self, status: bytes, code: str, headers: bytes = b"") -> None:
            answer_waiting()
            counts.refuse(code)
            counts.requests[int(status[:3])] += 1
            self.transport.write(_CLOSING % (status, headers))
            self._close()

    made: Any = CollectorProtocol
    return made  # type: ignore[no-any-return]


class _Flow(FlowControl):
    """Reads nothing more of a connection while requests on it wait: uvicorn's reads on, and keeps all of them."""

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()
