"""Sentry's ingest endpoint, as far as its SDK can tell: it takes envelopes and keeps every byte of them."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.waiting import wait_for


class SentryIngest:
    """Listens on this machine from ``with`` on. Safe in threads."""

    def __init__(self) -> None:
        #: Everything that was received, in the clear: the request's line, its headers and its body, one after another.
        self.received = b""
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def dsn(self) -> str:
        """What an SDK is started with."""
        return f"http://public-key@127.0.0.1:{self._server.server_address[1]}/1"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of issues, oldest first."""
        return self._of_type("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The transactions, oldest first."""
        return self._of_type("transaction")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The events that dispatcher made of one kind of report."""
        return [event for event in self.events if event["tags"].get("dispatcher.kind") == kind]

    def wait_for_kind(self, kind: str, timeout: float = 30.0) -> dict[str, Any]:
        """The first event of a kind, once it is there."""
        wait_for(lambda: self.of_kind(kind), timeout, what=lambda: f"a report of {kind}; there are {self.events}")
        return self.of_kind(kind)[0]

    def take(self, head: bytes, body: bytes) -> None:
        """Keep one request."""
        # An envelope: a line of headers, then for each item a line with its type and length, and as many bytes.
        _, _, rest = body.partition(b"\n")
        items = []
        while rest.strip():
            line, _, rest = rest.lstrip(b"\n").partition(b"\n")
            header = json.loads(line)
            items.append((header["type"], json.loads(rest[: header["length"]])))
            rest = rest[header["length"] :]
        with self._lock:
            self.received += head + b"\n" + body + b"\n"
            self._items += items

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _of_type(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [item for found, item in self._items if found == kind]


def _handler(ingest: SentryIngest) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            ingest.take(f"{self.requestline}\n{self.headers}".encode(), body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are no news."""

    return Handler
