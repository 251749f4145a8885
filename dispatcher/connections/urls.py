"""URLs of brokers and batch stores: which there are, how each client spells them, and how they are shown. Pure."""

from __future__ import annotations

import ssl
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from dispatcher.connections.sentinels import Sentinels, is_sentinel

_SOCKET_SCHEMES: Final = frozenset({"redis+socket", "unix"})
_AMQP_SCHEMES: Final = ("amqp", "amqps", "pyamqp")

#: Where the batch store can live.
REDIS_SCHEMES: Final = ("redis", "rediss", "redis+socket", "unix", "sentinel")
#: What the doorbells can be carried by.
BROKER_SCHEMES: Final = (*REDIS_SCHEMES, *_AMQP_SCHEMES, "sqs")


def check_url(url: str, schemes: tuple[str, ...], word: str) -> None:
    """Refuse a URL that cannot be used.

    Args:
        url: One server, or several separated by semicolons.
        schemes: The schemes that can be used.
        word: What the URL is for, such as "a broker", for the message.

    Raises:
        ValueError: A server cannot be used; the message says what to write, and holds no password.
    """
    if is_sentinel(url):
        Sentinels.from_url(url)
        return
    for part in url.split(";"):
        scheme = _scheme(part)
        if scheme not in schemes:
            raise ValueError(_wrong_scheme(scheme, schemes, word))
        try:
            parts = urlsplit(part)
            _ = parts.port
        except ValueError:
            raise ValueError(
                "its host or port cannot be read; write / # ? @ and : inside a password as %2F %23 %3F %40 and %3A"
            ) from None
        if scheme in _SOCKET_SCHEMES and (parts.hostname is not None or len(parts.path) < 2):
            raise ValueError(f"a socket needs an absolute path after three slashes: {scheme}:///run/redis/redis.sock")


def is_redis(url: str) -> bool:
    """Whether every server of the URL (several are separated by ``;``) is a Redis."""
    return is_sentinel(url) or all(_scheme(part) in REDIS_SCHEMES for part in url.split(";"))


def is_amqp(url: str) -> bool:
    """Whether the broker, or the first of several, speaks AMQP, as RabbitMQ does."""
    return _scheme(url) in _AMQP_SCHEMES


def is_local(host: str | None) -> bool:
    """Whether a URL's host is this machine by its loopback name or address. False for None."""
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def redis_url(url: str) -> str:
    """Spell a URL as redis-py does: kombu's ``redis+socket://`` becomes ``unix://``."""
    if not url.startswith("redis+socket://"):
        return url
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"unix://{login}{parts.path}?db={database}"


def kombu_url(url: str) -> str:
    """Spell a URL as kombu does: ``unix://`` becomes ``redis+socket://``, every sentinel gets a scheme of its own, and
    ``rediss://`` says that certificates are verified.
    """
    if is_sentinel(url):
        return Sentinels.from_url(url).kombu_url()
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        # redis-py verifies certificates unless it is told not to; kombu only if it is told to.
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
    if parts.scheme == "amqps":
        # kombu knows these for Redis only: broker_tls has them.
        query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if not key.startswith("ssl_")])
        return parts._replace(query=query).geturl()
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def broker_tls(url: str) -> dict[str, Any] | None:
    """Celery's ``broker_use_ssl`` for an ``amqps://`` broker, whose host name kombu would not verify; None elsewhere.

    ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` behind the URL's ``?`` mean what they do for ``rediss://``.
    """
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        return None
    options = {key.removeprefix("ssl_"): value for key, value in parse_qsl(parts.query) if key.startswith("ssl_")}
    # kombu puts the URL's host where it finds None.
    return {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED, **options}


def without_password(url: str) -> str:
    """The URL with its password masked, for logs and error messages."""
    if is_sentinel(url):
        return str(Sentinels.from_url(url))
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@").replace(f":{unquote(parts.password)}@", ":***@")


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
