"""Sentinels: the address of a Redis that Redis Sentinel watches over, read from one URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

from dispatcher.connections.redis_address import database_number, read_options

SCHEME: Final = "sentinel"

_DEFAULT_PORT: Final = 26379
_EXAMPLE: Final = "sentinel://host:26379;host2:26379;host3:26379/0?master_name=mymaster"
_OPTIONS: Final = ("master_name", "sentinel_username", "sentinel_password", "db", "virtual_host")
_SCHEME: Final = re.compile(rf"^{SCHEME}://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """The servers that know which Redis is the primary, and the logins for them and for the primary.

    Args:
        hosts: Host and port of each sentinel.
        master_name: What the sentinels call the primary.
        database: The number of the primary's database.
        username: For the primary; None for Redis' default user.
        password: For the primary; None where it asks for none.
        sentinel_username: For the sentinels.
        sentinel_password: For the sentinels.
    """

    hosts: tuple[tuple[str, int], ...]
    master_name: str
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read ``sentinel://user:password@host:port;host:port/db?master_name=…``; each host may have a scheme too.

        Raises:
            ValueError: It cannot be read; says what it has to look like.
        """
        first, *others = (_SCHEME.sub("", part.strip()) for part in url.split(";"))
        *_, last = (first, *others)
        if not url.isprintable():
            raise ValueError(f"it has a line end or an invisible character in it; it must look like {_EXAMPLE}")
        try:
            # What stands behind the last host holds for all of them.
            tail, login = urlsplit(f"//{last}"), urlsplit(f"//{first}")
            hosts = tuple(_host(part) for part in (first, *others))
        except ValueError:
            # Python's own words hold what it could not read, which may be a piece of a password.
            raise ValueError(f"a host or port cannot be read; it must look like {_EXAMPLE}") from None
        options = read_options(tail.query, _OPTIONS)
        if not options.get("master_name"):
            raise ValueError(f"it does not say which primary is meant; it must look like {_EXAMPLE}")
        if login.username and not login.password:
            raise ValueError("it has a user and no password; a password alone is written :password@host")
        numbers = [options[name] for name in ("db", "virtual_host") if name in options]
        number = tail.path.strip("/") or next(iter(numbers), "0")
        if any(other != number for other in numbers):
            raise ValueError(f"it names two databases; it must look like {_EXAMPLE}")
        return cls(
            hosts=hosts,
            database=database_number(number),
            username=_unquote(login.username),
            password=_unquote(login.password),
            master_name=options["master_name"],
            sentinel_username=options.get("sentinel_username"),
            sentinel_password=options.get("sentinel_password"),
        )

    @property
    def login(self) -> dict[str, str | None]:
        """The login for the sentinels, as redis-py takes it."""
        return {"username": self.sentinel_username, "password": self.sentinel_password}

    def kombu_url(self) -> str:
        """The URL as kombu spells it. It needs ``kombu_options`` too."""
        login = ""
        if self.password is not None:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@"
        return ";".join(f"{SCHEME}://{login}{_bracket(host)}:{port}/{self.database}" for host, port in self.hosts)

    def kombu_options(self, **sentinel_options: Any) -> dict[str, Any]:
        """Make kombu's transport options; ``sentinel_options`` are for the connections to the sentinels."""
        return {"master_name": self.master_name, "sentinel_kwargs": {**self.login, **sentinel_options}}

    def __str__(self) -> str:
        """The URL without passwords, for messages."""
        hosts = ";".join(f"{_bracket(host)}:{port}" for host, port in self.hosts)
        return f"{SCHEME}://{hosts}/{self.database}?master_name={self.master_name}"


def is_sentinel(url: str) -> bool:
    """Whether a URL names sentinels."""
    return _SCHEME.match(url.strip()) is not None


def _host(part: str) -> tuple[str, int]:
    parts = urlsplit(f"//{part}")
    if not parts.hostname:
        raise ValueError("a sentinel has no host")
    return parts.hostname, _DEFAULT_PORT if parts.port is None else parts.port


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unquote(text: str | None) -> str | None:
    return None if text is None else unquote(text) or None
