"""Sources: who may send, known by a write key. Keys are public, and read nothing."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dispatcher.intake.refused import Refused
from dispatcher.routing import Allowlist

if TYPE_CHECKING:
    from dispatcher.collector.route import Request
    from dispatcher.config.collector import SourceSettings

_UNKNOWN_KEY: Final = Refused(
    401, "unknown_key", "the write key is missing or unknown: send that of a table [sources.NAME] of the settings"
)


class Source:
    """One source as the settings describe it.

    Args:
        name: Of its table.
        settings: Its table.
    """

    def __init__(self, name: str, settings: SourceSettings) -> None:
        self.name: Final = name
        self.settings: Final = settings
        self._exact = frozenset(origin for origin in settings.origins if "*" not in origin)
        # "https://*.example.org" as ("https://", ".example.org")
        self._wild = [tuple(origin.split("*", 1)) for origin in settings.origins if "*" in origin]
        self._names = None if settings.names is None else Allowlist(settings.names)
        self._tokens, self._filled_at = float(settings.burst), time.monotonic()

    def has_origin(self, origin: str) -> bool:
        """Whether the settings list the origin; never without a list."""
        return origin in self._exact or any(
            origin.startswith(scheme) and origin.endswith(domain) and len(origin) > len(scheme) + len(domain)
            for scheme, domain in self._wild
        )

    def takes_name(self, name: str) -> bool:
        """Whether events of that name may come from it."""
        return self._names is None or name in self._names

    def shown_address(self, address: str) -> str:
        """What its policy leaves of an address."""
        policy = self.settings.ip
        if policy == "keep" or not address:
            return address
        if policy == "drop":
            return ""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""
        prefix = 24 if parsed.version == 4 else 48
        return str(ipaddress.ip_network((address.partition("%")[0], prefix), strict=False).network_address)

    def take_token(self) -> float:
        """Count a request against ``per_second``. Returns 0, or the seconds after which there is room again."""
        rate = self.settings.per_second
        if rate is None:
            return 0.0
        now = time.monotonic()
        self._tokens = min(self.settings.burst, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return 0.0


class Sources:
    """All sources, by key. For one thread.

    Args:
        tables: ``[sources]`` of the settings.
    """

    def __init__(self, tables: Mapping[str, SourceSettings]) -> None:
        self.all: Final = [Source(name, table) for name, table in tables.items()]
        self._by_key = {key: source for source in self.all for key in source.settings.write_key}
        #: The name of the source that was found last, whether it may send or not; whoever reads it empties it before.
        self.admitted = ""

    def admit(self, key: str | None, request: Request) -> Source | Refused:
        """The source of a key, if a request from there may be taken.

        Args:
            key: As the client sent it; None where it sent none.
            request: Its Origin, else its Referer, must be listed where a browser's source lists any.

        Returns:
            The source; or the refusal, which the route returns.
        """
        source = self._by_key.get(key) if isinstance(key, str) else None
        if source is None:
            return _UNKNOWN_KEY
        self.admitted, settings = source.name, source.settings
        is_bound = settings.kind == "browser" and bool(settings.origins)
        if is_bound and not source.has_origin(page_origin(request.headers)):
            return Refused(
                403,
                "foreign_origin",
                f"the page's origin is not in sources.{source.name}.origins: add it there",
            )
        return _within_rate(source)

    def of_origin(self, request: Request) -> Source | Refused:
        """The browser's source that lists the origin of a request without a key; or the refusal.

        Args:
            request: Its Origin, else its Referer, must be listed. A browser's source without origins takes any, if it
                is the only source of browsers.
        """
        browsers = [source for source in self.all if source.settings.kind == "browser"]
        origin = page_origin(request.headers)
        for source in browsers:
            if source.has_origin(origin) or (len(browsers) == 1 and not source.settings.origins):
                self.admitted = source.name
                return _within_rate(source)
        return Refused(403, "foreign_origin", "no source lists the page's origin: add it to the origins of one")

    def lists_origin(self, origin: str) -> bool:
        """Whether any source lists the origin, so that its pages may send cookies."""
        return any(source.has_origin(origin) for source in self.all)


def _within_rate(source: Source) -> Source | Refused:
    wait = source.take_token()
    if wait:
        return Refused(429, "rate", "the source sends more than its per_second", {"retry-after": str(int(wait) + 1)})
    return source


def page_origin(headers: Mapping[str, str]) -> str:
    """The origin of the page that a request came from: its Origin, else that of its Referer; empty without both."""
    if "origin" in headers:
        return headers["origin"]
    try:
        parts = urlsplit(headers.get("referer", ""))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
