"""A pool of Redis connections on which many commands go in one round trip, and nothing is ever sent twice by itself."""

from __future__ import annotations

# redis-py and socket import these two at their first connection. If a process forks while its relay's thread is in the
# middle of that, the child gets a lock that is never released, and its own relay waits for it.
import email.parser  # noqa: F401
import encodings.idna  # noqa: F401
import os
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

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
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from dispatcher.connections.embedded import check_socket
from dispatcher.connections.sentinels import Sentinels, is_sentinel
from dispatcher.connections.urls import redis_url, without_password
from dispatcher.errors import StoreUnavailableError
from dispatcher.process.inheritance import abandon_socket, release_after_fork

# The same: redis-py asks for its own version at its first connection, and Python 3.13 imports more for that.
version("redis")

# What a Redis says, from a script too, that takes no writes now: at maxmemory, as a replica, or with a disk that fails.
_REFUSED_WRITE: Final = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS)\b")

#: A Redis command: its name and its arguments, which may be texts, bytes and numbers.
Command = tuple[Any, ...]


class CheckedSocketConnection(redis.UnixDomainSocketConnection):
    """redis-py's connection to a socket, which is checked before each connect.

    Overrides, of redis-py 6.4 to 8: _connect.
    """

    def _connect(self):  # type: ignore[no-untyped-def]
        check_socket(Path(os.fsdecode(self.path)))
        return super()._connect()


class RedisPool:
    """Connections to one Redis. Connects to nothing before the first command.

    Each command blocks the calling thread for as long as it takes to connect, where no connection is free, and to get
    the answer: up to the timeout for each of the two. Nothing is ever sent again by itself, since a command that was
    carried out twice could count an event twice; a broken connection is closed, and the next command makes a new one.

    Safe in threads: each call has a connection of its own while it runs, and there are as many as run at once. Safe
    after a fork: the child leaves its parent's connections alone and makes its own.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, kombu's ``redis+socket://``, or ``sentinel://``, whose primary is
            asked for at each new connection.
        timeout_seconds: For connecting, to each sentinel too, and for each answer.

    Raises:
        ValueError: The URL cannot be read.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url: Final = without_password(url)
        options: dict[str, Any] = {
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        self._pool = (
            _sentinel_pool(Sentinels.from_url(url), options)
            if is_sentinel(url)
            else redis.ConnectionPool.from_url(redis_url(url), **options)
        )
        if self._pool.connection_class is redis.UnixDomainSocketConnection:
            self._pool.connection_class = CheckedSocketConnection
        # redis-py notices a fork at the next command. Until then the child would hold the connections open, and a
        # greenlet in it that waits for an answer would take the answer from the parent.
        release_after_fork(self, RedisPool._leave_sockets)

    def execute(self, *command: Any) -> Any:
        """Send one command. Returns its answer, as ``execute_many`` does; blocks and raises like it too."""
        return self.execute_many([command])[0]

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands together. Redis carries them out in order, though not as one transaction.

        Returns:
            The answer to each: texts as bytes, numbers as int, lists as list, and None where Redis has nothing.

        Raises:
            StoreUnavailableError: Redis could not be reached, gave no answer in time, or said that it cannot now: out
                of memory, loading, read only. Some of the commands may have been carried out.
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
        """Close all connections, also those in use by other threads. May be called twice; a later command connects."""
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
        what = str(error).rstrip(".") or type(error).__name__
        if isinstance(error, OutOfMemoryError | ReadOnlyError) or _REFUSED_WRITE.search(what):
            return f"Redis at {self.url} did not take it: {what}"
        if isinstance(error, ResponseError):
            return f"Redis at {self.url} answered with an error: {what}"
        return f"Redis at {self.url} does not answer: {what}"


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


def kombu_options(url: str, *, timeout_seconds: float) -> dict[str, Any]:
    """Options that kombu's transport takes beside ``kombu_url``: those of sentinels, and none for other URLs.

    Args:
        url: The broker's.
        timeout_seconds: To connect to a sentinel, and for its answer.
    """
    if not is_sentinel(url):
        return {}
    return Sentinels.from_url(url).kombu_options(
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        # redis-py would ask a sentinel that is gone again for seconds before it asks the next.
        retry=Retry(NoBackoff(), 0),
    )
