"""Which URLs can be a broker and which a batch store, and which hosts are this machine."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from dispatcher.connections.sentinels import Sentinels, is_sentinel

_SOCKET_SCHEMES: Final = frozenset({"redis+socket", "unix"})

#: Where the batch store can live.
REDIS_SCHEMES: Final = ("redis", "rediss", "redis+socket", "unix", "sentinel")
#: What the doorbells can be carried by.
BROKER_SCHEMES: Final = (*REDIS_SCHEMES, "amqp", "amqps", "pyamqp", "sqs")


def is_local(host: str | None) -> bool:
    """Whether a URL's host is this machine by its loopback name or address. False for None."""
    return host is not None and (host in ("localhost", "::1") or host.startswith("127."))


def is_redis(url: str) -> bool:
    """Whether every server of the URL (several are separated by ``;``) is a Redis."""
    return is_sentinel(url) or all(_scheme(part) in REDIS_SCHEMES for part in url.split(";"))


def check_url(url: str, schemes: tuple[str, ...], word: str) -> None:
    """Raise ValueError unless every server of the URL can be used as ``word`` ("a broker")."""
    if is_sentinel(url):
        Sentinels.from_url(url)
        return
    for part in url.split(";"):
        scheme = _scheme(part)
        if scheme not in schemes:
            raise ValueError(_wrong_scheme(scheme, schemes, word))
        if scheme in _SOCKET_SCHEMES:
            _check_socket(part, scheme)
        else:
            _check_port(part)


def _scheme(url: str) -> str:
    scheme, separator, _ = url.strip().partition("://")
    return scheme.lower() if separator else ""


def _wrong_scheme(scheme: str, schemes: tuple[str, ...], word: str) -> str:
    allowed = ", ".join(f"{name}://" for name in schemes)
    if not scheme:
        return f"it must be a URL with one of {allowed}, such as redis://localhost:6379/0"
    close = get_close_matches(scheme, schemes, n=1)
    hint = f"; did you mean {close[0]}://?" if close else ""
    return f"{scheme}:// cannot be {word}: use one of {allowed}{hint}"


def _check_socket(url: str, scheme: str) -> None:
    parts = urlsplit(url)
    if parts.hostname is not None or len(parts.path) < 2:
        raise ValueError(f"a socket needs an absolute path after three slashes: {scheme}:///run/redis/redis.sock")


def _check_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError(
            "its host or port cannot be read; write / # ? @ and : inside a password as %2F %23 %3F %40 and %3A"
        ) from None


def is_sentry_dsn(text: str) -> bool:
    """Whether Sentry's SDK can read it: scheme, public key, host, and the project as the last part of the path."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    project = parts.path.rpartition("/")[2]
    return parts.scheme in ("http", "https") and bool(parts.username and parts.hostname) and project.isdecimal()
