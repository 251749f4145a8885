"""Redis address: one Redis, read from a URL in redis-py's dialect or in Celery's, and spelled for either. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

_SOCKET_SCHEMES: Final = ("redis+socket", "unix")

# The number of the database: redis-py's name, and kombu's.
_DATABASE_OPTIONS: Final = ("db", "virtual_host")
_LOGIN_OPTIONS: Final = ("username", "password")
# Those that redis-py and kombu both read from a URL, and understand alike.
_PATH_OPTIONS: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS: Final = ("ssl_cert_reqs", *_PATH_OPTIONS, "ssl_check_hostname", "ssl_ciphers", "ssl_password")

_OPTIONS: Final = (*_DATABASE_OPTIONS, *_LOGIN_OPTIONS, *_TLS_OPTIONS)
_VERIFICATIONS: Final = ("none", "optional", "required")
_SWITCHES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), "true"),
    **dict.fromkeys(("false", "0", "no", "off"), "false"),
}

# What Celery, kombu and redis-py know besides, and where it is decided here.
_TIMEOUT: Final = "how long a call may take is relay.timeout_seconds"
_PREFIX: Final = "keys and queues have no prefix: give them a database of their own"
_ELSEWHERE: Final[Mapping[str, str]] = {
    "visibility_timeout": "how long one delivery may take is lease_seconds in the destination's table",
    "master_name": "a primary that sentinels know is written sentinel://host:26379/0?master_name=mymaster",
    "credential_provider": "the login stands before the host, as user:password@",
    "ssl": "an encrypted connection is written rediss://",
    "socket_timeout": _TIMEOUT,
    "socket_connect_timeout": _TIMEOUT,
    "connect_timeout": _TIMEOUT,
    "timeout": _TIMEOUT,
    "global_keyprefix": _PREFIX,
    "fanout_prefix": _PREFIX,
}
# The name of an option. Anything else before a = is more likely a piece of a password.
_NAME: Final = re.compile(r"[a-z_]{2,40}")

_ESCAPES: Final = "write / # ? @ : ; and % inside a password as %2F %23 %3F %40 %3A %3B and %25"
_UNREADABLE: Final = f"its host or port cannot be read; {_ESCAPES}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where one Redis is, the login, and how its certificate is checked.

    Args:
        host: A name or an address; empty for this machine, and for a socket.
        port: None for Redis' own.
        path: Of a Unix socket; empty for a host.
        database: The number of the database.
        username: None for Redis' default user.
        password: None where it asks for none.
        tls: What the URL says of TLS, by the names of redis-py, and ``ssl_cert_reqs`` in any case; None without TLS.
    """

    host: str = ""
    port: int | None = None
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read ``redis://``, ``rediss://``, ``unix://`` or ``redis+socket://``, with the options of both dialects.

        Raises:
            ValueError: The URL cannot be read, or has an option that would be ignored, or refused at the first
                connection. The message says what to write, and holds no part of a password.
        """
        parts = split_url(url)
        is_socket = parts.scheme in _SOCKET_SCHEMES
        if is_socket and (parts.hostname is not None or len(parts.path) < 2):
            raise ValueError(
                f"a socket needs an absolute path after three slashes: {parts.scheme}:///run/redis/redis.sock"
            )
        options = read_options(parts.query, _OPTIONS)
        tls = _tls(parts.scheme, options)
        username = unquote(parts.username or "") or options.get("username") or None
        password = unquote(parts.password or "") or options.get("password") or None
        if username is not None and password is None:
            raise ValueError("it has a user and no password; a password alone is written :password@host")
        databases = {database_number(options[name]) for name in _DATABASE_OPTIONS if name in options}
        if not is_socket and parts.path.strip("/"):
            databases.add(database_number(unquote(parts.path).strip("/")))
        if len(databases) > 1:
            raise ValueError("it names two databases; write its number once, behind the host: redis://host:6379/1")
        return cls(
            host="" if is_socket else parts.hostname or "",
            port=parts.port,
            path=unquote(parts.path) if is_socket else "",
            database=next(iter(databases), 0),
            username=username,
            password=password,
            tls=tls,
        )

    def redis_url(self) -> str:
        """The URL as redis-py spells it."""
        if self.path:
            return f"unix://{self._login()}{quote(self.path)}?db={self.database}"
        return self._tcp_url(self._login())

    def kombu_url(self) -> str:
        """The URL as kombu and Celery spell it."""
        if self.path:
            return f"redis+socket://{self._login()}{quote(self.path)}?virtual_host={self.database}"
        return self._tcp_url(self._login())

    def __str__(self) -> str:
        """The URL without passwords, for messages."""
        login = "" if self.password is None else f"{quote(self.username or '', safe='')}:***@"
        if self.path:
            return f"redis+socket://{login}{quote(self.path)}?virtual_host={self.database}"
        return self._tcp_url(login).partition("?")[0]

    def _login(self) -> str:
        if self.password is None:
            return ""
        return f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@"

    def _tcp_url(self, login: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        scheme, query = ("redis", "") if self.tls is None else ("rediss", f"?{urlencode(self.tls, safe='/')}")
        return f"{scheme}://{login}{host}{port}/{self.database}{query}"


def split_url(url: str) -> SplitResult:
    """The parts of a URL that names one server. Blanks around it do not count.

    Raises:
        ValueError: It cannot be read, or a client would read something else than was meant; the message holds no part.
    """
    text = url.strip()
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("it has a blank, a line end or an invisible character in it; write a blank as %20")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if "#" in text or port == 0:
        raise ValueError(_UNREADABLE)
    return parts


def certificate_check(text: str) -> str:
    """How strictly a certificate is checked, in redis-py's word: none, optional or required.

    Args:
        text: That word in any case, or Celery's: ``CERT_NONE``, ``CERT_OPTIONAL``, ``CERT_REQUIRED``.

    Raises:
        ValueError: It is another word.
    """
    word = text.strip().lower().removeprefix("ssl.").removeprefix("cert_")
    if word not in _VERIFICATIONS:
        raise ValueError("its ssl_cert_reqs must be none, optional or required (Celery writes CERT_NONE and so on)")
    return word


def read_options(query: str, known: Collection[str]) -> dict[str, str]:
    """The options behind a URL's question mark, by name in lower case.

    Args:
        query: What stands there.
        known: The options that there are.

    Raises:
        ValueError: One is unknown, or is there twice. The message says where that is decided, and shows no value.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    options = {name.lower(): value.strip() for name, value in pairs}
    if len(options) < len(pairs):
        raise ValueError("it has an option twice; write each once")
    for name in options.keys() - set(known):
        if "@" in query or _NAME.fullmatch(name) is None:
            raise ValueError(f"what stands behind its ? cannot be read; {_ESCAPES}")
        remedy = _ELSEWHERE.get(name, "take it away")
        raise ValueError(f"it has the unknown option {name}: {remedy}. It takes {', '.join(known)}")
    return options


def database_number(text: str) -> int:
    """The number of a database, from its text. Raises ValueError for any other text."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"its database must be a number, as in redis://host:6379/0; {_ESCAPES}")
    return int(text)


def _tls(scheme: str, options: Mapping[str, str]) -> dict[str, str] | None:
    """What the options say of TLS, each checked, in their order."""
    tls = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    if scheme != "rediss":
        if tls:
            raise ValueError(f"{next(iter(tls))} is for rediss://, with which a connection is encrypted; write that")
        return None
    for name, value in tls.items():
        if name in _PATH_OPTIONS and not value.startswith("/"):
            # A worker and a web app have different current directories.
            raise ValueError(f"its {name} must be an absolute path, without quotation marks around it")
        if name == "ssl_check_hostname":
            if value.lower() not in _SWITCHES:
                raise ValueError("its ssl_check_hostname must be true or false")
            tls[name] = _SWITCHES[value.lower()]
        if name == "ssl_cert_reqs":
            tls[name] = certificate_check(value)
    if "ssl_keyfile" in tls and "ssl_certfile" not in tls:
        raise ValueError("ssl_keyfile needs ssl_certfile, the certificate that the key belongs to")
    # redis-py verifies certificates unless it is told not to; kombu only if it is told to.
    return tls if "ssl_cert_reqs" in tls else {**tls, "ssl_cert_reqs": "required"}
