"""Vendor: an HTTP server on this machine that stands in for a vendor, and can fail in every way that a real one can."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

#: A vendor refuses events that have this text anywhere in their data.
POISON: Final = "poison"

# Calls that are kept; the oldest are forgotten first.
_MAX_CALLS: Final = 10_000
# Seconds after which a silent server hangs up, unless it is closed before.
_MAX_SILENCE_SECONDS: Final = 60.0
# Seconds that ``close`` waits for answers in progress.
_LAST_ANSWERS_SECONDS: Final = 2.0
# Seconds between two checks whether the server is to end.
_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it came in. Header names are in lower case; the query's values are decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body before it was compressed."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode(errors="replace")

    @property
    def value(self) -> Any:
        """The body's JSON value, or its text if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered. ``taken`` are the ids of the events that the vendor has now.

    With a ``fault`` nothing is answered at all: "silent" keeps the connection open, "cut" hangs up.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    taken: Iterable[str] = ()
    fault: Literal["silent", "cut"] | None = None


#: What goes over the wire in place of a well-formed answer, one after another: bytes; seconds to wait; None to hang up.
Transfer: TypeAlias = Iterable[bytes | float | None]

#: The request is read, and nothing comes back.
SILENT: Final = Reply(fault="silent")
#: The request is read, and the connection closed.
CUT: Final = Reply(fault="cut")


class Vendor:
    """Takes everything with 200, but for what holds ``POISON``: 400. A subclass has its vendor's rules in ``answer``.

    ``calls`` has every request in order (the last 10 000), ``taken`` how often each event's id was taken, ``refused``
    how many requests were not answered with 2xx. Safe in threads. ``with`` starts and closes it.
    """

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=_MAX_CALLS)
        self.taken: Counter[str] = Counter()
        self.refused = 0
        #: Replies that come before what ``answer`` would say, first one first.
        self.script: list[Reply] = []
        #: The reply to everything that the script has none for; None leaves it to ``answer``.
        self.always: Reply | None = None
        #: How replies without a fault are sent; None for as HTTP wants it. Unless it hangs up, connections stay open.
        self.transfer: Callable[[Reply], Transfer] | None = None
        #: What it speaks TLS with, if it does; to be set before it starts.
        self.tls: SSLContext | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._server: _HttpServer | None = None
        self._port = 0

    def answer(self, call: Call) -> Reply:
        """What the vendor answers. Called from the request's thread."""
        return Reply(status=400) if POISON in call.text else Reply()

    @property
    def url(self) -> str:
        """Where it listens, without a path. Stays the same when it is closed and started again."""
        assert self._port, "start it first: with SomeVendor() as vendor"
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Listen on a free port of 127.0.0.1, or after ``close`` on the same port as before."""
        self._server = _HttpServer(self, self._port)
        self._port = self._server.server_address[1]
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._closed.clear()
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        return self

    def close(self) -> None:
        """Stop listening, finish the answers in progress, and hang up. Blocks up to two seconds for the answers.

        May be called twice, or without a start.
        """
        self._closed.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up(_LAST_ANSWERS_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            scripted = self.script.pop(0) if self.script else self.always
        try:
            reply = self.answer(call) if scripted is None else scripted
        except RecursionError:  # it nests too deeply to be read, for a real vendor too
            reply = Reply(status=400)
        with self._lock:
            self.taken.update(reply.taken)
            self.refused += reply.fault is not None or not 200 <= reply.status < 300
        return reply


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    server: _HttpServer

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The client died within the request, of which a real vendor has nothing either.
            self.close_connection = True
            return
        url = urlsplit(self.path)
        reply = self.server.vendor._take(
            Call(
                method=self.command,
                path=url.path,
                query=dict(parse_qsl(url.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
            )
        )
        if reply.fault is None:
            transfer = self.server.vendor.transfer
            if transfer is None:
                self._send(reply)
            else:
                self._transfer(transfer(reply))
            return
        if reply.fault == "silent":
            self.server.vendor._closed.wait(_MAX_SILENCE_SECONDS)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST  # noqa: N815 - likewise

    def _transfer(self, steps: Transfer) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self.wfile.write(step)
                self.wfile.flush()
            elif step is None or self.server.vendor._closed.wait(step):
                self.close_connection = True
                return

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        # A 204 has no body (RFC 9110 §15.3.5), nor a length of it.
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.status != 204:
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, vendor: Vendor, port: int) -> None:
        self.vendor: Final = vendor
        self._connections: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def hang_up(self, seconds: float) -> None:
        """End all connections, each after its answer in progress if that takes no longer than ``seconds``."""
        with self._changed:
            self._shut_down(socket.SHUT_RD)
            if not self._changed.wait_for(lambda: not self._connections, seconds):
                self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how: int) -> None:
        for connection in self._connections:
            with suppress(OSError):  # the client has hung up
                # Not SSLSocket's own method, after which an answer would go out unencrypted.
                socket.socket.shutdown(connection, how)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a client hung up; a mistake in ``answer`` is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
