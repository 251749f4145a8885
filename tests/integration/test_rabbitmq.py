"""RabbitMQ carries the doorbells and Redis holds the batches: the whole path, and the failures of either."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import amqp
import pytest
import trustme

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.doctor import examine
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.store.batches import BatchStore
from dispatcher.store.celery_producer import make_producer
from dispatcher.tasks.celery import make_app
from tests.support.deliveries import LOG, SEGMENT
from tests.support.hostile_messages import hostile_bodies
from tests.support.rabbitmq_server import RabbitMQServer, find_rabbitmq
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.tracking_lines import assert_each_once, read_lines
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(
    find_rabbitmq() is None, reason="RabbitMQ is not installed: apt-get install rabbitmq-server"
)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQServer]:
    with RabbitMQServer() as server:
        yield server


@pytest.fixture
def rabbit_site(tmp_path: Path, redis_server: RedisServer, rabbitmq: RabbitMQServer) -> Iterator[Site]:
    """A site whose broker is RabbitMQ."""
    rabbitmq.purge(LOG, SEGMENT)
    with open_site(tmp_path, redis_server) as site:
        site.environ |= {"DISPATCHER_BROKER_URL": rabbitmq.url, "DISPATCHER_STORE_URL": redis_server.url}
        yield site


def emit(site: Site, first: int, count: int) -> None:
    """Emit ``count`` events, and wait until they are in the store."""
    site.emitting(
        "for n in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "assert dispatcher.flush(60)\n",
        str(first),
        str(count),
    ).succeed()


def assert_segment_has(site: Site, count: int) -> None:
    assert {message["properties"]["n"] for message in read_lines(site.directory / "segment.jsonl")} == set(range(count))


def test_events_arrive_once_over_amqp_despite_retries_and_a_killed_worker(
    rabbit_site: Site, rabbitmq: RabbitMQServer
) -> None:
    site = rabbit_site
    site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS"] = "20"
    port = site.segment_stub.port
    site.segment_stub.stop()
    worker = site.worker()
    site.emitting(
        "for n in range(2000):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    if n % 20 == 0: time.sleep(0.005)\n"
        "assert dispatcher.flush(60)\n"
    )
    site.wait_for_lines(300)
    worker.kill()
    worker = site.worker()
    site.wait_for_lines(2000)
    wait_for(lambda: site.counts(SEGMENT).retried >= 2000, what=site.ledger)

    with SegmentStub(port=port, file=site.directory / "segment.jsonl"):
        site.wait_until_delivered()

    assert_each_once(site.log, 2000)
    assert_segment_has(site, 2000)
    site.assert_ledger_closes()
    # No doorbell went through Redis, which has only the store's own keys.
    with site.redis.client() as client:
        assert {key.split(b":")[0] for key in client.scan_iter()} <= {b"dispatcher"}
    assert worker.stop(60) == 0
    assert (rabbitmq.messages(LOG), rabbitmq.messages(SEGMENT)) == (0, 0)


def test_a_restart_of_rabbitmq_under_load_loses_and_doubles_nothing(
    rabbit_site: Site, rabbitmq: RabbitMQServer
) -> None:
    site = rabbit_site
    worker = site.worker()
    child = site.emitting(
        "for n in range(1000):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    time.sleep(0.002)\n"
        "    if n == 300:\n"
        "        while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
        "assert dispatcher.flush(60)\n",
        str(site.directory / "down"),
    )
    site.wait_for_lines(200)
    rabbitmq.kill()
    (site.directory / "down").touch()
    # Events emitted while it is down reach the store nonetheless, and wait there.
    child.succeed()
    wait_for(lambda: site.counts(LOG).accepted == 1000, what=site.ledger)

    rabbitmq.start()

    site.wait_for_lines(1000, timeout=90)
    emit(site, 1000, 100)
    site.wait_for_lines(1100, timeout=90)
    site.wait_until_delivered(timeout=90)
    assert worker.running, worker.output
    assert_each_once(site.log, 1100)
    assert_segment_has(site, 1100)
    site.assert_ledger_closes()


def test_beside_a_cluster_rings_lead_to_the_slots_in_which_batches_wait(
    rabbit_site: Site, rabbitmq: RabbitMQServer
) -> None:
    site = rabbit_site
    with RedisClusterServers() as cluster:
        site.environ["DISPATCHER_STORE_URL"] = cluster.url
        for name in (LOG, SEGMENT):
            site.environ[f"DISPATCHER_DESTINATIONS__{name.upper()}__SLOTS"] = "4"
        # The bell does not look: what arrives was rung for by relays, and by the worker in a chain.
        worker = site.worker("-c", "2", DISPATCHER_WORKER__BELL_SECONDS="900")
        code = (
            "for n in range(int(sys.argv[1]), 300, 6): tracker.emit('shop.order.paid', {'n': n})\n"
            "assert dispatcher.flush(60)"
        )
        children = [site.emitting(code, str(first)) for first in range(6)]
        for child in children:
            child.succeed()
        site.wait_for_lines(300)
        assert worker.stop(60) == 0
        pool = RedisPool(cluster.url, timeout_seconds=30)
        counts = BatchStore(pool).counts([LOG])[LOG]
        pool.close()
    assert_each_once(site.log, 300)
    assert len(counts.slots) > 1, "six journals are all in one of four slots once in a thousand runs"
    assert (counts.delivered, counts.waiting) == (300, 0)
    assert rabbitmq.messages(LOG) == 0


def test_the_doctor_reaches_the_broker_and_asks_the_workers_over_it(rabbit_site: Site) -> None:
    site = rabbit_site
    worker = site.worker()

    def told() -> dict[str, str]:
        found = examine(site.environ, only=["broker", "workers"])
        return {finding.check: finding.level for finding in found if finding.check in ("broker.reachable", *answered)}

    answered = ("workers.answer", "workers.queues", "workers.version", "workers.clock")
    wait_for(lambda: told() == dict.fromkeys(("broker.reachable", *answered), "ok"), what=told)
    assert worker.running, worker.output


def test_over_tls_certificates_and_host_names_are_verified(rabbitmq: RabbitMQServer, tmp_path: Path) -> None:
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(another))

    def connect(url: str) -> None:
        settings = config.load(overrides={"broker_url": url, "store_url": "redis://localhost"})
        producer = make_producer(settings)
        assert producer is not None
        with producer.connection_for_write(connect_timeout=60) as connection:
            connection.connect()

    for url in (rabbitmq.tls_url(authority=another), rabbitmq.tls_url(host="127.0.0.2")):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(url)
    connect(rabbitmq.tls_url())


@pytest.mark.parametrize("pool", ["threads", "gevent"])
@pytest.mark.timeout(300)
def test_a_worker_survives_drops_and_counts_every_foreign_message(
    rabbit_site: Site, rabbitmq: RabbitMQServer, pool: str
) -> None:
    site = rabbit_site
    worker = site.worker("-P", pool, "-c", "2", "-n", "one@test")
    kinds = hostile_bodies(LOG)
    assert len(kinds) >= 75
    with make_app(site.settings()) as app, app.connection_for_write() as connection:
        # With amqp's own client, since kombu sends nothing that it could not read.
        channel = connection.channel()
        for number, (kind, (body, headers, properties)) in enumerate(kinds.items()):
            message = amqp.Message(body, application_headers=headers, **properties)
            channel.basic_publish(message, exchange="", routing_key=LOG)
            app.send_task(f"tasks.{LOG}.deliver", args=[f"none-{number}"], queue=LOG, task_id=f"{LOG}.none-{number}")
            done = f"{LOG}.none-{number}] succeeded"
            wait_for(lambda done=done: done in worker.output, what=lambda kind=kind: f"{kind}: {worker.output[-3000:]}")
            assert worker.output.count(" ready.") == 1, f"{kind} ended the worker: {worker.output[-3000:]}"
        inspect = app.control.inspect(timeout=60, limit=1)

        def refused() -> dict[str, int]:
            facts = app.control.broadcast("dispatcher_worker", reply=True, timeout=60, limit=1)[0]["one@test"]
            return dict(facts["refused"])

        # Message and task went over two connections: the last task may be done before the last message is there.
        wait_for(lambda: refused() == {LOG: len(kinds)}, what=refused)
        assert inspect.reserved() == {"one@test": []}
    emit(site, 0, 10)
    site.wait_until_delivered()
    assert worker.stop(60) == 0
    assert rabbitmq.messages(LOG) == 0


def test_a_forked_child_rings_on_a_connection_of_its_own(rabbit_site: Site) -> None:
    rabbit_site.emitting(
        """
from pathlib import Path

def connections():
    links = set()
    for entry in Path("/proc/self/fd").iterdir():
        try: links.add(os.readlink(entry))
        except OSError: pass  # the directory's own
    return {link for link in links if link.startswith("socket:")}

def emit(first):
    for n in range(first, first + 100):
        tracker.emit("shop.order.paid", {"n": n})
        time.sleep(0.005)  # for a ring of its own
    assert dispatcher.flush(60)
    until = time.monotonic() + 60  # the last ring comes after the put
    while len(connections()) < 2 and time.monotonic() < until: time.sleep(0.02)
    return connections()

parents = emit(0)
assert len(parents) == 2, parents
pid = os.fork()
if pid == 0:
    inherited = connections()
    own = emit(1000)
    ok = not inherited and len(own) == 2 and not own & parents
    if not ok: print("inherited", inherited, "own", own, flush=True)
    sys.exit(0 if ok else 1)
emit(2000)
assert os.waitpid(pid, 0)[1] == 0, "the child failed"
assert emit(3000) == parents, "the child has cut the parent's connection"
"""
    ).succeed()


def test_the_relay_thread_imports_no_celery_that_a_fork_could_interrupt(rabbit_site: Site) -> None:
    rabbit_site.emitting(
        """
import threading
from dispatcher.relay.thread import RelayThread
start = RelayThread.start
# What is not there is looked for in vain, and under a lock just the same.
looked_for = []
class Spy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if threading.current_thread().name == "dispatcher-relay":
            looked_for.append(name)
sys.meta_path.insert(0, Spy)
def spy(self):
    known.update(sys.modules)
    start(self)
known = set()
RelayThread.start = spy
tracker.emit("shop.order.paid", {"n": 0})
assert dispatcher.flush(60)
tracker.get_tracker().close()  # the ring comes after the put
assert not set(sys.modules) - known, set(sys.modules) - known
assert not looked_for, looked_for
"""
    ).succeed()


def test_a_child_forked_while_the_relay_imports_celery_rings_too(rabbit_site: Site, rabbitmq: RabbitMQServer) -> None:
    rabbit_site.emitting(
        """
import faulthandler
pids = []
tracker.emit("shop.order.paid", {"n": 0})
for turn in range(6):
    time.sleep(0.03)
    pid = os.fork()
    if pid == 0:
        # Should it hang, its output says where.
        faulthandler.dump_traceback_later(75, exit=True)
        tracker.emit("shop.order.paid", {"n": 1 + turn})
        os._exit(0 if dispatcher.flush(60) else 1)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6, "a child could not flush"
"""
    ).succeed()
    rabbit_site.worker()
    rabbit_site.wait_for_lines(7)
    assert_each_once(rabbit_site.log, 7)
