"""Failures of Redis: it refuses, stands still, restarts, forgets, and runs out of memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.stage import Stage

redis_faults = Cases()

# An answer of the sink may come while there is no Redis to record it.
_REPEATS = Expectation(repeats=True)
# Events that Redis has forgotten are put again, delivered ones too. The ledger's numbers start anew.
_FORGOTTEN = Expectation(repeats=True, exact=False, quiet_seconds=2.5)


@redis_faults.add("Redis refuses connections for 4 s", _REPEATS)
def redis_refuses(stage: Stage) -> None:
    stage.under_load(stage.redis.stop, "Redis refuses", 4, stage.redis.start)
    stage.go_on(1)


@redis_faults.add("Redis is stopped (SIGSTOP) for 7 s, longer than every timeout", _REPEATS)
def redis_stands_still(stage: Stage) -> None:
    stage.under_load(stage.redis.freeze, "Redis stands still", 7, stage.redis.thaw)
    stage.go_on(1)


@redis_faults.add("Redis comes back without its last second (appendfsync everysec)", _FORGOTTEN, in_tests=True)
def redis_last_second(stage: Stage) -> None:
    stage.workers.start()
    stage.load(2)
    stage.lose_last_seconds(pause=(0.3, 1.5))


@redis_faults.add(
    "Redis comes back without its last second, within which relays are killed and started again",
    _FORGOTTEN,
    in_tests=True,
)
def redis_last_second_relay_killed(stage: Stage) -> None:
    stage.environ["DISPATCHER_RELAY__MODE"] = "external"
    stage.workers.start()
    stage.relays.start()
    stage.relays.start()
    stage.load(2)
    _lose_seconds(stage, stage.relays.kill_one)


@redis_faults.add(
    "Redis comes back without its last second, within which web processes with a relay thread are killed", _FORGOTTEN
)
def redis_last_second_web_killed(stage: Stage) -> None:
    stage.workers.start()
    stage.load(3)
    _lose_seconds(stage, stage.webs.kill_one)


def _lose_seconds(stage: Stage, kill: Callable[[], None]) -> None:
    copies = (stage.directory / f"redis-copy-{number}" for number in count())

    def strike() -> None:
        copy = next(copies)
        stage.redis.save_to(copy)
        stage.go_on(0.1, 0.6)
        kill()
        stage.go_on(0.1, 0.7)
        # Half of the time before Redis is back, so that no process which noticed the loss is left to repair it.
        before = stage.chance.random() < 0.5
        if before:
            kill()
        stage.redis.bring_back(copy)
        if not before:
            kill()

    stage.strike("last second lost", strike, times=6, pause=(0.5, 2))
    stage.go_on(1)


@redis_faults.add("Redis comes back empty", _FORGOTTEN, in_tests=True)
def redis_empty(stage: Stage) -> None:
    stage.workers.start()
    stage.load(2)
    stage.strike("emptied", stage.redis.wipe, times=4, pause=(0.5, 2))
    stage.go_on(1)


@redis_faults.add(
    "Redis comes back empty while all waits for a sink that is down, a web process killed before", _FORGOTTEN
)
def redis_empty_with_backlog(stage: Stage) -> None:
    stage.workers.start()
    stage.load(3)
    stage.sink.close()
    stage.during("the sink is down", 2)
    # Another process must relay and keep its outbox.
    stage.webs.kill_one()
    stage.during("the sink is down", 1.5)
    stage.redis.wipe()
    stage.during("Redis is empty", 2)
    stage.sink.start()


@redis_faults.add("Redis is out of memory (noeviction) for 3 s, twice", _REPEATS)
def redis_out_of_memory(stage: Stage) -> None:
    stage.workers.start()
    stage.load(2)

    def strike() -> None:
        stage.redis.call("CONFIG", "SET", "maxmemory", "1")
        stage.go_on(3)
        stage.redis.call("CONFIG", "SET", "maxmemory", "0")

    stage.strike("out of memory", strike, times=2, pause=(0.3, 1))
    stage.go_on(1)
