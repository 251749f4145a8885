"""A server that speaks Vertica's protocol, for one table by days and the staging table beside it.

It keeps the rules that a load leans on: COPY commits unless NO COMMIT is said; TRUNCATE and the functions for
partitions commit; what was not committed is gone with the connection; a value that is longer than its column ends a
COPY that says ENFORCELENGTH, and is cut without a word otherwise. Whether Vertica takes a statement it cannot tell.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dispatcher.exports.warehouse.event_record import columns_with

# Numbers of the protocol that vertica-python speaks.
_SSL_REQUEST = 80877103
_INTEGER, _VARCHAR = 6, 9
_PASSWORD_IN_CLEAR = 3

#: Of every user.
PASSWORD = "secret"

Row = tuple[str | None, ...]


@dataclass
class Session:
    """What one connection has said, and has not committed."""

    user: str = ""
    pending: list[Row] = field(default_factory=list)


class FakeVertica:
    """Serves any number of connections, one after another.

    Attributes:
        statements: Each statement that came, in order; COMMIT too.
        copied: The bytes of each COPY.
        target: The rows of the table, by day.
        staging: Those of the staging table.
        cut_before: The connection is cut where a statement begins so.
        cut_after: The connection is cut when such a statement was carried out, before its answer.
        refuse: A statement that begins so is refused with this state and message.
        raw_event_octets: As the tables were made.
    """

    def __init__(self, raw_event_octets: int = 60_000) -> None:
        self.statements: list[str] = []
        self.copied: list[bytes] = []
        self.target: dict[str, list[Row]] = {}
        self.staging: list[Row] = []
        self.cut_before = self.cut_after = ""
        self.refuse: dict[str, tuple[str, str]] = {}
        self.columns = columns_with(raw_event_octets)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> None:
        """Serve until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(ConnectionError):
                    self._serve(connection)

    def close(self) -> None:
        """Take no connection any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def rows(self, day: str) -> list[dict[str, str | None]]:
        """The table's rows of a day, by column."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.target.get(day, [])]

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rwb")
        session = Session()
        if not self._start(stream, session):
            return
        while True:
            kind = stream.read(1)
            if kind in (b"", b"X"):
                return  # what is pending is gone
            body = _read_body(stream)
            if kind != b"Q":
                raise AssertionError(f"a message {kind!r} is unknown here")
            statement = body.rstrip(b"\0").decode().rstrip(";")
            if self.cut_before and statement.startswith(self.cut_before):
                return
            self.statements.append(statement)
            self._answer(stream, session, statement)
            if self.cut_after and statement.startswith(self.cut_after):
                return
            _send(stream, b"Z", b"I")
            stream.flush()

    def _start(self, stream: Any, session: Session) -> bool:
        while True:
            body = _read_body(stream)
            if struct.unpack("!I", body[:4])[0] != _SSL_REQUEST:
                break
            stream.write(b"N")
            stream.flush()
        session.user = body.split(b"user\0")[1].split(b"\0")[0].decode()
        _send(stream, b"R", struct.pack("!I", _PASSWORD_IN_CLEAR))
        stream.flush()
        assert stream.read(1) == b"p"
        if _read_body(stream).rstrip(b"\0").decode() != PASSWORD:
            _send_error(stream, "28000", f'Invalid username or password for "{session.user}"')
            stream.flush()
            return False
        _send(stream, b"R", struct.pack("!I", 0))
        _send(stream, b"K", struct.pack("!II", 1, 2))
        _send(stream, b"Z", b"I")
        stream.flush()
        return True

    def _answer(self, stream: Any, session: Session, statement: str) -> None:
        for beginning, (state, message) in self.refuse.items():
            if statement.startswith(beginning):
                if beginning.startswith("COPY"):
                    self._receive(stream)
                _send_error(stream, state, message)
                return
        handlers: list[tuple[str, Callable[[Any, Session, str], None]]] = [
            ("SET TIME ZONE", self._done),
            ("TRUNCATE TABLE", self._truncate),
            ("COPY", self._copy),
            ("SELECT COUNT(*)", self._count),
            ("COMMIT", self._commit),
            ("SELECT SWAP_PARTITIONS_BETWEEN_TABLES", self._swap),
            ("SELECT DROP_PARTITIONS", self._drop),
        ]
        for beginning, handler in handlers:
            if statement.startswith(beginning):
                handler(stream, session, statement)
                return
        _send_error(stream, "42601", "Syntax error")

    def _done(self, stream: Any, session: Session, statement: str) -> None:
        _send(stream, b"C", statement.split(maxsplit=1)[0].encode() + b"\0")

    def _truncate(self, stream: Any, session: Session, statement: str) -> None:
        self._commit_rows(session)
        self.staging = []
        self._done(stream, session, statement)

    def _commit(self, stream: Any, session: Session, statement: str) -> None:
        self._commit_rows(session)
        self._done(stream, session, statement)

    def _commit_rows(self, session: Session) -> None:
        self.staging += session.pending
        session.pending = []

    def _count(self, stream: Any, session: Session, statement: str) -> None:
        _send_value(stream, _INTEGER, str(len(self.staging) + len(session.pending)))

    def _swap(self, stream: Any, session: Session, statement: str) -> None:
        _, staging, _, first, _, last, _, target, _ = statement.split("'")
        assert (first, staging) == (last, f"{target}_staging")
        self._commit_rows(session)
        old = self.target.pop(first, [])
        if new := [row for row in self.staging if row[-1] == first]:
            self.target[first] = new
        self.staging = old + [row for row in self.staging if row[-1] != first]
        _send_value(stream, _VARCHAR, "1 partition values swapped")

    def _drop(self, stream: Any, session: Session, statement: str) -> None:
        self.target.pop(statement.split("'")[3], None)
        _send_value(stream, _VARCHAR, "Partition dropped")

    def _copy(self, stream: Any, session: Session, statement: str) -> None:
        content = self._receive(stream)
        if content is None:
            _send_error(stream, "57014", "COPY from stdin failed")
            return
        self.copied.append(content)
        names = re.search(r"\(([^)]*)\)", statement)
        assert names is not None
        assert [column.name for column in self.columns] == names[1].split(", ")
        rows = []
        for number, line in enumerate(content.decode().split("\n")[:-1], 1):
            row = tuple(map(_value, line.split("\t")))
            for column, value in zip(self.columns, row, strict=True):
                if column.not_null and value is None:
                    _send_error(stream, "22V04", f"Input record {number} has been rejected (Null in {column.name})")
                    return
                if column.octets and value is not None and len(value.encode()) > column.octets:
                    if "ENFORCELENGTH" not in statement:
                        raise AssertionError("Vertica would cut it without a word")
                    _send_error(stream, "22V04", f"Input record {number} has been rejected (Too large)")
                    return
            rows.append(row)
        session.pending += rows
        if "NO COMMIT" not in statement:
            self._commit_rows(session)
        self._done(stream, session, statement)

    def _receive(self, stream: Any) -> bytes | None:
        """What the client sends for a COPY; None where it gives up."""
        _send(stream, b"G", b"\0\0\0")
        stream.flush()
        parts = []
        while (kind := stream.read(1)) == b"d":
            parts.append(_read_body(stream))
        if kind == b"":
            raise ConnectionError
        _read_body(stream)
        return b"".join(parts) if kind == b"c" else None


@contextmanager
def fake_vertica(raw_event_octets: int = 60_000) -> Iterator[FakeVertica]:
    """A server in a thread of its own."""
    server = FakeVertica(raw_event_octets)
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


_ESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\0": "\0"}


def _value(cell: str) -> str | None:
    return None if cell == "\\N" else re.sub(r"\\.", lambda found: _ESCAPED[found[0]], cell)


def _read_body(stream: Any) -> bytes:
    head = stream.read(4)
    if len(head) < 4:
        raise ConnectionError
    return bytes(stream.read(struct.unpack("!I", head)[0] - 4))


def _send(stream: Any, kind: bytes, body: bytes) -> None:
    stream.write(kind + struct.pack("!I", len(body) + 4) + body)


def _send_error(stream: Any, state: str, message: str) -> None:
    fields = {b"S": "ERROR", b"M": message, b"C": state}
    body = b"".join(name + text.encode() + b"\0" for name, text in fields.items())
    _send(stream, b"E", body + b"\0")


def _send_value(stream: Any, kind: int, text: str) -> None:
    column = (
        struct.pack("!HI", 1, 0)
        + b"value\0"
        + struct.pack("!QH", 0, 1)
        + struct.pack("!BIHHHiH", 0, kind, 8, 1, 0, -1, 0)
    )
    _send(stream, b"T", column)
    _send(stream, b"D", struct.pack("!Hi", 1, len(text)) + text.encode())
    _send(stream, b"C", b"SELECT\0")
