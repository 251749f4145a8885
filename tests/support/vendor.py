"""Vendor: a scripted vendor on this machine, which enforces the documented contract and counts what it took."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from tests.support.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it came in. Header names are in lower case; the query's values are decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered. ``taken`` are the ids of the events that the vendor has now."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    taken: Iterable[str] = ()


class Vendor(Server, ABC):
    """A subclass is one vendor: ``answer`` checks a request against the vendor's documented rules.

    ``calls`` has every request in order (the last 10 000), ``taken`` how often each event's id was taken, ``refused``
    how many requests were not answered with 2xx. Safe in threads.
    """

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=10_000)
        self.taken: Counter[str] = Counter()
        self.refused = 0
        #: Replies that come before what ``answer`` would say, first one first.
        self.script: list[Reply] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @abstractmethod
    def answer(self, call: Call) -> Reply:
        """What the vendor answers. Called from the request's thread."""

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        assert self._server is not None, "start it first: with SomeVendor() as vendor"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                reply = vendor._take(
                    Call(
                        method=self.command,
                        path=url.path,
                        query=dict(parse_qsl(url.query, keep_blank_values=True)),
                        headers={name.lower(): value for name, value in self.headers.items()},
                        body=body,
                    )
                )
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        class HttpServer(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = HttpServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _take(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            scripted = self.script.pop(0) if self.script else None
        reply = self.answer(call) if scripted is None else scripted
        with self._lock:
            self.taken.update(reply.taken)
            self.refused += not 200 <= reply.status < 300
        return reply
