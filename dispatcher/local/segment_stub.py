"""Segment stub: a small local stand-in for Segment that keeps what it receives. It listens on 127.0.0.1 only."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import sys
import threading
import zlib
from contextlib import suppress
from hashlib import blake2b
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Bytes of a body after decompression. Segment answers 400 to more than 500 KB.
MAX_BODY_BYTES: Final = 512_000
# Ids in one of the two generations: at least the last half million are remembered, in up to 80 MB.
_GENERATION_IDS: Final = 500_000
# Seconds in which a stub that is stopped finishes its answers.
_STOP_SECONDS: Final = 2.0
# Names of events in the line about a request, which has to stay one line.
_SHOWN_NAMES: Final = 3

_CALLS: Final = {f"/v1/{call}": call for call in ("track", "identify", "page", "screen", "group", "alias")}


class _BadRequestError(Exception):
    """The request is not one that Segment takes. Its text is the answer's message."""


class SegmentStub:
    """Takes Segment's POST /v1/batch and /v1/track, identify, page, screen, group and alias, with any write key.

    ``GET /`` answers ``{"requests": …, "messages": …, "unique": …}``: how many requests and messages were taken, and
    how many different messageIds those had. That number is exact up to a million ids; beyond, an id counts again
    if half a million others came in between.

    Safe in threads. Start it after any fork.

    Args:
        port: Where to listen; 0 finds a free port.
        file: Gets a line of JSON for each message, without the write key. A request is answered once all of its lines
            are written. If the disk is full, none of them is.
        on_request: Called with a short line for each request, from the request's thread.
    """

    def __init__(
        self, *, port: int = 0, file: Path | None = None, on_request: Callable[[str], None] | None = None
    ) -> None:
        self._wanted_port = port
        self._file = file
        self._on_request = on_request
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._counts = {"requests": 0, "messages": 0, "unique": 0}
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()

    def start(self) -> Self:
        """Listen, and answer from threads of its own. Returns at once.

        Raises:
            OSError: The port is taken, or the file cannot be opened.
        """
        if self._server is not None:
            raise RuntimeError("this stub was started already")
        if self._file is not None:
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._server = _Server(self, self._wanted_port)
        except OSError:
            self._close_file()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="dispatcher-segment-stub",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, finish the answers, and close. May be called twice. Blocks for up to two seconds."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up(_STOP_SECONDS)
        self._server.server_close()
        self._server = self._thread = None
        self._close_file()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on. Raises RuntimeError before ``start`` and after ``stop``."""
        if self._server is None:
            raise RuntimeError("this stub is not running: call start() first")
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """The ``host`` for the settings of a Segment destination."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """The numbers that ``GET /`` answers."""
        with self._lock:
            return dict(self._counts)

    def take(self, messages: Sequence[dict[str, Any]]) -> None:
        """Write and count the messages of one request. Raises OSError if the file cannot be written."""
        lines = "".join(
            json.dumps({key: value for key, value in message.items() if key != "writeKey"}, separators=(",", ":"))
            + "\n"
            for message in messages
        )
        with self._lock:
            if self._descriptor is not None:
                _append(self._descriptor, lines.encode())
            self._counts["requests"] += 1
            self._counts["messages"] += len(messages)
            self._counts["unique"] += sum(self._is_new(message.get("messageId")) for message in messages)

    def tell(self, messages: Sequence[dict[str, Any]]) -> None:
        """Call ``on_request`` with the line about a request."""
        if self._on_request is not None:
            self._on_request(_summary(messages))

    def _is_new(self, message_id: object) -> bool:
        if message_id is None:
            return False
        # Eight bytes of a hash take the same memory for every id. One in 10⁷ runs of a million ids has a collision.
        key = blake2b(str(message_id).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if key in self._recent or key in self._older:
            return False
        if len(self._recent) == _GENERATION_IDS:
            self._older, self._recent = self._recent, set()
        self._recent.add(key)
        return True

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _append(descriptor: int, lines: bytes) -> None:
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(lines):
            written += os.write(descriptor, lines[written:])
    except OSError:
        # A full disk may have taken half a line. A pipe or a device cannot be cut.
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _summary(messages: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(_name(message) for message in messages))
    more = f" and {len(names) - _SHOWN_NAMES} other names" if len(names) > _SHOWN_NAMES else ""
    return f"{len(messages)} message{'' if len(messages) == 1 else 's'}: {', '.join(names[:_SHOWN_NAMES])}{more}"


def _name(message: dict[str, Any]) -> str:
    # For calls other than track, their type: the contents describe a user, and stay out of terminals.
    name = message.get("event") if message.get("type") == "track" else message.get("type")
    return name[:80] if isinstance(name, str) and name.isprintable() else repr(name)[:80]


class _Server(socketserver.ThreadingTCPServer):
    # http.server's own server class would ask DNS for this machine's name before it listens.
    daemon_threads = True
    allow_reuse_address = True
    # All workers may open their connections at once.
    request_queue_size = 128

    def __init__(self, stub: SegmentStub, port: int) -> None:
        self.stub = stub
        self.stopping = False
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A peer may hang up at any time; any other error is a mistake here and shows its traceback.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def hang_up(self, seconds: float) -> None:
        """Close the kept-alive connections, each after its current answer. Blocks for up to ``seconds``."""
        deadline = monotonic() + seconds
        self.stopping = True
        with self._changed:
            for connection in self._open:
                # Only the reading half. The peer may have closed it already.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
            while self._open and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)


class _Handler(BaseHTTPRequestHandler):
    # Keeps connections open. Without TCP_NODELAY the two halves of an answer would wait 40 ms for each other.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != "/":
            return self._answer(HTTPStatus.NOT_FOUND, {"success": False, "message": "only / answers GET"})
        return self._answer(HTTPStatus.OK, self._listener.stub.counts())

    def do_POST(self) -> None:
        try:
            messages = self._messages(self._body())
        except _BadRequestError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, {"success": False, "message": str(error)})
        try:
            self._listener.stub.take(messages)
        except OSError as error:
            message = f"the messages cannot be kept: {error.strerror}"
            return self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"success": False, "message": message})
        self._answer(HTTPStatus.OK, {"success": True})
        return self._listener.stub.tell(messages)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            # The unread body follows on this connection.
            self.close_connection = True
            raise _BadRequestError(f"the body needs a Content-Length of at most {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError("the peer hung up within a request")
        if self.headers.get("Content-Encoding", "identity") == "gzip":
            return _inflate(body)
        return body

    def _messages(self, body: bytes) -> list[dict[str, Any]]:
        try:
            request = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise _BadRequestError("the body is not JSON") from None
        if self.path == "/v1/batch":
            messages = request.get("batch") if isinstance(request, dict) else None
        elif self.path in _CALLS:
            messages = [{"type": _CALLS[self.path], **request}] if isinstance(request, dict) else None
        else:
            raise _BadRequestError("no such call: use /v1/batch, /v1/track, identify, page, screen, group or alias")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise _BadRequestError('the body is not {"batch": [{...}, ...]} or, for a single call, {...}')
        return messages

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.close_connection = self.close_connection or self._listener.stopping
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(encoded)

    @property
    def _listener(self) -> _Server:
        return cast(_Server, self.server)

    def log_message(self, format: str, *args: Any) -> None:
        """Does nothing: the stub has its own line for each request."""


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise _BadRequestError("the body is not gzip") from None
    if len(inflated) > MAX_BODY_BYTES or not inflater.eof:
        raise _BadRequestError(f"the body is cut off, or more than {MAX_BODY_BYTES} bytes when inflated")
    return inflated


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
