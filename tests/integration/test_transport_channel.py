"""The broker's channel by itself: a kombu consumer in this process, on a real Redis."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kombu import Connection, Consumer, Queue
from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.doorbell import Ring, commands
from dispatcher.tasks.transport import REFUSALS
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.every_server

LOG, SEGMENT = "tracking_log", "segment"


@pytest.fixture(autouse=True)
def our_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in dispatcher.tasks.celery: kombu ignores the name of a transport for redis+socket://.
    monkeypatch.setitem(TRANSPORT_ALIASES, "redis", "dispatcher.tasks.transport:Transport")
    monkeypatch.setattr("kombu.transport._transport_cache", {})


def ring(redis: RedisServer, destination: str, count: int) -> list[str]:
    """Ring for ``count`` batches. Returns their ids."""
    ids = [f"7-a-{number:x}" for number in range(count)]
    pool = RedisPool(redis.url, timeout_seconds=30)
    pool.execute_many(commands([Ring(destination=destination, batch_id=batch_id, count=1) for batch_id in ids]))
    pool.close()
    return ids


@contextmanager
def consuming(
    redis: RedisServer,
    on_message: Callable[[Message], None],
    *queues: str,
    prefetch: int = 4,
    **options: object,
) -> Iterator[Connection]:
    """A consumer of these queues; by default of the tracking log's."""
    with Connection(redis.url, transport_options={"priority_steps": [0], **options}) as connection:
        channel = connection.channel()
        channel.basic_qos(0, prefetch, False)
        consumed = [Queue(name, routing_key=name) for name in queues or (LOG,)]
        with Consumer(channel, consumed, on_message=on_message):
            yield connection


def drain(connection: Connection, until: Callable[[], bool]) -> None:
    """Take messages until the condition is true."""
    for _ in range(10_000):
        if until():
            return
        connection.drain_events(timeout=60)
    raise AssertionError("it never was so")


def test_a_doorbell_costs_one_command_at_most_and_leaves_nothing_in_redis(redis_server: RedisServer) -> None:
    ring(redis_server, LOG, 400)
    taken: list[Message] = []

    def on_message(message: Message) -> None:
        taken.append(message)
        message.ack()

    with redis_server.client() as client, consuming(redis_server, on_message) as connection:
        client.config_resetstat()
        drain(connection, lambda: len(taken) == 400)
        calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}
    # The other commands are this test's own, and those of new connections.
    assert {name for name in calls if not name.startswith(("config", "info", "client", "ping"))} == {"brpop", "rpop"}
    # A BRPOP for one and an RPOP for three.
    assert calls["brpop"] + calls["rpop"] <= 250
    assert redis_server.call("EXISTS", LOG, "unacked", "unacked_index") == 0


def test_doorbells_come_in_the_order_in_which_they_were_rung(redis_server: RedisServer) -> None:
    ids = ring(redis_server, LOG, 100)
    taken: list[str] = []

    def on_message(message: Message) -> None:
        taken.append(json.loads(message.body)[0][0])
        message.ack()

    with consuming(redis_server, on_message) as connection:
        drain(connection, lambda: len(taken) == 100)
    assert taken == ids


def test_a_queue_with_many_doorbells_does_not_delay_the_others(redis_server: RedisServer) -> None:
    ring(redis_server, LOG, 500)
    ring(redis_server, SEGMENT, 20)
    taken: list[str] = []

    def on_message(message: Message) -> None:
        taken.append(message.delivery_info["routing_key"])
        message.ack()

    with consuming(redis_server, on_message, LOG, SEGMENT, prefetch=8) as connection:
        drain(connection, lambda: len(taken) >= 60)
    assert Counter(taken[:60])[SEGMENT] == 20


def test_a_queue_with_unacked_doorbells_leaves_one_place_to_the_others(redis_server: RedisServer) -> None:
    ring(redis_server, LOG, 50)
    in_hand: list[Message] = []
    segment: list[Message] = []

    def on_message(message: Message) -> None:
        if message.delivery_info["routing_key"] == LOG:
            in_hand.append(message)
        else:
            segment.append(message)
            message.ack()

    with consuming(redis_server, on_message, LOG, SEGMENT, prefetch=5) as connection:
        drain(connection, lambda: len(in_hand) == 4)
        ring(redis_server, SEGMENT, 20)
        drain(connection, lambda: len(segment) == 20)
        assert len(in_hand) == 4


def test_the_channel_takes_no_more_than_the_prefetch_count(redis_server: RedisServer) -> None:
    ring(redis_server, LOG, 50)
    in_hand: list[Message] = []
    with consuming(redis_server, in_hand.append, prefetch=5) as connection:
        drain(connection, lambda: len(in_hand) >= 5)
        with pytest.raises(socket.timeout):
            connection.drain_events(timeout=0.2)
        assert len(in_hand) == 5
        assert redis_server.call("LLEN", LOG) == 45
        in_hand.pop().ack()
        drain(connection, lambda: len(in_hand) >= 5)
        assert redis_server.call("LLEN", LOG) == 44


@pytest.mark.parametrize("prefix", ["", "site:"])
def test_closing_the_channel_returns_unacked_doorbells_in_order(redis_server: RedisServer, prefix: str) -> None:
    ring(redis_server, LOG, 50)
    if prefix:
        redis_server.call("RENAME", LOG, prefix + LOG)
    before = redis_server.call("LRANGE", prefix + LOG, 0, -1)
    in_hand: list[Message] = []
    with consuming(redis_server, in_hand.append, prefetch=10, global_keyprefix=prefix) as connection:
        drain(connection, lambda: len(in_hand) == 10)
        # A worker's changes to the headers of a message do not go back with it.
        in_hand[0].headers["hostname"] = object()
        assert redis_server.call("LLEN", prefix + LOG) == 40
    assert redis_server.call("LRANGE", prefix + LOG, 0, -1) == before


def test_a_requeued_doorbell_comes_last(redis_server: RedisServer) -> None:
    ids = ring(redis_server, LOG, 10)
    taken: list[str] = []

    def on_message(message: Message) -> None:
        taken.append(json.loads(message.body)[0][0])
        if taken == ids[:1]:
            message.requeue()
        else:
            message.ack()

    with consuming(redis_server, on_message) as connection:
        drain(connection, lambda: len(taken) == 11)
    assert taken == [*ids, ids[0]]


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", '{"properties": {}}', '{"body": "x", "properties": {"delivery_tag": "a"}}', "\xff"],
)
def test_malformed_messages_are_dropped_and_counted(redis_server: RedisServer, text: str) -> None:
    before = REFUSALS.counts().get(LOG, 0)
    redis_server.call("LPUSH", LOG, text.encode("latin-1"))
    ring(redis_server, LOG, 1)
    taken: list[Message] = []
    with consuming(redis_server, taken.append) as connection:
        drain(connection, lambda: len(taken) == 1)
    assert REFUSALS.counts()[LOG] == before + 1


def test_messages_that_celery_cannot_read_are_dropped_and_free_their_place(redis_server: RedisServer) -> None:
    before = REFUSALS.counts().get(LOG, 0)
    ring(redis_server, LOG, 10)
    taken: list[Message] = []

    def on_message(message: Message) -> None:
        taken.append(message)
        if len(taken) <= 5:
            raise ValueError("as Celery does")

    with consuming(redis_server, on_message, prefetch=5) as connection:
        drain(connection, lambda: len(taken) == 10)
    assert REFUSALS.counts()[LOG] == before + 5


def test_a_replica_counts_as_an_unavailable_broker(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        connection = Connection(redis_server.url)
        with pytest.raises(connection.connection_errors, match="read only replica"):
            connection.connect()
        client.execute_command("REPLICAOF", "NO", "ONE")
        connection.connect()
        connection.close()
