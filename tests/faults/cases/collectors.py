"""Failures around the collector: what it acknowledged is in the log, each event once, however often clients send it."""

from __future__ import annotations

import http.client
import os
import re
import signal

from dispatcher.outcomes import DUPLICATE
from tests.faults.case import Cases
from tests.faults.cases.disks import SMALL_JOURNALS
from tests.faults.count import LOG
from tests.faults.disk import SmallDisk
from tests.faults.expectation import Expectation
from tests.faults.loop_disk import LoopDisk
from tests.faults.stage import Stage
from tests.support.processes import child_pids
from tests.support.waiting import wait_for

collectors = Cases()

# An answer of the sink may come while there is no Redis to record it.
_REPEATS = Expectation(repeats=True)
# Posts of each of four threads: 10,000 together.
_POSTS = 2_500
_SHORT_POSTS = 100


@collectors.add("kill -9 of the collector under 10,000 posts of clients that send again", in_tests=True)
def kill_collector(stage: Stage) -> None:
    count, kills = (_SHORT_POSTS, 3) if stage.short else (_POSTS, 25)
    stage.workers.start()
    stage.load_over_http(2, "--count", str(count), rate=400)
    killed = 0
    while stage.webs.running:
        # Not before it has answered some: it takes longer to start than to be killed.
        least = stage.webs.count() + stage.chance.uniform(1, 2 * 4 * count / kills)
        while stage.webs.running and stage.webs.count() < least:
            stage.go_on(0.02)
        stage.collectors.kill_one()
        killed += 1
    stage.notes.append(f"kill -9, {killed} times")
    if stage.webs.count() != 4 * count:
        stage.problems.append(f"{stage.webs.count()} posts were acknowledged, not {4 * count}")
    wait_for(lambda: stage.site.counts(LOG).filtered_by_reason.get(DUPLICATE), what="events that came again")


@collectors.add("kill -9 of one of the three processes of a collector: clients send again to the others")
def kill_collector_process(stage: Stage) -> None:
    stage.environ.update(DISPATCHER_RELAY__MODE="external", DISPATCHER_COLLECTOR__PROCESSES="3")
    stage.workers.start()
    stage.relays.start()
    stage.load_over_http(3, impatience=0.3)

    def strike() -> None:
        [collector] = stage.collectors.running
        os.kill(stage.chance.choice(child_pids(collector.pid)), signal.SIGKILL)

    stage.strike("kill -9", strike, times=8, pause=(0.5, 1.5))
    stage.go_on(0.5)


@collectors.add("SIGTERM of the collector while clients post")
def stop_collector(stage: Stage) -> None:
    stage.workers.start()
    stage.load_over_http(3)

    def strike() -> None:
        # A Python that has only begun to start dies of the signal.
        wait_for(lambda: _get(stage.collector_port, "/readyz"), what="the collector to be ready")
        code = stage.collectors.stop_one()
        if code != 0:
            stage.problems.append(f"the collector ended with {code} after SIGTERM")

    stage.strike("SIGTERM", strike, times=6, pause=(0.3, 1.5))
    stage.go_on(0.5)


@collectors.add("Redis is away for 4 s while clients post: all is acknowledged at once, and arrives", _REPEATS)
def collector_without_redis(stage: Stage) -> None:
    stage.workers.start()
    stage.load_over_http(2)
    stage.redis.stop()
    stage.go_on(0.5)
    before = stage.webs.count()
    stage.during("Redis is away", 4)
    taken = stage.webs.count() - before
    stage.notes.append(f"{taken:,} acknowledged without Redis")
    if taken < 100:
        stage.problems.append(f"only {taken} events were acknowledged while Redis was away")
    stage.redis.start()
    stage.go_on(1)


@collectors.add("the disk under the collector's outbox is full, and Redis is down: 503; what it took arrives", _REPEATS)
def disk_full_under_collector(stage: Stage) -> None:
    disk = stage.enter(SmallDisk(stage.directory / "outbox-disk"))
    stage.environ.update(SMALL_JOURNALS, DISPATCHER_OUTBOX__DIRECTORY=str(disk.directory / "outbox"))
    stage.workers.start()
    stage.load_over_http(2)
    stage.redis.stop()
    disk.fill(leave=300_000 if disk.is_mounted else 0, processes=stage.collectors.running)
    wait_for(lambda: _count(stage, 'refused_total{reason="outbox"') > 50, what="the collector to answer 503")
    stage.during("the disk is full", 2)
    disk.free()
    stage.during("the disk has space again", 1)
    stage.redis.start()
    stage.notes.append(disk.kind)
    stage.go_on(1)


@collectors.add(
    "Redis comes back without its last second, while clients send each event twice now and then",
    Expectation(repeats=True, exact=False, quiet_seconds=2.5),
)
def collector_last_second(stage: Stage) -> None:
    stage.workers.start()
    stage.load_over_http(2, impatience=0.3)
    stage.lose_last_seconds(pause=(0.3, 1.5))


@collectors.add(
    'the machine loses power with durability "disk": each event that was acknowledged by then arrives',
    Expectation(damage=True),
)
def collector_power_cut(stage: Stage) -> None:
    disk = stage.enter(LoopDisk(stage.directory / "outbox-disk"))
    stage.environ.update(
        SMALL_JOURNALS,
        DISPATCHER_OUTBOX__DIRECTORY=str(disk.directory / "outbox"),
        DISPATCHER_COLLECTOR__DURABILITY="disk",
        # Nothing else syncs: only what an answer waited for.
        DISPATCHER_OUTBOX__SYNC_SECONDS="60",
        DISPATCHER_RELAY__MODE="external",
    )
    stage.workers.start()
    relay = stage.relays.start()
    stage.load_over_http(2, rate=100)
    stage.relays.forget(relay)
    relay.kill()

    def strike() -> None:
        stage.go_on(0.2, 1)
        synced = stage.webs.synced_by_now()
        image = disk.image()
        stage.webs.cut_power(synced)
        [collector] = stage.collectors.running
        stage.collectors.forget(collector)
        collector.kill()
        disk.come_back(image)
        relay = stage.relays.start()
        stage.wait_until_arrived("what was acknowledged arrives", 60)
        stage.relays.forget(relay)
        assert relay.stop() == 0, relay.output[-2000:]
        stage.load_over_http(2, rate=100)

    stage.strike("power cut", strike, times=5, pause=(0, 0.1))


def _count(stage: Stage, series: str) -> int:
    """The sum of the collector's series whose names begin so; 0 while it does not run."""
    found = re.findall(
        rf"^dispatcher_collector_{re.escape(series)}.* (\d+)$", _get(stage.metrics_port, "/metrics"), re.M
    )
    return sum(map(int, found))


def _get(port: int, path: str) -> str:
    """What the collector answers to a GET; empty while it does not run."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
