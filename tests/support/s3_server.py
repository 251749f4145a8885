"""S3Server: moto's server of S3's protocol in a process of its own; and a proxy that answers as S3 does in trouble."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import obstore
from obstore.store import S3Store

from tests.support.ports import free_ports
from tests.support.server import Server
from tests.support.waiting import PATIENCE, wait_for

BUCKET: Final = "lake"


class S3Server(Server):
    """A server with empty buckets: ``BUCKET``, and ``logs``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> Self:
        [self.port] = free_ports(1)
        program = Path(sys.executable).with_name("moto_server")
        self._process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._answers, what="moto's server")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "moto's server has ended"
        try:
            return {self.request("PUT", f"/{bucket}") for bucket in (BUCKET, "logs")} == {200}
        except OSError:
            return False

    def request(self, method: str, path: str) -> int:
        """Send a request without a body. Returns the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def clear(self) -> None:
        """Empty the bucket."""
        store = self.store("")
        for batch in obstore.list(store):
            obstore.delete(store, [one["path"] for one in batch])

    def store(self, prefix: str, bucket: str = BUCKET) -> S3Store:
        """A client for the objects under a prefix, without any fault."""
        return S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=f"http://127.0.0.1:{self.port}",
            client_options={"allow_http": True},
            **CREDENTIALS,
        )

    def names(self, prefix: str = "") -> list[str]:
        """The names of all objects."""
        return sorted(one["path"] for batch in obstore.list(self.store(prefix)) for one in batch)

    def close(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


CREDENTIALS: Final[dict[str, str]] = {
    "access_key_id": "key",
    "secret_access_key": "secret",
    "region": "us-east-1",
}


def variables(port: int) -> dict[str, str]:
    """The variables by which the vendor's tools, and ours, use a server of this machine."""
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


#: What S3 answers in trouble: status and code.
TROUBLES: Final = {
    "500": (500, "InternalError"),
    "slow_down": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
}

#: Which trouble a request has: given its method, its path, and how many came before it. Empty is none.
#: "hang" is no answer until the proxy ends; "lost" is done by the server, and its answer is lost.
Choose = Callable[[str, str, int], str]


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, choose: Choose) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to, self.choose = port, choose
        self.count = 0
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.made: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that were left alone go away."""


@contextmanager
def troubled(server: S3Server, choose: Choose) -> Iterator[_Proxy]:
    """A proxy before the server, some of whose requests have a trouble."""
    with _Proxy(server.port, choose) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            proxy.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            trouble = self.server.choose(self.command, self.path, self.server.count)
            self.server.count += 1
            self.server.made[trouble] += 1
        if trouble == "hang":
            self.server.ended.wait()
            self.close_connection = True
        elif trouble in TROUBLES:
            status, code = TROUBLES[trouble]
            self._answer(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
        else:
            answer = self._forward(body)
            if trouble == "lost":
                self.close_connection = True
            else:
                self._answer(*answer)

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=PATIENCE)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        is_head = self.command == "HEAD"
        own = {"connection", "transfer-encoding", *(() if is_head else ("content-length",))}
        for name, value in headers.items():
            if name.lower() not in own:
                self.send_header(name, value)
        if not is_head:
            self.send_header("content-length", str(len(body)))
        with suppress(OSError):
            self.end_headers()
            if not is_head:
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
