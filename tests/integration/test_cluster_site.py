"""A whole site whose store is a Redis Cluster, with the doorbells in a plain Redis beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.store.keys import COUNTS
from tests.support.deliveries import LOG
from tests.support.failover import assert_nothing_is_lost
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.tracking_lines import assert_each_once, read_lines
from tests.support.waiting import wait_for


@pytest.fixture
def cluster() -> Iterator[RedisClusterServers]:
    with RedisClusterServers() as servers:
        yield servers


@pytest.fixture
def cluster_site(tmp_path: Path, cluster: RedisClusterServers) -> Iterator[Site]:
    with RedisServer() as broker, open_site(tmp_path, broker, store_url=cluster.url) as site:
        yield site


def test_a_primary_that_is_killed_under_load_loses_and_doubles_nothing(
    cluster_site: Site, cluster: RedisClusterServers
) -> None:
    site = cluster_site
    worker = site.worker()
    child = site.emitting(
        "for n in range(3000):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    time.sleep(0.001)\n"
        "    if n == 1000:\n"
        "        while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
        "assert dispatcher.flush(60)\n",
        str(site.directory / "go"),
    )
    site.wait_for_lines(500, timeout=60)
    before = cluster.owner_of(COUNTS.of(LOG))
    cluster.kill(before)
    # From now on it emits into an outbox whose events have nowhere to go.
    (site.directory / "go").touch()
    cluster.wait_for_another(COUNTS.of(LOG), before)

    site.wait_for_lines(3000, timeout=90)
    wait_for(lambda: site.counts(LOG).delivered >= 3000, 90, what=site.ledger)
    child.succeed(timeout=60)
    site.wait_until_delivered(timeout=90)
    assert_each_once(site.log, 3000)
    assert {line["properties"]["n"] for line in read_lines(site.directory / "segment.jsonl")} == set(range(3000))
    site.assert_ledger_closes()
    assert worker.running, worker.output
    assert worker.stop(60) == 0


def test_a_failover_that_loses_acknowledged_writes_loses_no_event(
    cluster_site: Site, cluster: RedisClusterServers
) -> None:
    primary = cluster.owner_of(COUNTS.of(LOG))
    replicas: list[int] = []

    def fail_over() -> None:
        cluster.kill(primary)
        cluster.thaw(replicas[0])
        cluster.wait_for_another(COUNTS.of(LOG), primary)

    assert_nothing_is_lost(
        cluster_site,
        cut_replication=lambda: replicas.append(cluster.cut_replication(primary)),
        fail_over=fail_over,
    )
