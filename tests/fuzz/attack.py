"""Attack: what one hostile client sends over one connection, and a request of a friendly one, from which it is made."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

from tests.fuzz.json_text import dump

#: How a connection ends: once answers were read, by closing one direction, by a reset, or read by nobody at all.
End = Literal["read", "half", "reset", "deaf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Bytes for one connection.

    Args:
        kind: The strategy that made it.
        parts: Sent one after another.
        pause_seconds: Between two of them.
        end: What follows.
        answers: How many must come; 0 where that depends on what the server makes of it.
        statuses: One of which each answer has; empty: any.
        call: Method and path of the OpenAPI description that the answer is held against; None for none.
        unharmed: Good events among bad ones, by key. They must arrive if they are acknowledged.
    """

    kind: str
    parts: tuple[bytes, ...]
    pause_seconds: float = 0.0
    end: End = "read"
    answers: int = 0
    statuses: frozenset[int] = frozenset()
    call: tuple[str, str] | None = None
    unharmed: tuple[str, ...] = ()


Make = Callable[[Random, int], Attack]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A request that the target takes.

    Args:
        method: Of the request.
        path: As its OpenAPI description has it.
        target: As it is sent; empty: the path.
        headers: Beside Host and Content-Length.
        body: A value of JSON, or fields for a form, a query or a pixel.
        form: How the body is sent.
        items: Where in the body the list of events is, and what makes a good one of a key; None for requests of one.
    """

    method: str
    path: str
    target: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    form: Literal["json", "form", "query", "pixel", "none"] = "json"
    items: tuple[str, Callable[[str], dict[str, Any]]] | None = None

    def render(self, body: Any, *, more: bytes = b"", length: bytes | None = None) -> bytes:
        """The bytes of the request with another body.

        Args:
            body: As ``body``, with anything in it that ``dump`` takes.
            more: Lines of headers.
            length: The value of Content-Length; None: the right one, empty: none.
        """
        target, content = (self.target or self.path).encode(), b""
        if self.form == "json":
            content = dump(body)
        elif self.form == "pixel":
            target += b"data=" + base64.urlsafe_b64encode(dump(body)).rstrip(b"=")
        elif self.form != "none":
            pairs = [(_text(name), _text(value)) for name, value in (body.items() if isinstance(body, dict) else ())]
            encoded = urlencode(pairs, quote_via=quote).encode()
            target, content = (target + encoded, b"") if self.form == "query" else (target, encoded)
        head = b"%b %b HTTP/1.1\r\nHost: fuzz.example\r\n" % (self.method.encode(), target)
        head += b"".join(f"{name}: {value}\r\n".encode() for name, value in self.headers)
        if self.method == "POST" and length != b"":
            head += b"Content-Length: %b\r\n" % (length or str(len(content)).encode())
        return head + more + b"\r\n" + content


def _text(value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else dump(value)


#: A body of so many bytes is taken as a whole by the default settings.
MAX_TAKEN_BYTES: Final = 500_000
