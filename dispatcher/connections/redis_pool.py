"""A pool of Redis connections on which many commands go in one round trip, and nothing is ever sent twice by itself."""

from __future__ import annotations

# These two are what redis-py and socket import at their first connection. A process that forks while its relay's thread
# is in the middle of that leaves the child a lock that nobody will ever release, and a relay that waits for it.
import email.parser  # noqa: F401
import encodings.idna  # noqa: F401
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from dispatcher.connections.sentinels import Sentinels, is_sentinel
from dispatcher.errors import StoreUnavailableError
from dispatcher.process.inheritance import abandon_socket, release_after_fork

# The same: redis-py asks for its own version at its first connection, for which Python 3.13 imports more.
version("redis")

Command = tuple[Any, ...]


class RedisPool:
    """Connections to one Redis. Safe in threads and after fork; connects at the first command.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, kombu's ``redis+socket://``, or ``sentinel://``, whose primary is
            asked for at each new connection.
        timeout_seconds: For connecting, to each sentinel too, and for each answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url: Final = without_password(url)
        options: dict[str, Any] = {
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            # A command that was repeated by itself could count an event twice.
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        self._pool = (
            _sentinel_pool(Sentinels.from_url(url), options)
            if is_sentinel(url)
            else redis.ConnectionPool.from_url(redis_url(url), **options)
        )
        # redis-py notices a fork at the next command. Until then the child would hold the connections open, and a
        # greenlet that waits for an answer would take it from the parent.
        release_after_fork(self, RedisPool._leave_sockets)

    def execute(self, *command: Any) -> Any:
        """One command's answer. Blocks up to the timeout. Raises as ``execute_many`` does."""
        return self.execute_many([command])[0]

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands, sent together and carried out in order, though not as one transaction.

        Raises:
            StoreUnavailableError: There is no connection, or no answer in time, or Redis says that it cannot now
                (out of memory, loading, read only). Some of the commands may have been carried out.
            NoScriptError: Redis does not know the script of one of them. The others may have been carried out.
        """
        try:
            connection = self._pool.get_connection()
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(self._explain(error)) from error
        healthy = False
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            answers: list[Any] = []
            failure: ResponseError | None = None
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except ResponseError as error:
                    failure = failure or error
            # Every answer was read, so the connection can be used again even where one of them is an error.
            healthy = True
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(self._explain(error)) from error
        finally:
            if not healthy:
                connection.disconnect()
            self._pool.release(connection)
        if isinstance(failure, NoScriptError):
            raise failure
        if failure is not None:
            raise StoreUnavailableError(self._explain(failure)) from failure
        return answers

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self._pool.disconnect()

    def _leave_sockets(self) -> None:
        pools = [self._pool]
        if isinstance(self._pool, SentinelConnectionPool):
            pools += [watcher.connection_pool for watcher in self._pool.sentinel_manager.sentinels]
        for pool in pools:
            for connection in (*pool._available_connections, *pool._in_use_connections):
                abandon_socket(connection._sock)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, NoPermissionError) or "executing the script can't" in str(error):
            return f"Redis at {self.url} does not let its user do that ({error}): docs/how-to/scale.md has the rights"
        if isinstance(error, AuthenticationError | AuthorizationError):
            return f"Redis at {self.url} refused the login ({error}): check user and password in DISPATCHER_BROKER_URL"
        if isinstance(error, AskError | ClusterDownError | ClusterCrossSlotError):
            return f"Redis at {self.url} is part of a Redis Cluster, which cannot be the batch store: {error}"
        # redis-py ends some of its sentences with a full stop, and ours goes on.
        return f"Redis at {self.url} did not take it: {str(error).rstrip('.') or type(error).__name__}"


def _sentinel_pool(sentinels: Sentinels, options: dict[str, Any]) -> redis.ConnectionPool:
    watchers = Sentinel(list(sentinels.hosts), sentinel_kwargs={**sentinels.login, **options})
    return SentinelConnectionPool(
        sentinels.master_name,
        watchers,
        db=sentinels.database,
        username=sentinels.username,
        password=sentinels.password,
        **options,
    )


def redis_url(url: str) -> str:
    """The URL as redis-py spells it: kombu's ``redis+socket://`` becomes ``unix://``."""
    if not url.startswith("redis+socket://"):
        return url
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    database = query.get("virtual_host", ["0"])[0]
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"unix://{login}{parts.path}?db={database}"


def kombu_url(url: str) -> str:
    """The URL as kombu spells it: ``unix://`` becomes ``redis+socket://``, every sentinel gets a scheme of its own, and
    ``rediss://`` says that certificates are verified.
    """
    if is_sentinel(url):
        return Sentinels.from_url(url).kombu_url()
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        # redis-py verifies certificates unless it is told not to; kombu only if it is told to.
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
    if parts.scheme == "amqps":
        # kombu knows these for Redis only: producer.broker_tls has them.
        query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if not key.startswith("ssl_")])
        return parts._replace(query=query).geturl()
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def kombu_options(url: str, *, timeout_seconds: float) -> dict[str, Any]:
    """What kombu's transport has to be told of a URL beside ``kombu_url``."""
    if not is_sentinel(url):
        return {}
    return Sentinels.from_url(url).kombu_options(
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        # redis-py would ask a sentinel that is gone again for seconds before it asks the next.
        retry=Retry(NoBackoff(), 0),
    )


def without_password(url: str) -> str:
    """The URL with its password masked, for logs and error messages."""
    if is_sentinel(url):
        return str(Sentinels.from_url(url))
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@").replace(f":{unquote(parts.password)}@", ":***@")
