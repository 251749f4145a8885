"""The store on a Redis Cluster: what is sent where, what is sent on, and what a server's death does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.cli.worker import refuse_cluster
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.doctor.checks import redis_server
from dispatcher.doctor.deployment import Deployment
from dispatcher.errors import SettingsError, StoreUnavailableError
from dispatcher.local.redis_server import find_server
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.keys import COUNTS
from dispatcher.store.levers import Levers
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from dispatcher.store.waiting_batches import WaitingBatches, scan_destinations
from tests.support.ports import free_ports
from tests.support.redis_cluster import RedisClusterServers
from tests.support.secured_redis import documented_users, find_tls_server
from tests.support.server_programs import program_of
from tests.support.waiting import wait_for

pytestmark = pytest.mark.every_server

# So many that each of the three servers has some.
NAMES = [f"destination_{number}" for number in range(9)]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[RedisClusterServers]:
    with RedisClusterServers(program=program_of(request)) as servers:
        yield servers


@pytest.fixture
def pool(cluster: RedisClusterServers) -> Iterator[RedisPool]:
    """Connections to an empty cluster."""
    for port in cluster.primaries():
        cluster.call(port, "FLUSHALL")
        cluster.call(port, "SCRIPT", "FLUSH")
    pool = RedisPool(cluster.url, timeout_seconds=30)
    yield pool
    pool.close()


def put(name: str, start: int = 0) -> Put:
    payloads = [b'{"name":"a"}', b'{"name":"b"}']
    return Put(
        destination=name, journal="7-a", start=start, end=start + 10, after=start or -1, packed=pack(payloads), count=2
    )


def test_a_batch_goes_its_whole_road_on_each_of_the_servers(cluster: RedisClusterServers, pool: RedisPool) -> None:
    assert {cluster.owner_of(COUNTS.of(name)) for name in NAMES} == set(cluster.primaries())
    store, letters, levers = BatchStore(pool), DeadLetters(pool), Levers(pool)
    assert store.put([put(name, start) for name in NAMES for start in (0, 10)]) == [None] * 18
    assert store.put([put(name) for name in NAMES]) == [None] * 9, "a range that was put is put again without effect"
    assert scan_destinations(pool) == NAMES
    for name in NAMES:
        claim = store.claim(name, "7-a-0", token="t", lease_seconds=60)
        assert isinstance(claim, Claim)
        dead = DeadEvent("refused", "it said no", claim.payloads[1])
        assert store.settle(claim, Settlement(delivered=1, dead=[dead])) is not None
        levers.pause(name, reason="a test")
        assert [batch.id for batch in WaitingBatches(pool).select(name)] == ["7-a-a"]
        (letter,) = letters.select(name, DeadLetterFilter())
        assert letters.replay([letter]) == 1
        assert levers.resume(name)
    for counts in store.counts(NAMES).values():
        assert (counts.accepted, counts.delivered, counts.queued, counts.dead) == (4, 1, 3, 0)
        assert counts.closes
    assert {name: progress.put for name, progress in store.progress(NAMES, "7-a").items()} == dict.fromkeys(NAMES, 20)


def test_a_plain_url_of_one_server_finds_the_others(cluster: RedisClusterServers, pool: RedisPool) -> None:
    plain = RedisPool(f"redis://127.0.0.1:{cluster.ports[0]}", timeout_seconds=30)
    assert not plain.is_cluster
    BatchStore(plain).put([put(name) for name in NAMES])
    assert plain.is_cluster
    assert {name: counts.accepted for name, counts in BatchStore(pool).counts(NAMES).items()} == dict.fromkeys(NAMES, 2)
    again = RedisPool(f"redis://127.0.0.1:{cluster.ports[0]}", timeout_seconds=30)
    # Nothing that it was asked before has shown that there are others.
    assert scan_destinations(again) == NAMES
    plain.close()
    again.close()


def test_a_slot_that_moves_is_followed_and_no_script_sees_half_of_it(
    cluster: RedisClusterServers, pool: RedisPool
) -> None:
    store, name = BatchStore(pool), NAMES[0]
    store.put([put(name)])
    before, slot = cluster.owner_of(COUNTS.of(name)), cluster.slot_of(COUNTS.of(name))
    after = next(port for port in cluster.primaries() if port != before)
    cluster.call(after, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.name_of(before))
    cluster.call(before, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.name_of(after))
    keys = cluster.call(before, "CLUSTER", "GETKEYSINSLOT", slot, 100)
    cluster.call(before, "MIGRATE", "127.0.0.1", after, "", 0, 5000, "KEYS", *keys[:2])
    # Some keys are here and some there: a script would take those elsewhere for missing.
    with pytest.raises(StoreUnavailableError, match="is moving one of its slots"):
        store.put([put(name, 10)])
    assert {pool.execute("EXISTS", key) for key in keys} == {1}, "single keys are found wherever they are"
    cluster.call(before, "MIGRATE", "127.0.0.1", after, "", 0, 5000, "KEYS", *keys[2:])
    for port in cluster.primaries():
        cluster.call(port, "CLUSTER", "SETSLOT", slot, "NODE", cluster.name_of(after))

    assert store.put([put(name), put(name, 10)]) == [None, None]
    assert cluster.owner_of(COUNTS.of(name)) == after
    counts = store.counts([name])[name]
    assert (counts.accepted, counts.batches, counts.closes) == (4, 2, True)


def test_batches_move_within_a_server_and_otherwise_stay_as_they_are(
    cluster: RedisClusterServers, pool: RedisPool
) -> None:
    store, owners = BatchStore(pool), {name: cluster.owner_of(COUNTS.of(name)) for name in NAMES}
    source = NAMES[0]
    far = next(name for name in NAMES if owners[name] != owners[source])
    store.put([put(source)])
    with pytest.raises(StoreUnavailableError, match="which cannot do that with keys of several slots"):
        WaitingBatches(pool).transfer(source, far, ["7-a-0"])
    counts = store.counts([source, far])
    assert (counts[source].queued, counts[source].closes, counts[far].accepted) == (2, True, 0)
    assert isinstance(store.claim(source, "7-a-0", token="t", lease_seconds=60), Claim)


def test_a_child_leaves_the_connections_of_its_parent_alone(pool: RedisPool) -> None:
    assert pool.execute("SET", "a", "1")
    child = os.fork()
    if child == 0:
        try:
            done = pool.execute_many([("INCR", f"{{{name}}}n") for name in NAMES] * 50) and pool.execute("PING")
            os._exit(0 if done == b"PONG" else 1)
        finally:
            os._exit(2)
    for _ in range(50):
        assert pool.execute_many([("GET", "a")] * 9) == [b"1"] * 9
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.execute("GET", f"{{{NAMES[3]}}}n") == b"50"


def test_a_silent_server_costs_the_timeout_and_others_answer_on(cluster: RedisClusterServers, pool: RedisPool) -> None:
    impatient = RedisPool(cluster.url, timeout_seconds=0.3)
    keys = {cluster.owner_of(f"{{{name}}}"): f"{{{name}}}" for name in NAMES}
    assert impatient.execute_many([("SET", key, "1") for key in keys.values()])
    silent, other = list(keys)[:2]
    cluster.freeze(silent)
    try:
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            impatient.execute_many([("GET", key) for key in keys.values()])
        assert impatient.execute("GET", keys[other]) == b"1"
    finally:
        cluster.thaw(silent)
    impatient.close()


def test_a_replica_takes_over_from_a_killed_primary(cluster: RedisClusterServers, pool: RedisPool) -> None:
    store, name = BatchStore(pool), NAMES[0]
    assert store.put([put(each) for each in NAMES]) == [None] * 9
    before = cluster.owner_of(COUNTS.of(name))
    for port in cluster.primaries():
        cluster.call(port, "WAIT", 1, 5000)
    cluster.kill(before)
    with pytest.raises(StoreUnavailableError):
        store.put([put(name, 10)])
    cluster.wait_for_another(COUNTS.of(name), before)

    # The replica knows no scripts: they are loaded there.
    wait_for(lambda: is_put(store, put(name, 10)), what="the pool to find the new primary")
    assert store.counts([name])[name].accepted == 4
    cluster.restart(before)


def test_a_cluster_that_serves_no_slots_says_so(tmp_path: Path) -> None:
    # Servers talk to each other on a port that is 10 000 higher and must be valid.
    port = min(free_ports(20))
    assert port + 10_000 < 65_536
    words = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--cluster-enabled", "yes")
    server = subprocess.Popen([find_server().path, *words, "--save", ""], stdout=subprocess.DEVNULL)
    pool = RedisPool(f"redis://127.0.0.1:{port}/0", timeout_seconds=30)
    try:
        wait_for(lambda: answers(pool), what="Redis to answer")
        with pytest.raises(StoreUnavailableError, match=r"the Redis Cluster at redis://.* cannot do that now"):
            BatchStore(pool).counts([NAMES[0]])
    finally:
        pool.close()
        server.kill()
        server.wait(60)


def test_a_single_server_is_no_cluster(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    words = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", "")
    server = subprocess.Popen([find_server().path, *words], stdout=subprocess.DEVNULL)
    plain, pool = (RedisPool(f"{way}://127.0.0.1:{port}", timeout_seconds=30) for way in ("redis", "redis+cluster"))
    try:
        wait_for(lambda: answers(plain), what="Redis to answer")
        with pytest.raises(StoreUnavailableError, match="not part of a Redis Cluster: write its URL with redis://"):
            pool.execute("GET", "a")
        assert [server.url for server in plain.servers()] == [f"redis://127.0.0.1:{port}/0"]
    finally:
        plain.close()
        pool.close()
        server.kill()
        server.wait(60)


def answers(pool: RedisPool) -> bool:
    try:
        return bool(pool.execute("PING"))
    except StoreUnavailableError:
        return False


def is_put(store: BatchStore, one: Put) -> bool:
    try:
        return store.put([one]) == [None]
    except StoreUnavailableError:
        return False


def test_a_worker_refuses_a_cluster_as_its_broker(cluster: RedisClusterServers) -> None:
    url = f"redis://127.0.0.1:{cluster.ports[0]}"
    with pytest.raises(SettingsError, match=r"part of a Redis Cluster: .* a plain Redis, RabbitMQ or SQS beside it"):
        refuse_cluster(config.load({}, overrides={"broker_url": url}))
    refuse_cluster(config.load({}, overrides={"broker_url": "redis://127.0.0.1:1", "store_url": cluster.url}))


def test_the_doctor_looks_at_each_of_the_servers(cluster: RedisClusterServers, pool: RedisPool) -> None:
    settings = config.load({}, overrides={"broker_url": "amqp://127.0.0.1:1", "store_url": cluster.url})
    deployment = Deployment(settings, environ={}, quick=True, flower="")
    found = {finding.check: finding for finding in redis_server.check(deployment)}
    assert "3 primaries of a Redis Cluster" in found["redis.reachable"].what
    assert found["redis.mode"].what == "fine on all 3 servers; " + found["redis.mode"].what.partition("; ")[2]
    assert "a primary of a Redis Cluster" in found["redis.mode"].what
    cluster.call(cluster.primaries()[1], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    (evicting,) = [one for one in redis_server.check(deployment) if one.check == "redis.eviction"]
    assert (evicting.level, f":{cluster.primaries()[1]}" in evicting.what) == ("error", True)
    cluster.call(cluster.primaries()[1], "CONFIG", "SET", "maxmemory-policy", "noeviction")
    deployment.close()


@pytest.mark.skipif(find_tls_server() is None, reason="no Redis with TLS is installed")
def test_each_user_needs_two_rights_more_in_a_cluster_with_tls() -> None:
    users = documented_users().replace(" +evalsha ", " +evalsha +cluster|slots +asking ")
    assert users.count("+cluster|slots") == 3, "the operator has them by +@all, but for what is dangerous"
    with RedisClusterServers(program=find_tls_server(), users=users) as servers:
        relay, worker, status = (
            RedisPool(servers.url_of(user, f"{user}-password"), timeout_seconds=30)
            for user in ("relay", "worker", "status")
        )
        names = ["tracking_log", "segment"]
        assert BatchStore(relay).put([put(name) for name in names]) == [None] * 2
        for name in names:
            claim = BatchStore(worker).claim(name, "7-a-0", token="t", lease_seconds=60)
            assert isinstance(claim, Claim)
            assert BatchStore(worker).settle(claim, Settlement(delivered=2)) is not None
        assert {counts.delivered for counts in BatchStore(status).counts(names).values()} == {2}
        assert scan_destinations(status) == sorted(names)
        denied = [entry for port in servers.ports for entry in servers.call(port, "ACL", "LOG")]
        assert not [entry for entry in denied if b"client" not in entry], denied
        wrong = RedisPool(servers.url_of("relay", "hush"), timeout_seconds=30)
        with pytest.raises(StoreUnavailableError, match="refused the login") as caught:
            wrong.execute("PING")
        assert "hush" not in str(caught.value)
        for pool in (relay, worker, status, wrong):
            pool.close()
