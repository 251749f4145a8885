"""Sentinels: the address of a Redis that Redis Sentinel watches over, read from one URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

SCHEME: Final = "sentinel"

_DEFAULT_PORT: Final = 26379
_EXAMPLE: Final = "sentinel://host:26379;host2:26379;host3:26379/0?master_name=mymaster"
_OPTIONS: Final = frozenset({"master_name", "sentinel_username", "sentinel_password"})


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
        first, *others = (part.strip().removeprefix(f"{SCHEME}://") for part in url.split(";"))
        *_, last = (first, *others)
        try:
            # What stands behind the last host holds for all of them.
            tail, login = urlsplit(f"//{last}"), urlsplit(f"//{first}")
            query = {key: values[-1] for key, values in parse_qs(tail.query, strict_parsing=bool(tail.query)).items()}
            hosts = tuple(_host(part) for part in (first, *others))
            database = int(tail.path.strip("/") or 0)
        except ValueError as error:
            raise ValueError(f"it cannot be read ({error}); it must look like {_EXAMPLE}") from None
        if "master_name" not in query:
            raise ValueError(f"it does not say which primary is meant; it must look like {_EXAMPLE}")
        if unknown := sorted(query.keys() - _OPTIONS):
            raise ValueError(f"it knows no {', '.join(unknown)}; there are {', '.join(sorted(_OPTIONS))}")
        return cls(
            hosts=hosts,
            database=database,
            username=_unquote(login.username),
            password=_unquote(login.password),
            master_name=query["master_name"],
            sentinel_username=query.get("sentinel_username"),
            sentinel_password=query.get("sentinel_password"),
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
    return url.strip().startswith(f"{SCHEME}://")


def _host(part: str) -> tuple[str, int]:
    parts = urlsplit(f"//{part}")
    if not parts.hostname:
        raise ValueError("a sentinel has no host")
    return parts.hostname, _DEFAULT_PORT if parts.port is None else parts.port


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unquote(text: str | None) -> str | None:
    return None if text is None else unquote(text) or None
