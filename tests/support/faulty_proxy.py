"""FaultyProxy: stands before an HTTP server, and answers for it with errors, or cuts connections."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})


class FaultyProxy:
    """Passes requests on to a server of this machine; every POST and PUT may fail. Safe in threads.

    Args:
        port: Of the server.
        files: What it serves itself, by path: the content type and the body.
        faults: How often a POST fails, between 0 and 1.
        seed: Of the chances.

    Attributes:
        faults: As above; may change at any time.
        kinds: The faults that are made, each as often as the others.
        preflight_seconds: How long an OPTIONS takes.
        down: Whether every request but those for its own files is cut, as if the server did not run.
    """

    def __init__(self, port: int, *, files: Mapping[str, tuple[str, bytes]], faults: float, seed: int) -> None:
        self.server_port: Final = port
        self.files: Final = files
        self.faults = faults
        self.kinds: tuple[str, ...] = ("500", "503", "429", "cut before", "cut behind")
        self.preflight_seconds = 0.0
        self.down = False
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        #: The latest requests that came to it: method, path, and headers with names in lower case.
        self.requests: Final[deque[tuple[str, str, dict[str, str]]]] = deque(maxlen=1000)
        #: How often each fault was made; "passed" is none.
        self.made: Final[Counter[str]] = Counter()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.socket.listen(128)
        self.url: Final = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def choose(self) -> str:
        """The fault of the next POST."""
        with self._lock:
            kind = self._chance.choice(self.kinds) if self._chance.random() < self.faults else "passed"
            self.made[kind] += 1
            return kind

    def forward(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """What the server answers: status, headers, body. Called from many threads.

        Raises:
            OSError: It does not run.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        try:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"
    # Or each answer waits for the other side's delayed acknowledgement.
    disable_nagle_algorithm = True
    timeout = 30

    def handle(self) -> None:
        # Pages that end reset their connections.
        with suppress(ConnectionError):
            super().handle()

    def parse_request(self) -> bool:
        is_good = super().parse_request()
        if is_good:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.proxy.requests.append((self.command, self.path.partition("?")[0], headers))
        return is_good

    def do_GET(self) -> None:
        file = self.proxy.files.get(self.path.partition("?")[0])
        if file is None:
            self._pass_on(b"")
        else:
            self._answer(200, {"content-type": file[0]}, file[1])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.proxy.choose()
        if fault == "passed":
            self._pass_on(body)
        elif fault == "cut before":
            self.close_connection = True
        elif fault == "cut behind":
            self._pass_on(body, answers=False)
            self.close_connection = True
        else:
            self._answer(int(fault), {"retry-after": "1"} if fault == "429" else {}, b"")

    do_PUT = do_POST

    def do_OPTIONS(self) -> None:
        time.sleep(self.proxy.preflight_seconds)
        self._pass_on(b"")

    def _pass_on(self, body: bytes, *, answers: bool = True) -> None:
        try:
            if self.proxy.down:
                raise ConnectionError("it is down")
            answer = self.proxy.forward(self.command, self.path, dict(self.headers), body)
        except (OSError, http.client.HTTPException):
            # As a client sees a server that was killed.
            self.close_connection = True
            return
        if answers:
            self._answer(*answer)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        # Pages that end leave answers unread.
        with suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
