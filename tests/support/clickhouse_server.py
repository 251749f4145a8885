"""ClickHouse for tests: chDB's engine, which is the server's own, behind its HTTP interface, in a process of its own.

`make clickhouse` fetches chDB into .venvs. It has one session, so requests go one after another; it checks no password.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlsplit

ROOT: Final = Path(__file__).parents[2]
CHDB: Final = ROOT / ".venvs" / "chdb"
HINT: Final = "chDB is not there: make clickhouse"

# Parameters of the interface, which the engine does not know as settings.
_INTERFACE: Final = frozenset({"query", "database", "wait_end_of_query"})
_CODE: Final = re.compile(r"Code: (\d+)\.")
# As the server has them; others are 500.
_STATUSES: Final = {60: 404, 81: 404, 62: 400, 27: 400, 117: 400, 6: 400, 516: 403, 497: 403}


class ClickHouseServer:
    """Started and closed by ``with``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        environ = {**os.environ, "PYTHONPATH": str(CHDB)}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "chDB does not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def logged(self) -> str:
        """All addresses so far, and all queries but what was inserted."""
        with urllib.request.urlopen(self.url, timeout=120) as answer:  # noqa: S310
            return str(json.load(answer))

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SELECT; none for anything else."""
        sql = f"{sql} FORMAT JSONEachRow" if sql.lstrip().startswith("SELECT") else sql
        with urllib.request.urlopen(f"{self.url}/", data=sql.encode(), timeout=120) as answer:  # noqa: S310
            return [json.loads(line) for line in answer.read().splitlines()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session: Any = None
    lock = Lock()
    queries: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """What queries said, and addresses: what a server and its proxies may log."""
        self._send(200, json.dumps(self.queries).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        settings = [f"{name} = {_value(value)}" for name, value in given.items() if name not in _INTERFACE]
        sql = given.get("query", "")
        external = None
        if (form := self.headers.get("Content-Type", "")).startswith("multipart/form-data"):
            external, body = _read_form(form, body, given), b""
        if sql.startswith("INSERT") and settings:
            sql = sql.replace(" FORMAT ", f" SETTINGS {', '.join(settings)} FORMAT ", 1)
        with self.lock:
            try:
                if "database" in given:
                    self.session.query(f"USE {given['database']}")
                if external is not None:
                    name, structure, rows = external
                    self.session.query(f"CREATE OR REPLACE TABLE {name} ({structure}) ENGINE = Memory")
                    self.session.query(f"INSERT INTO {name} FORMAT JSONEachRow {rows}")
                answer = self.session.query(f"{sql}\n{body.decode()}").bytes() or b""
                self._send(200, bytes(answer))
            except Exception as error:
                code = int(found[1]) if (found := _CODE.search(str(error))) else 1002
                self._send(_STATUSES.get(code, 500), str(error).encode(), {"X-ClickHouse-Exception-Code": str(code)})
            finally:
                if external is not None:
                    self.session.query(f"DROP TABLE IF EXISTS {external[0]}")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(OSError):  # whoever asked has hung up
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _read_form(content_type: str, body: bytes, given: dict[str, str]) -> tuple[str, str, str]:
    """External data: the name of a table that lives as long as the query, its columns and its rows."""
    (part,) = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body).get_payload()  # type: ignore[misc]
    name = part.get_param("name", header="content-disposition")
    assert part.get_filename(), "the server takes files as tables"
    structure, form = given.pop(f"{name}_structure"), given.pop(f"{name}_format")
    assert form == "JSONEachRow"
    return name, structure, part.get_payload(decode=True).decode()


def _value(text: str) -> str:
    return text if re.fullmatch(r"[0-9.]+", text) else f"'{text}'"


def _serve() -> None:
    from chdb.session import Session

    with tempfile.TemporaryDirectory() as directory:
        _Handler.session = Session(directory)
        _Handler.session.query("CREATE DATABASE IF NOT EXISTS site ENGINE = Atomic")
        _Handler.session.query("USE site")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        from threading import Thread

        Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        sys.stdin.read()
        _Handler.session.close()


if __name__ == "__main__":
    _serve()
