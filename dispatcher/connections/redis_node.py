"""Redis node: the connections to one Redis server, over which many commands go in one round trip."""

from __future__ import annotations

# redis-py and socket import these two at their first connection. If a process forks while its relay's thread is in the
# middle of that, the child gets a lock that is never released, and its own relay waits for it.
import email.parser  # noqa: F401
import encodings.idna  # noqa: F401
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from dispatcher.connections.embedded import check_socket
from dispatcher.process.inheritance import abandon_socket, release_after_fork

if TYPE_CHECKING:
    from dispatcher.connections.deadline import Deadline

# The same: redis-py asks for its own version at its first connection, and Python 3.13 imports more for that.
version("redis")

#: A Redis command: its name and its arguments, which may be texts, bytes and numbers.
Command = tuple[Any, ...]


class CheckedSocketConnection(redis.UnixDomainSocketConnection):
    """redis-py's connection to a socket, which is checked before each connect.

    Overrides, of redis-py 6.4 to 8: _connect.
    """

    def _connect(self):  # type: ignore[no-untyped-def]
        check_socket(Path(os.fsdecode(self.path)))
        return super()._connect()  # type: ignore[no-untyped-call]


class RedisNode:
    """The connections to one server. Connects to nothing before the first command.

    Nothing is ever sent again by itself; a broken connection is closed, and the next command makes a new one. Safe in
    threads: each call has a connection of its own while it runs. Safe after a fork: the child leaves its parent's
    connections alone and makes its own.

    Args:
        pool: redis-py's, which this one closes.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool: Final = pool
        if pool.connection_class is redis.UnixDomainSocketConnection:
            pool.connection_class = CheckedSocketConnection
        # redis-py notices a fork at the next command. Until then the child would hold the connections open, and a
        # greenlet in it that waits for an answer would take the answer from the parent.
        release_after_fork(self, RedisNode._leave_sockets)

    @classmethod
    def at(cls, url: str, *, timeout_seconds: float) -> RedisNode:
        """The node at a URL, as redis-py spells it."""
        return cls(redis.ConnectionPool.from_url(url, **connection_options(timeout_seconds)))

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands, and wait for their answers: up to a timeout to connect, and one for each answer.

        Returns:
            The answer to each, as ``Exchange.finish`` does.

        Raises:
            RedisError, OSError: The server cannot be reached, or does not answer in time.
        """
        return Exchange(self._pool, commands).finish()

    def start(self, commands: Sequence[Command], deadline: Deadline) -> Exchange:
        """Send several commands, and return without their answers, so that other servers may be asked meanwhile.

        Args:
            commands: What to send.
            deadline: For sending. Connecting has a timeout of its own.

        Raises:
            RedisError, OSError: The server cannot be reached, or does not take them in time.
        """
        return Exchange(self._pool, commands, deadline)

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


class Exchange:
    """Commands that were sent over a connection of their own, which goes back once their answers were read.

    Args:
        pool: Where the connection comes from.
        commands: What is sent.
        deadline: Until when; None: each step may take the connection's own timeout.

    Raises:
        RedisError, OSError: The server cannot be reached, or does not take them.
    """

    def __init__(self, pool: Any, commands: Sequence[Command], deadline: Deadline | None = None) -> None:
        self._pool = pool
        self._count = len(commands)
        self._connection = pool.get_connection()
        healthy = False
        try:
            self._limit(deadline)
            self._connection.send_packed_command(self._connection.pack_commands(commands))
            healthy = True
        finally:
            if not healthy:
                self._end(healthy=False)

    def finish(self, deadline: Deadline | None = None) -> list[Any]:
        """Wait for the answers. To be called once.

        Returns:
            The answer to each command: texts as bytes, numbers as int, lists as list, None where Redis has nothing,
            and a ResponseError where it refused one.

        Raises:
            RedisError, OSError: The connection is broken, or an answer did not come in time.
        """
        answers: list[Any] = []
        healthy = False
        try:
            self._limit(deadline)
            for _ in range(self._count):
                try:
                    answers.append(self._connection.read_response())
                except ResponseError as error:
                    answers.append(error)
            # Every answer was read, so the connection can be used again even where one of them is an error.
            healthy = True
        finally:
            self._end(healthy=healthy)
        return answers

    def abandon(self) -> None:
        """Give the connection up, without the answers. Instead of ``finish``."""
        self._end(healthy=False)

    def _limit(self, deadline: Deadline | None) -> None:
        if deadline is not None and self._connection._sock is not None:
            self._connection._sock.settimeout(deadline.left())

    def _end(self, *, healthy: bool) -> None:
        if not healthy:
            self._connection.disconnect()
        self._pool.release(self._connection)


def connection_options(timeout_seconds: float) -> dict[str, Any]:
    """What every connection is made with, as redis-py takes it."""
    return {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
