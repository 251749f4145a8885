"""Sink: Segment's side of a case. It does what it is told to, and counts every message by its id as it came."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from random import Random
from typing import Any, Self, cast

# Seconds after which a hanging answer gives up even where nobody tells it to.
_HANG_SECONDS = 60.0
# For what is being answered when it stops listening.
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What becomes of one request.

    Args:
        status: Of the answer; None closes the connection without one.
        takes: Whether the messages count as taken, whatever the answer says of it.
        delay_seconds: Before the answer.
        hangs: No answer at all, until the behaviour changes.
    """

    status: int | None = 200
    takes: bool = True
    delay_seconds: float = 0.0
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)


# For a request that comes while it stops listening.
_UNHEARD = Reply(status=None, takes=False)

Messages = list[dict[str, Any]]
Behaviour = Callable[[Messages], Reply]


def answering(_: Messages) -> Reply:
    """Takes all."""
    return Reply()


def failing(status: int, **headers: str) -> Behaviour:
    """Refuses all with this status."""
    return lambda _: Reply(status=status, takes=False, headers=headers)


def throttling(seconds: int, *, as_date: bool) -> Behaviour:
    """429 with Retry-After, as a number or as a date."""

    def behave(_: Messages) -> Reply:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        after = format_datetime(until, usegmt=True) if as_date else str(seconds)
        return Reply(status=429, takes=False, headers={"Retry-After": after})

    return behave


def refusing_poison(messages: Messages) -> Reply:
    """400 for a request that holds a poison event; takes all others."""
    bad = any("poison" in message.get("properties", {}) for message in messages)
    return Reply(status=400, takes=False) if bad else Reply()


def hanging(_: Messages) -> Reply:
    """Reads the request and says nothing."""
    return Reply(status=None, takes=False, hangs=True)


def cutting(_: Messages) -> Reply:
    """Takes the request and closes the connection instead of answering."""
    return Reply(status=None)


def late(seconds: float) -> Behaviour:
    """Takes the request and answers 200 when the other side has long gone."""
    return lambda _: Reply(delay_seconds=seconds)


def slow(seconds: float) -> Behaviour:
    """Takes everything, but takes its time."""
    return late(seconds)


def sometimes(share: float, chance: Random, behaviour: Behaviour) -> Behaviour:
    """As ``behaviour`` for a random share of the requests; takes the others."""
    return lambda messages: behaviour(messages) if chance.random() < share else Reply()


class ScriptedSink:
    """Takes Segment's POST /v1/batch and does with it what ``behave`` was last given. Safe in threads.

    ``seen`` counts by messageId what came in whole requests, ``taken`` what was kept of it: a message that was taken
    twice is one that Segment has to recognise by its id.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._refuses = False
        self._answering = 0
        self._behaviour: Behaviour = answering
        self._changed = threading.Event()
        self._server: _Server | None = None
        self._port = 0
        self.seen: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.keys: dict[str, str] = {}
        self.requests = 0
        self.statuses: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """What a Segment destination takes as its host. The same after ``refuse`` and ``listen``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def behave(self, behaviour: Behaviour) -> None:
        """Answer like this from now on; what hangs is hung up."""
        with self._lock:
            self._behaviour = behaviour
            changed, self._changed = self._changed, threading.Event()
        changed.set()

    def listen(self) -> Self:
        """Start listening, on the same port as before."""
        self._refuses = False
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="faults-sink", daemon=True).start()
        return self

    def refuse(self) -> None:
        """Stop listening, answer what was taken, and hang up. Refuses connections from now on. May be called twice."""
        if self._server is not None:
            with self._lock:
                self._refuses = True
                self._lock.wait_for(lambda: self._answering == 0, _ANSWER_SECONDS)
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    def __enter__(self) -> Self:
        return self.listen()

    def __exit__(self, *_: object) -> None:
        self.behave(answering)
        self.refuse()

    def receive(self, messages: Messages) -> tuple[Reply, threading.Event]:
        """Count a request that has come whole, and say what is to become of it."""
        with self._lock:
            reply, changed = _UNHEARD if self._refuses else self._behaviour(messages), self._changed
            self._answering += 1
            self.requests += 1
            self.statuses[str(reply.status or ("hung" if reply.hangs else "cut"))] += 1
            for message in messages:
                message_id = message["messageId"]
                self.keys[message_id] = message.get("properties", {}).get("k", "")
                self.seen[message_id] += 1
                if reply.takes:
                    self.taken[message_id] += 1
        return reply, changed

    def has_answered(self) -> None:
        """What ``receive`` counted was answered, or the peer has gone."""
        with self._lock:
            self._answering -= 1
            self._lock.notify_all()

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Copies of ``seen`` and ``taken``."""
        with self._lock:
            return Counter(self.seen), Counter(self.taken)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, sink: ScriptedSink, port: int) -> None:
        self.sink = sink
        self._open: set[Any] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A peer that was killed is what the cases are about.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender died within the request, so Segment would not have it either.
            self.close_connection = True
            return
        if self.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, 31)
        sink = cast(_Server, self.server).sink
        reply, changed = sink.receive(json.loads(body)["batch"])
        try:
            self._reply(reply, changed)
        finally:
            sink.has_answered()

    def _reply(self, reply: Reply, changed: threading.Event) -> None:
        if reply.hangs:
            changed.wait(_HANG_SECONDS)
        elif reply.delay_seconds:
            # Not cut short by a change: late is late.
            threading.Event().wait(reply.delay_seconds)
        if reply.status is None:
            self.close_connection = True
            return
        self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        text = json.dumps({"success": reply.status == 200}).encode()
        self.send_response(reply.status or 200)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """The counts say it all."""
