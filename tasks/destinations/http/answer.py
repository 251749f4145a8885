"""Answer: what a vendor answered, decided by its final status line; what follows is read as far as it can be.

The form is that of HTTP/1.1 (RFC 9112), and whatever servers make of it: the standard library's parser refuses a header
too many, takes 103 for a final status, and waits for a body that never ends.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dispatcher.connections.channel import ProtocolError
from dispatcher.secrecy.safe_text import foreign_text

if TYPE_CHECKING:
    from dispatcher.connections.channel import Channel
    from dispatcher.connections.deadline import Deadline

# Version and status, once it is certain that the status has no more digits. The reason may be absent.
_STATUS: Final = re.compile(rb"HTTP/(\d+)(?:\.(\d+))?[ \t]+(\d{3})(?=[ \t\r\n])")
# Bytes by which a status line must have begun.
_MAX_STATUS_BYTES: Final = 64
# Bytes of informational answers, and of the headers of the final one.
_MAX_HEAD_BYTES: Final = 1 << 18
# Lines of headers. Servers send up to a hundred or two; more would only cost time.
_MAX_HEADER_LINES: Final = 2000
# Codings of a body, one inside of the other. A real one has one.
_MAX_CODINGS: Final = 2
#: Bytes of a body that are read where it matters. No vendor needs more, and a hostile one could send without end.
MAX_BODY_BYTES: Final = 1 << 20
# Where only the status matters, the rest is read for so many seconds and bytes, so that the connection can be used
# again. A body that is larger, or slower, costs a connection instead.
_REST_SECONDS: Final = 0.5
_REST_BYTES: Final = 1 << 16
# Characters of an answer that are kept with an event that it refuses.
_MAX_WORDS: Final = 1000
# Statuses whose answers have no body (RFC 9110 §15.3.5, §15.4.5).
_WITHOUT_BODY: Final = frozenset({204, 304})
_SWITCHING_PROTOCOLS: Final = 101
# Digits of a length, and hexadecimal ones of a chunk's, that can be meant.
_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_BYTES: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
# zlib's words for gzip's form, for its own, and for neither.
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Headers(Mapping[str, str]):
    """Headers by name, whatever their upper and lower case. What comes several times is joined by commas."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, str]] = {}

    def add(self, name: str, value: str) -> None:
        """Take one more line."""
        if (before := self._values.get(name.lower())) is not None:
            value = f"{before[1]}, {value}"
        self._values[name.lower()] = (name, value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._values.values())

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a vendor answered.

    Args:
        status: The final HTTP status.
        headers: The headers that could be read; upper and lower case do not matter in their names.
        body: The body, up to its first MiB. Where the destination does not read bodies: what came of it at once, as it
            was sent.
        fault: What was wrong with what follows the status line, such as a body that ends early; None for nothing.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    fault: str | None = None

    def json(self) -> Any:
        """The body's JSON value; None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def own_words(answer: Answer) -> str:
    """What a vendor says in its answer, as one line of at most 1,000 characters without credentials and addresses.

    Empty if the body is empty, or not text: one that was packed, and is not read here.
    """
    text = answer.body.decode("utf-8", "replace")
    if text.count("\N{REPLACEMENT CHARACTER}") > len(text) // 20:
        return ""
    return foreign_text(text, _MAX_WORDS)


def read_answer(
    channel: Channel, deadline: Deadline, *, reads_body: bool, max_body_bytes: int = MAX_BODY_BYTES
) -> tuple[Answer, bool]:
    """Read the answer to the request that was sent.

    Blocks until the status line is there, up to the deadline. The rest is waited for as long only if it matters.

    Args:
        channel: The connection.
        deadline: Until when the answer may come.
        reads_body: Whether the destination wants the body. Otherwise its faults, and those of headers, are ignored.
        max_body_bytes: How much of it is read then.

    Returns:
        The answer; and whether the connection can be used for another request.

    Raises:
        OSError: No final status came in time (TimeoutError), or at all, or it is not HTTP (ProtocolError).
    """
    status, is_persistent = _read_status(channel, deadline)
    rest = deadline if reads_body else deadline.within(_REST_SECONDS)
    headers, body = Headers(), bytearray()
    fault: str | None = None
    try:
        _read_headers(channel, rest, headers)
        is_framed = _read_body(channel, rest, status, headers, body, max_body_bytes if reads_body else _REST_BYTES)
        connection = headers.get("connection", "").lower()
        reusable = is_framed and is_persistent and "close" not in connection and not channel.buffer
        decoded = _decode(bytes(body), headers.get("content-encoding", "")) if reads_body else bytes(body)
    except OSError as error:
        # Texts of the peer's own are not repeated.
        late = "does not come in time" if isinstance(error, TimeoutError) else "breaks off"
        fault = str(error) if isinstance(error, ProtocolError) else late
        reusable, decoded = False, bytes(body)
    return Answer(status=status, headers=headers, body=decoded, fault=fault), reusable


def _read_status(channel: Channel, deadline: Deadline) -> tuple[int, bool]:
    """The final status, and whether connections of this version stay open by themselves. Skips informational ones."""
    skipped_bytes = 0
    while True:
        # Not after the line's end, which need not come: the status is decided.
        while (found := _STATUS.match(channel.buffer)) is None:
            if channel.buffer.startswith((b"\r\n", b"\n")):
                del channel.buffer[: channel.buffer.index(b"\n") + 1]
                skipped_bytes += 2
            elif b"\n" in channel.buffer or len(channel.buffer) > _MAX_STATUS_BYTES:
                raise ProtocolError("does not answer in HTTP")
            elif not channel.receive(deadline):
                if channel.buffer:
                    # The last line may lack its end.
                    found = _STATUS.match(channel.buffer + b"\n")
                if found is None:
                    raise ProtocolError("hung up without an answer")
                break
            if skipped_bytes > _MAX_HEAD_BYTES:
                raise ProtocolError("does not answer in HTTP")
        major, minor, status = int(found[1]), int(found[2] or b"0"), int(found[3])
        if status >= 200 or status == _SWITCHING_PROTOCOLS:
            return status, (major, minor) >= (1, 1)
        # An informational answer (RFC 9110 §15.2): its line and headers, up to a blank line.
        while line := channel.read_line(deadline, max_bytes=_MAX_HEAD_BYTES):
            skipped_bytes += len(line)
            if skipped_bytes > _MAX_HEAD_BYTES:
                raise ProtocolError("gives no final answer")


def _read_headers(channel: Channel, deadline: Deadline, headers: Headers) -> None:
    """Read the rest of the status line, and the headers. A line that has no form of its own is left out."""
    left_bytes = _MAX_HEAD_BYTES - len(channel.read_line(deadline, max_bytes=_MAX_HEAD_BYTES))
    name, value, lines = "", "", 0
    try:
        while line := channel.read_line(deadline, max_bytes=max(left_bytes, 0)).decode("latin-1"):
            left_bytes, lines = left_bytes - len(line), lines + 1
            if lines > _MAX_HEADER_LINES:
                raise ProtocolError(f"has more than {_MAX_HEADER_LINES} lines of headers")
            if line[0] in " \t":
                value = f"{value} {line.strip()}"  # a value that goes on, as in older servers' answers
                continue
            if name:
                headers.add(name, value)
            name, _, value = line.partition(":")
            name, value = ("" if name != name.strip() else name), value.strip()
    finally:
        # Also where the others do not come: Retry-After may be what came last.
        if name:
            headers.add(name, value)


def _read_body(
    channel: Channel, deadline: Deadline, status: int, headers: Headers, body: bytearray, max_bytes: int
) -> bool:
    """Read the body into ``body``. Returns whether its end is known without the end of the connection.

    Raises:
        ProtocolError: It ends early, has no valid form, or is larger than ``max_bytes``.
        OSError: The connection is broken, or the body does not come in time (TimeoutError).
    """
    if status in _WITHOUT_BODY:
        return True
    if coding := headers.get("transfer-encoding"):
        if coding.lower().rpartition(",")[2].strip() == "chunked":
            _read_chunks(channel, deadline, body, max_bytes)
            return True
    elif lengths := headers.get("content-length"):
        # The same length may be there several times (RFC 9112 §6.3).
        known = {length.strip() for length in lengths.split(",")}
        length = known.pop()
        if known or _LENGTH.fullmatch(length) is None:
            raise ProtocolError("has a body without a valid length")
        if channel.read_into(body, min(int(length), max_bytes), deadline) < min(int(length), max_bytes):
            raise ProtocolError(f"has a body that ends after {len(body)} of {length} bytes")
        if int(length) > max_bytes:
            raise ProtocolError(f"has a body of more than {max_bytes} bytes")
        return True
    if channel.read_into(body, max_bytes + 1, deadline) > max_bytes:
        raise ProtocolError(f"has a body of more than {max_bytes} bytes")
    return False


def _read_chunks(channel: Channel, deadline: Deadline, body: bytearray, max_bytes: int) -> None:
    """Read a body in chunks (RFC 9112 §7.1), and the headers behind it, which nobody needs."""
    while True:
        found = _CHUNK_BYTES.fullmatch(channel.read_line(deadline, max_bytes=_REST_BYTES))
        if found is None:
            raise ProtocolError("has a body in chunks, one of which has no valid size")
        count = int(found[1], 16)
        if count == 0:
            break
        if len(body) + count > max_bytes:
            channel.read_into(body, max_bytes - len(body), deadline)
            raise ProtocolError(f"has a body of more than {max_bytes} bytes")
        if channel.read_into(body, count, deadline) < count or channel.read_line(deadline, max_bytes=2):
            raise ProtocolError("has a body in chunks, one of which has another size than it says")
    left_bytes = _REST_BYTES
    while line := channel.read_line(deadline, max_bytes=max(left_bytes, 0)):
        left_bytes -= len(line)


def _decode(body: bytes, codings: str) -> bytes:
    """A body before it was compressed, up to its first MiB. Raises ProtocolError if it is not what its header says."""
    words = [word.strip().lower() for word in codings.split(",")]
    needed = [word for word in words if word not in {"", "identity"}] if body else []
    for coding in reversed(needed):
        if coding not in {"gzip", "x-gzip", "deflate"} or len(needed) > _MAX_CODINGS:
            raise ProtocolError("has a body in a coding that nobody asked for")
        # Some servers mean zlib's form by deflate, others the bare one.
        forms = (_ZLIB, _RAW) if coding == "deflate" else (_GZIP,)
        for form in forms:
            decompressor = zlib.decompressobj(form)
            try:
                decoded = decompressor.decompress(body, MAX_BODY_BYTES)
            except zlib.error:
                continue
            if not decompressor.eof:
                raise ProtocolError("has a compressed body that ends early, or is too large")
            body = decoded
            break
        else:
            raise ProtocolError(f"has a body that is not {coding}, as its header says")
    return body
