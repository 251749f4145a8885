"""Request: what is sent to a vendor, and its bytes in HTTP/1.1 (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

from dispatcher.errors import SetupError
from dispatcher.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.connections.endpoint import Endpoint

# A header's name, and a method (RFC 9110 §5.6.2).
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A header's value without what would end it, or be another one (RFC 9110 §5.5).
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# Characters of a URL that stay as they are; all others are written as %XX.
_URL_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"
# What the bytes of the body decide, and a destination therefore cannot.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
# An answer is read as it comes: nothing needs to be compressed, since vendors say little.
_USUAL: Final = {
    "user-agent": ("User-Agent", f"event-dispatcher/{__version__}"),
    "accept": ("Accept", "*/*"),
    "accept-encoding": ("Accept-Encoding", "identity"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request. The client adds Host, Content-Length and, where they are absent, User-Agent and Accept to it.

    Args:
        url: The URL, without a query.
        body: The body's bytes.
        query: The query's names and values, unencoded; it may hold credentials.
        headers: The headers, including Content-Type.
        method: The HTTP method.
    """

    url: str
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"

    @property
    def full_url(self) -> str:
        """The URL with its query, encoded. Colons stay as they are, because Firebase wants its app ids so."""
        return f"{self.url}?{urlencode(self.query, safe=':')}" if self.query else self.url

    def to_bytes(self, endpoint: Endpoint) -> bytes:
        """What goes over the connection to an endpoint: head and body.

        Raises:
            SetupError: Method, or a header, cannot be written in HTTP. The text has no value in it.
        """
        url = urlsplit(self.full_url)
        target = quote(url.path or "/", safe=_URL_CHARACTERS) + (
            f"?{quote(url.query, safe=_URL_CHARACTERS)}" if url.query else ""
        )
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        if endpoint.port != (443 if endpoint.has_tls else 80):
            host = f"{host}:{endpoint.port}"
        lines = {"host": ("Host", host), **_USUAL}
        proxy = endpoint.proxy
        if proxy is not None and not proxy.is_socks and not endpoint.has_tls:
            # A proxy is told the whole address (RFC 9112 §3.2.2), where it is not asked for a tunnel before.
            target = f"http://{host}{target}"
            if proxy.authorization is not None:
                lines["proxy-authorization"] = ("Proxy-Authorization", proxy.authorization)
        if _TOKEN.fullmatch(self.method) is None:
            raise SetupError("the method of the request cannot be one of HTTP: it must be a word such as POST")
        for name, value in self.headers.items():
            if not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
                raise SetupError("the request has a header whose name cannot be one: it must be a word such as X-Token")
            if not isinstance(value, str) or _VALUE.fullmatch(value) is None or not _is_latin_1(value):
                raise SetupError(
                    f"the header {name} has a value that HTTP cannot carry: it must be text in Latin characters, "
                    "without line ends"
                )
            if name.lower() not in _FRAMING:
                lines[name.lower()] = (name, value.strip(" \t"))
        lines["content-length"] = ("Content-Length", str(len(self.body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.values())
        return f"{self.method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + self.body


def _is_latin_1(value: str) -> bool:
    return value.isascii() or all(character <= "\xff" for character in value)
