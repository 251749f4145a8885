"""Failures while events wait for pages: each is handed over once by its visitor's page, or dead with its reason."""

from __future__ import annotations

from tests.faults.case import Cases
from tests.faults.cases.kills import kill_a_worker
from tests.faults.expectation import Expectation
from tests.faults.stage import Stage

handover = Cases()

# The sink's answers may be lost; see the other cases of these kinds.
_REPEATS = Expectation(repeats=True)


@handover.add("kill -9 of the collector while pages ask for their events and acknowledge them")
def handover_kill_collector(stage: Stage) -> None:
    stage.load_by_pages()

    def strike() -> None:
        # Not before it has answered some: it takes longer to start than to be killed.
        least = stage.webs.count() + stage.chance.uniform(10, 100)
        while stage.webs.count() < least:
            stage.go_on(0.05)
        stage.collectors.kill_one()

    stage.strike("kill -9", strike, times=8, pause=(0.1, 0.5))
    stage.go_on(0.5)


@handover.add("kill -9 of workers while they post events for pages", _REPEATS)
def handover_kill_worker(stage: Stage) -> None:
    stage.load_by_pages()
    stage.workers.start("-n", "two@%h")
    stage.strike("kill -9", lambda: kill_a_worker(stage), times=6, pause=(0.3, 2.5))


@handover.add(
    "Redis comes back without its last second, while events wait for pages and are acknowledged",
    Expectation(repeats=True, exact=False, quiet_seconds=2.5),
    in_tests=True,
)
def handover_last_second(stage: Stage) -> None:
    stage.load_by_pages()
    stage.lose_last_seconds(pause=(0.3, 1.5))


@handover.add("Redis is stopped (SIGSTOP) for 7 s while pages ask for their events", _REPEATS)
def handover_redis_stands_still(stage: Stage) -> None:
    stage.load_by_pages()
    stage.redis.freeze()
    stage.during("Redis stands still", 7)
    stage.redis.thaw()
    stage.go_on(1)


@handover.add("pages that are gone before half of the answers: acknowledgements come twice, late, and before the post")
def handover_impatient_pages(stage: Stage) -> None:
    stage.load_by_pages(impatience=0.5)
    stage.during("pages do not wait for answers", 10)


@handover.add(
    "every other page leaves for good: what waits for its visitor is dead after handover_hours",
    Expectation(dead_letters=True),
)
def handover_leaving_pages(stage: Stage) -> None:
    stage.load_by_pages("--leaving", handover_hours=0.01)
    stage.during("pages leave", 3)
