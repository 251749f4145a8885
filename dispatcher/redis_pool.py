"""A pool of Redis connections on which many commands go in one round trip, and nothing is ever sent twice by itself."""

from __future__ import annotations

# These two are what redis-py and socket import at their first connection. A process that forks while its relay's thread
# is in the middle of that leaves the child a lock that nobody will ever release, and a relay that waits for it.
import email.parser  # noqa: F401
import encodings.idna  # noqa: F401
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from dispatcher.errors import StoreUnavailableError

Command = tuple[Any, ...]


class RedisPool:
    """Connections to one Redis. Safe in threads and after fork; connects at the first command.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or kombu's ``redis+socket://``.
        timeout_seconds: For connecting and for each answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url: Final = without_password(url)
        self._pool = redis.ConnectionPool.from_url(
            redis_url(url),
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # A command that was repeated by itself could count an event twice.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

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

    def _explain(self, error: Exception) -> str:
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return f"Redis at {self.url} refused the login ({error}): check user and password in DISPATCHER_BROKER_URL"
        # redis-py ends some of its sentences with a full stop, and ours goes on.
        return f"Redis at {self.url} did not take it: {str(error).rstrip('.') or type(error).__name__}"


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
    """The URL as kombu spells it: ``unix://`` becomes ``redis+socket://``."""
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def without_password(url: str) -> str:
    """The URL with its password masked, for logs and error messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@").replace(f":{unquote(parts.password)}@", ":***@")
