"""A whole site whose store is a Redis Cluster, with the doorbells in a plain Redis beside it.

Its destinations have four slots each, which are on two and on three of the three servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.keys import COUNTS
from dispatcher.store.slots import slot_name, slots_in_use
from tests.support.deliveries import LOG, SEGMENT
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
        for name in (LOG, SEGMENT):
            site.environ[f"DISPATCHER_DESTINATIONS__{name.upper()}__SLOTS"] = "4"
        yield site


def slots_of_the_log(cluster: RedisClusterServers) -> list[int]:
    # By connections of its own: those of the site may not know who has what before a primary is killed.
    pool = RedisPool(cluster.url, timeout_seconds=30)
    found = slots_in_use(pool, LOG)
    pool.close()
    return found


def test_a_primary_that_is_killed_under_load_loses_and_doubles_nothing(
    cluster_site: Site, cluster: RedisClusterServers
) -> None:
    site = cluster_site
    worker = site.worker()
    code = (
        "for n in range(int(sys.argv[2]), 3000, 6):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    time.sleep(0.005)\n"
        "    if n // 6 == 150:\n"
        "        while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
        "assert dispatcher.flush(60)\n"
    )
    # Six journals are all in one slot once in a thousand runs.
    children = [site.emitting(code, str(site.directory / "go"), str(first)) for first in range(6)]
    site.wait_for_lines(500)
    assert len(slots_of_the_log(cluster)) > 1
    before = cluster.owner_of(COUNTS.of(LOG))
    cluster.kill(before)
    # From now on it emits into an outbox whose events have nowhere to go.
    (site.directory / "go").touch()
    cluster.wait_for_another(COUNTS.of(LOG), before)

    site.wait_for_lines(3000, timeout=90)
    wait_for(lambda: site.counts(LOG).delivered >= 3000, 90, what=site.ledger)
    for child in children:
        child.succeed()
    site.wait_until_delivered(timeout=90)
    assert_each_once(site.log, 3000)
    assert {line["properties"]["n"] for line in read_lines(site.directory / "segment.jsonl")} == set(range(3000))
    site.assert_ledger_closes()
    assert worker.running, worker.output
    assert worker.stop(60) == 0


def test_a_failover_that_loses_acknowledged_writes_loses_no_event(
    cluster_site: Site, cluster: RedisClusterServers
) -> None:
    cut: list[tuple[str, int, int]] = []

    def cut_replication() -> None:
        # The one journal is in one slot, whichever that is.
        key = COUNTS.of(slot_name(LOG, slots_of_the_log(cluster)[-1]))
        primary = cluster.owner_of(key)
        cut.append((key, primary, cluster.cut_replication(primary)))

    def fail_over() -> None:
        key, primary, replica = cut[0]
        cluster.kill(primary)
        cluster.thaw(replica)
        cluster.wait_for_another(key, primary)

    assert_nothing_is_lost(cluster_site, cut_replication=cut_replication, fail_over=fail_over)
