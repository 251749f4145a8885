"""URLs of brokers and batch stores: which there are, how each client spells them, and how they are shown. Pure."""

from __future__ import annotations

import ssl
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from dispatcher.connections.cluster_address import SCHEMES as CLUSTER_SCHEMES
from dispatcher.connections.cluster_address import ClusterAddress, is_cluster
from dispatcher.connections.redis_address import RedisAddress, certificate_check, read_options, split_url
from dispatcher.connections.sentinels import Sentinels, is_sentinel

_AMQP_SCHEMES: Final = ("amqp", "amqps", "pyamqp")
_AMQP_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")

_REDIS_SCHEMES: Final = ("redis", "rediss", "redis+socket", "unix", "sentinel")
#: Where the batch store can live.
STORE_SCHEMES: Final = (*_REDIS_SCHEMES, *CLUSTER_SCHEMES)
#: What the doorbells can be carried by.
BROKER_SCHEMES: Final = (*_REDIS_SCHEMES, *_AMQP_SCHEMES, "sqs")

#: Why a Redis Cluster cannot be the broker, and what can.
NO_BROKER: Final = (
    "a Redis Cluster cannot carry doorbells, since Celery waits for several queues in one command: let store_url name "
    "the cluster, and broker_url a plain Redis, RabbitMQ or SQS beside it"
)

# How other clients spell the same.
_ALIASES: Final = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+sentinel": "sentinel",
    "socket": "redis+socket",
    "redis-cluster": "redis+cluster",
    "rediss-cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
}


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
    if is_cluster(url):
        if _scheme(url) not in schemes:
            raise ValueError(NO_BROKER)
        ClusterAddress.from_url(url)
        return
    parts = url.split(";")
    for part in parts:
        scheme = _scheme(part)
        if not scheme and part is not parts[0]:
            raise ValueError("what stands behind its ; is another server's URL; write ; inside a password as %3B")
        if scheme not in schemes:
            raise ValueError(_wrong_scheme(scheme, schemes, word))
        if scheme in _AMQP_SCHEMES:
            _check_amqp(part)
    if is_redis(url):
        if len(parts) > 1:
            raise ValueError(
                "a URL names one Redis: several sentinels are written sentinel://host:26379;host2:26379/0?master_name=…"
            )
        RedisAddress.from_url(url)


def is_redis(url: str) -> bool:
    """Whether every server of the URL (several are separated by ``;``) is a Redis."""
    return is_sentinel(url) or is_cluster(url) or all(_scheme(part) in _REDIS_SCHEMES for part in url.split(";"))


def is_amqp(url: str) -> bool:
    """Whether the broker, or the first of several, speaks AMQP, as RabbitMQ does."""
    return _scheme(url) in _AMQP_SCHEMES


def missing_for(url: str) -> str:
    """What a broker needs that is not installed here, with the way out; empty where nothing is missing.

    Of the brokers only SQS needs more than Celery itself brings.
    """
    missing = [name for name in ("boto3", "pycurl") if _scheme(url) == "sqs" and find_spec(name) is None]
    if not missing:
        return ""
    return f"SQS needs {' and '.join(missing)}: pip install 'celery[sqs]'"


def is_local(host: str | None) -> bool:
    """Whether a URL's host is this machine by its loopback name or address. False for None."""
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def redis_url(url: str) -> str:
    """Spell the URL of a Redis as redis-py does, whatever dialect it is in. Raises ValueError as ``check_url``."""
    return RedisAddress.from_url(url).redis_url()


def kombu_url(url: str) -> str:
    """Spell a URL as kombu does: every sentinel gets a scheme of its own, and ``rediss://`` says how certificates are
    verified. Raises ValueError as ``check_url``.
    """
    if is_cluster(url):
        raise ValueError(NO_BROKER)
    if is_sentinel(url):
        return Sentinels.from_url(url).kombu_url()
    if is_redis(url):
        return RedisAddress.from_url(url).kombu_url()
    # kombu knows the options of TLS for Redis only: broker_tls has them.
    return ";".join(part.strip().partition("?")[0] if is_amqp(part) else part for part in url.split(";"))


def broker_tls(url: str) -> dict[str, Any] | None:
    """Celery's ``broker_use_ssl`` for an ``amqps://`` broker, whose host name kombu would not verify; None elsewhere.

    ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` and ``ssl_cert_reqs`` behind the URL's ``?`` mean what they do
    for ``rediss://``.
    """
    if _scheme(url) != "amqps":
        return None
    # Celery takes one answer for all of several brokers.
    options = read_options(split_url(url.partition(";")[0]).query, _AMQP_OPTIONS)
    checked = ssl.VerifyMode[f"CERT_{certificate_check(options.pop('ssl_cert_reqs', 'required')).upper()}"]
    files = {name.removeprefix("ssl_"): value for name, value in options.items()}
    # kombu puts the URL's host where it finds None. A certificate that is not checked has no name to check.
    host = {} if checked is ssl.CERT_NONE else {"server_hostname": None}
    return {**host, "cert_reqs": checked, **files}


def without_password(url: str) -> str:
    """The URL with its password masked, for logs and error messages."""
    if is_sentinel(url):
        return str(Sentinels.from_url(url))
    if is_cluster(url):
        return str(ClusterAddress.from_url(url))
    if is_redis(url):
        return str(RedisAddress.from_url(url))
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@").replace(f":{unquote(parts.password)}@", ":***@")


def _check_amqp(url: str) -> None:
    """Refuse what kombu would refuse at the first connection, or what it would give on as a text for a number."""
    parts = split_url(url)
    options = read_options(parts.query, _AMQP_OPTIONS)
    if options and parts.scheme != "amqps":
        raise ValueError(f"{next(iter(options))} is for amqps://, with which a connection is encrypted; write that")
    certificate_check(options.get("ssl_cert_reqs", "required"))


def _scheme(url: str) -> str:
    scheme, separator, _ = url.strip().partition("://")
    return scheme.lower() if separator else ""


def _wrong_scheme(scheme: str, schemes: tuple[str, ...], word: str) -> str:
    allowed = ", ".join(f"{name}://" for name in schemes)
    if not scheme:
        return f"it must be a URL with one of {allowed}, such as redis://localhost:6379/0"
    close = [_ALIASES[scheme]] if scheme in _ALIASES else get_close_matches(scheme, schemes, n=1)
    hint = f"; did you mean {close[0]}://?" if close else ""
    return f"{scheme}:// cannot be {word}: use one of {allowed}{hint}"


def reached_at(host: str) -> str:
    """Where this machine reaches a server of its own: one that listens on all addresses, at its own."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def http_url(host: str, port: int) -> str:
    """The URL of an HTTP server at a host, which may be an address of IPv6."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
