"""A pool of Redis connections on which many commands go in one round trip, and nothing is ever sent twice by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from dispatcher.connections.cluster_address import ClusterAddress, is_cluster
from dispatcher.connections.redis_address import RedisAddress
from dispatcher.connections.redis_cluster import RedisCluster, is_redirected
from dispatcher.connections.redis_node import Command, RedisNode, connection_options
from dispatcher.connections.sentinels import Sentinels, is_sentinel
from dispatcher.connections.urls import redis_url, without_password
from dispatcher.errors import StoreUnavailableError

__all__ = ["Command", "RedisPool", "kombu_options"]

# What a Redis says, from a script too, that takes no writes now: at maxmemory, as a replica, or with a disk that fails.
_REFUSED_WRITE: Final = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS)\b")


class RedisPool:
    """Connections to one Redis, or to one Redis Cluster. Connects to nothing before the first command.

    Each command blocks the calling thread for as long as it takes to connect, where no connection is free, and to get
    the answer: up to the timeout for each of the two. Nothing is ever sent again by itself, since a command that was
    carried out twice could count an event twice; a broken connection is closed, and the next command makes a new one.
    A server of a cluster that sends a command on to another one has not carried it out, so that is followed, within
    the same time.

    Safe in threads: each call has a connection of its own while it runs, and there are as many as run at once. Safe
    after a fork: the child leaves its parent's connections alone and makes its own.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, kombu's ``redis+socket://``; ``sentinel://``, whose primary is
            asked for at each new connection; ``redis+cluster://`` or ``rediss+cluster://``. A server of a cluster that
            is named by ``redis://`` or ``rediss://`` says so with its first answer, and is used as one.
        timeout_seconds: For connecting, to each sentinel too, and for each answer.

    Raises:
        ValueError: The URL cannot be read.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url: Final = without_password(url)
        self._timeout_seconds = timeout_seconds
        # Where it may turn out to be a server of a cluster.
        self._address: RedisAddress | None = None
        self._is_uncertain = not (is_cluster(url) or is_sentinel(url))
        self._server: RedisNode | RedisCluster
        if is_cluster(url):
            self._server = RedisCluster(ClusterAddress.from_url(url), timeout_seconds=timeout_seconds)
        elif is_sentinel(url):
            self._server = RedisNode(_sentinel_pool(Sentinels.from_url(url), connection_options(timeout_seconds)))
        else:
            self._address = RedisAddress.from_url(url)
            self._server = RedisNode.at(redis_url(url), timeout_seconds=timeout_seconds)

    def execute(self, *command: Any) -> Any:
        """Send one command. Returns its answer, as ``execute_many`` does; blocks and raises like it too."""
        return self.execute_many([command])[0]

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands together. Redis carries them out in order, though not as one transaction.

        A cluster carries out in order those whose keys belong to one slot, as all keys of a destination do.

        Returns:
            The answer to each: texts as bytes, numbers as int, lists as list, and None where Redis has nothing.

        Raises:
            StoreUnavailableError: Redis could not be reached, gave no answer in time, or said that it cannot now: out
                of memory, loading, read only. Some of the commands may have been carried out.
            NoScriptError: Redis does not know the script of one of them. The others may have been carried out.
        """
        try:
            answers = self._server.send(commands)
            failure = next((answer for answer in answers if isinstance(answer, ResponseError)), None)
            if failure is not None and any(map(is_redirected, answers)) and self._turn_into_cluster():
                answers = self._server.send(commands, answers)  # type: ignore[call-arg]
                failure = next((answer for answer in answers if isinstance(answer, ResponseError)), None)
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(self._explain(error)) from error
        if isinstance(failure, NoScriptError):
            raise failure
        if failure is not None:
            raise StoreUnavailableError(self._explain(failure)) from failure
        return answers

    def scan(self, pattern: str, *, count: int) -> Iterator[bytes]:
        """Every key that a pattern fits, of all servers of a cluster. A key may come twice.

        Args:
            pattern: As Redis' SCAN takes it.
            count: Keys that Redis goes through in one step, for each of which this blocks.

        Raises:
            StoreUnavailableError: As ``execute_many``.
        """
        for server in self.servers():
            cursor: Any = 0
            while True:
                cursor, keys = server.execute("SCAN", cursor, "MATCH", pattern, "COUNT", count)
                yield from keys
                if int(cursor) == 0:
                    break

    def servers(self) -> list[RedisPool]:
        """This one; of a cluster each primary, for what is asked of a server. Close none but this one.

        Raises:
            StoreUnavailableError: As ``execute_many``.
        """
        if self._is_uncertain and self._says_cluster():
            self._turn_into_cluster()
        self._is_uncertain = False
        if not isinstance(self._server, RedisCluster):
            return [self]
        try:
            places = self._server.primaries()
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(self._explain(error)) from error
        return [_ServerOfCluster(self._server.url_of(place), self._server.node(place)) for place in places]

    @property
    def is_cluster(self) -> bool:
        """Whether it is a Redis Cluster, as far as that is known by now."""
        return isinstance(self._server, RedisCluster)

    def close(self) -> None:
        """Close all connections, also those in use by other threads. May be called twice; a later command connects."""
        self._server.close()

    def _says_cluster(self) -> bool:
        try:
            return b"cluster_enabled:1" in self.execute("INFO", "cluster")
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                return False  # an ACL may forbid it
            raise

    def _turn_into_cluster(self) -> bool:
        """Go on as a cluster, where a single server's answer said that it belongs to one. Returns whether it did."""
        address = self._address
        if address is None or not address.host or address.database:
            return False
        node, self._address = self._server, None
        self._server = RedisCluster(ClusterAddress(nodes=(address,)), timeout_seconds=self._timeout_seconds)
        node.close()
        return True

    def _explain(self, error: Exception) -> str:
        # redis-py ends some of its sentences with a full stop, and ours goes on.
        what = str(error).rstrip(".") or type(error).__name__
        here = f"Redis at {self.url}"
        if isinstance(error, NoPermissionError) or "executing the script can't" in what:
            problem = f"{here} does not let its user do that ({error}): docs/how-to/scale.md has the rights"
        elif isinstance(error, AuthenticationError | AuthorizationError):
            problem = f"{here} refused the login ({error}): check user and password in DISPATCHER_BROKER_URL"
        elif isinstance(error, ClusterCrossSlotError) or "non local key in a cluster" in what:
            problem = f"{here} is a Redis Cluster, which cannot do that with keys of several slots: {what}"
        elif isinstance(error, AskError):
            problem = f"the Redis Cluster at {self.url} is moving one of its slots; until it has, what is there waits"
        elif is_redirected(error):
            problem = f"the Redis Cluster at {self.url} cannot do that now: {what}"
        elif "cluster support disabled" in what:
            problem = f"{here} is not part of a Redis Cluster: write its URL with redis:// or rediss://"
        elif "SELECT is not allowed in cluster mode" in what:
            problem = f"{here} is part of a Redis Cluster, which has the database 0 only: leave the number away"
        elif isinstance(error, OutOfMemoryError | ReadOnlyError) or _REFUSED_WRITE.search(what):
            problem = f"{here} did not take it: {what}"
        elif isinstance(error, ResponseError):
            problem = f"{here} answered with an error: {what}"
        else:
            problem = f"{here} does not answer: {what}"
        return problem


class _ServerOfCluster(RedisPool):
    """One server of a cluster, over the connections that the cluster has to it."""

    def __init__(self, url: str, node: RedisNode) -> None:
        self.url = without_password(url)  # type: ignore[misc]
        self._address = None
        self._is_uncertain = False
        self._server = node


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
