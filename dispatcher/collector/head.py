"""Head: request line and headers of a request that is answered at once, and how the next one with the same is known.

Browsers and SDKs send the very same head with each request of a connection, but for the length of the body. Bytes that
are the same mean the same, so such a head is neither parsed nor read again, which is a third of what a small request
takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from dispatcher.collector.route import RequestMemory

if TYPE_CHECKING:
    from dispatcher.collector.route import Route

_LENGTH: Final = b"content-length"
# More would be a body that no collector takes.
_MAX_DIGITS: Final = 9


@dataclass(slots=True)
class Head:
    """What the app needs of a request, beside its body.

    Attributes:
        route: Answers it.
        path: Of the route.
        raw: The headers as they were sent.
        headers: Those of ``read_known_headers``.
        peer: The other end of the connection; empty for a Unix socket.
        memory: What was made of the same head before; None for the first of its kind.
    """

    route: Route
    path: str
    raw: Sequence[tuple[bytes, bytes]]
    headers: dict[str, str]
    peer: str
    memory: RequestMemory | None = None


@dataclass(frozen=True, slots=True)
class RepeatedHead:
    """A head as it was sent, in two parts: before and behind the digits of its Content-Length.

    Attributes:
        head: Of each request with these bytes.
    """

    head: Head
    _before: bytes
    _behind: bytes

    @classmethod
    def learn(cls, request: bytes, body_bytes: int, head: Head) -> Self | None:
        """Remember the head of a request.

        Args:
            request: Exactly one request, as it came.
            body_bytes: How many of its bytes, at the end, are the body.
            head: What the parser found in it.

        Returns:
            None where the length is not written as most clients do, or the bytes are not one request.
        """
        end = len(request) - body_bytes
        lengths = [(name, value) for name, value in head.raw if name.lower() == _LENGTH]
        if end <= 0 or len(lengths) != 1:
            return None
        name, value = lengths[0]
        line = b"\r\n%b: %b\r\n" % (name, value)
        sent = request[:end]
        place = sent.find(line)
        if place < 0 or sent.find(b"\r\n\r\n") != end - 4 or not value.isdigit() or int(value) != body_bytes:
            return None
        start = place + len(line) - len(value) - 2
        head.memory = RequestMemory()
        return cls(head, sent[:start], sent[start + len(value) :])

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if ``data`` is one whole request with this head; None for anything else."""
        if not data.startswith(self._before):
            return None
        start = len(self._before)
        end = data.find(b"\r", start, start + _MAX_DIGITS)
        if end < 0 or not data.startswith(self._behind, end):
            return None
        digits, body = data[start:end], data[end + len(self._behind) :]
        return body if digits.isdigit() and len(body) == int(digits) else None
