"""The rate that all workers share, in a real Redis: with a clock that the tests set, and in real processes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import RateLimit
from dispatcher.store.rate_limit import Permit, SharedRate
from tests.support.clock import Clock
from tests.support.processes import Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.every_server

NAME = "sailthru"
START = 1_000_000.0
THROTTLED = RetryAfter("answered 429", None, "throttled")


@pytest.fixture
def pool(server: RedisServer) -> Iterator[RedisPool]:
    server.call("FLUSHALL")
    pool = RedisPool(server.url, timeout_seconds=30)
    yield pool
    pool.close()


def a_rate(pool: RedisPool, clock: Clock, per_second: float = 10, burst: int = 1) -> SharedRate:
    return SharedRate(pool, NAME, per_second=per_second, burst=burst, clock=clock)


def shown(pool: RedisPool, clock: Clock) -> RateLimit:
    found = BatchStore(pool, clock=clock).counts([NAME])[NAME].rate
    assert found is not None
    return found


def waits(rate: SharedRate, count: int, max_wait_seconds: float = 100.0) -> list[float]:
    return [round(rate.take(max_wait_seconds).wait_seconds, 3) for _ in range(count)]


def use(rate: SharedRate, clock: Clock, outcome: Outcome) -> Outcome:
    """Take a permit, wait for it, and record the outcome of the request."""
    permit = rate.take(1e6)
    clock.now += permit.wait_seconds
    return rate.record(permit, outcome)


# Permits


def test_permits_are_spread_evenly_among_any_number_of_callers(pool: RedisPool, clock: Clock) -> None:
    assert waits(a_rate(pool, clock), 5) == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_pause_allows_one_burst(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, burst=3)
    assert waits(rate, 5) == [0, 0, 0, 0.1, 0.2]
    clock.now += 3600
    assert waits(rate, 5) == [0, 0, 0, 0.1, 0.2]


def test_a_rate_may_be_below_one_per_second(pool: RedisPool, clock: Clock) -> None:
    assert waits(a_rate(pool, clock, per_second=0.1), 3) == [0, 10, 20]


def test_a_permit_beyond_max_wait_is_refused_and_uses_none_of_the_rate(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    rate.take(0)
    refused = [rate.take(0.05) for _ in range(10)]
    assert {(permit.is_granted, round(permit.wait_seconds, 3)) for permit in refused} == {(False, 0.1)}
    assert rate.take(0.15) == Permit(wait_seconds=0.1, spacing_seconds=0.1)


def test_the_maximum_wait_may_be_infinite(pool: RedisPool, clock: Clock) -> None:
    assert a_rate(pool, clock).take(math.inf).is_granted


def test_each_destination_has_its_own_rate(pool: RedisPool, clock: Clock) -> None:
    a_rate(pool, clock).take(0)
    assert SharedRate(pool, "webhook", per_second=10, clock=clock).take(0).is_granted


def test_a_new_rate_in_the_settings_holds_from_the_next_permit_on(pool: RedisPool, clock: Clock) -> None:
    waits(a_rate(pool, clock, per_second=1), 1)
    clock.now += 1
    assert waits(a_rate(pool, clock, per_second=100), 3) == [0, 0.01, 0.02]


def test_a_clock_set_back_makes_nobody_wait(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    rate.take(0)
    clock.now -= 3600
    assert waits(rate, 2) == [0.1, 0.2]


def test_the_rate_limit_in_redis_expires(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    rate.take(0)
    rate.record(Permit(), RetryAfter("answered 429", 86_400, "throttled"))
    assert 86_400 < pool.execute("TTL", keys.RATE.of(NAME)) <= 2 * 86_400


# Throttling


def test_a_throttled_request_halves_the_rate_and_counts_as_rate_limited(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    assert use(rate, clock, THROTTLED) == RetryAfter("answered 429", None, "rate_limited")
    assert waits(rate, 3) == [0.2, 0.4, 0.6]
    assert shown(pool, clock) == RateLimit(per_second=10, current_per_second=5, error="answered 429")


def test_concurrent_throttled_requests_halve_the_rate_once(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, burst=8)
    permits = [rate.take(0) for _ in range(8)]
    found = [rate.record(permit, THROTTLED) for permit in permits]
    assert {outcome.retry_class for outcome in found if isinstance(outcome, RetryAfter)} == {"rate_limited"}
    assert shown(pool, clock).current_per_second == 5


def test_throttling_withdraws_permits_that_are_still_to_come(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    first, second = rate.take(1), rate.take(1)
    assert rate.is_valid(second)
    rate.record(first, THROTTLED)
    assert not rate.is_valid(second)
    assert rate.is_valid(rate.take(1))


def test_the_rate_stops_at_a_64th_and_then_the_breaker_counts(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, per_second=64)
    classes = []
    for _ in range(8):
        outcome = use(rate, clock, THROTTLED)
        assert isinstance(outcome, RetryAfter)
        classes.append(outcome.retry_class)
    assert classes == ["rate_limited"] * 6 + ["throttled"] * 2
    assert shown(pool, clock).current_per_second == 1


def test_no_permit_comes_before_the_retry_after_is_over(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, burst=5)
    assert use(rate, clock, RetryAfter("answered 429", 3, "throttled")) == RetryAfter("answered 429", 3, "rate_limited")
    assert shown(pool, clock).until_ms == int((START + 3) * 1000)
    assert not rate.take(2.9).is_granted
    # Half of the rate, and no burst.
    assert waits(rate, 2) == [3.2, 3.4]
    clock.now += 10
    assert shown(pool, clock).until_ms is None


def test_a_long_retry_after_goes_to_the_breaker_and_delays_permits_too(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock)
    asked = RetryAfter("answered 429", 3600, "throttled")
    assert use(rate, clock, asked) == asked
    assert not rate.take(3599).is_granted


def test_a_late_retry_after_delays_permits_and_does_not_halve_the_rate_again(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, burst=2)
    early, late = rate.take(0), rate.take(0)
    rate.record(early, THROTTLED)
    rate.record(late, RetryAfter("answered 429", 4, "throttled"))
    assert shown(pool, clock).current_per_second == 5
    assert not rate.take(3.9).is_granted


@pytest.mark.parametrize("outcome", [DELIVERED, Dead("invalid", "answered 400")], ids=["taken", "refused"])
def test_answers_restore_the_rate_within_a_minute(pool: RedisPool, clock: Clock, outcome: Outcome) -> None:
    rate = a_rate(pool, clock, per_second=16)
    for _ in range(7):
        use(rate, clock, THROTTLED)
    slowest, began = clock.now, shown(pool, clock).current_per_second
    speeds = []
    while shown(pool, clock).current_per_second < 16:
        use(rate, clock, outcome)
        speeds.append(shown(pool, clock).current_per_second)
        assert clock.now < slowest + 70, speeds
    assert began == 0.25
    assert speeds == sorted(speeds)
    assert clock.now > slowest + 50
    assert shown(pool, clock) == RateLimit(per_second=16, current_per_second=16)


def test_an_hour_without_answers_restores_the_rate_by_seconds_only(pool: RedisPool, clock: Clock) -> None:
    rate = a_rate(pool, clock, per_second=60)
    use(rate, clock, THROTTLED)
    clock.now += 3600
    assert shown(pool, clock).current_per_second == 30
    use(rate, clock, DELIVERED)
    assert shown(pool, clock).current_per_second == pytest.approx(35, abs=0.1)


@pytest.mark.parametrize("retry_class", ["transient", "setup", "rate_limited"])
def test_other_failures_neither_lower_nor_restore_the_rate(pool: RedisPool, clock: Clock, retry_class: str) -> None:
    rate = a_rate(pool, clock)
    failure = RetryAfter("answered 503", 7, retry_class)  # type: ignore[arg-type]
    assert use(rate, clock, failure) == failure
    assert shown(pool, clock).current_per_second == 10
    use(rate, clock, THROTTLED)
    clock.now += 3
    use(rate, clock, failure)
    assert shown(pool, clock).current_per_second == 5


def test_a_destination_without_a_rate_shows_none(pool: RedisPool, clock: Clock) -> None:
    assert BatchStore(pool, clock=clock).counts([NAME])[NAME].rate is None


# Redis


def test_without_redis_no_permit_is_given_and_throttling_goes_to_the_breaker() -> None:
    pool = RedisPool("redis://127.0.0.1:1", timeout_seconds=30)
    rate = SharedRate(pool, NAME, per_second=10)
    permit = rate.take(1000)
    assert not permit.is_granted
    assert "the rate is not known: Redis at redis://127.0.0.1:1/0 does not answer" in permit.error
    assert not rate.is_valid(Permit())
    assert rate.record(Permit(), THROTTLED) == THROTTLED
    assert rate.record(Permit(is_slowed=True), DELIVERED) == DELIVERED


def test_a_full_redis_still_gives_permits_as_deliveries_make_room(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    rate = SharedRate(pool, NAME, per_second=1000)
    redis_server.call("SET", "ballast", b"x" * 100_000)
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    permit = rate.take(10)
    assert permit.is_granted, permit
    assert rate.record(permit, THROTTLED) == RetryAfter("answered 429", None, "rate_limited")
    pool.close()


def test_an_emptied_redis_gives_permits_again(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    rate = SharedRate(pool, NAME, per_second=1000)
    used = rate.take(10)
    rate.record(used, THROTTLED)
    slowed = rate.take(10)
    redis_server.wipe()
    assert wait_for(lambda: rate.take(10).is_granted)
    # The lower rate is forgotten, and an earlier permit makes nobody wait.
    assert rate.is_valid(slowed)
    rate.record(slowed, THROTTLED)
    limit = BatchStore(pool).counts([NAME])[NAME].rate
    assert limit is not None
    assert limit.current_per_second == 500
    pool.close()


TAKE = """
import sys, time
from pathlib import Path
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.rate_limit import SharedRate

url, go, end = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
rate = SharedRate(RedisPool(url, timeout_seconds=30), "sailthru", per_second=50, burst=5)
print("ready", flush=True)
while not go.exists():
    time.sleep(0.01)
taken = 0
while not end.exists():
    permit = rate.take(0.2)
    taken += permit.is_granted
    if taken == 3:
        print("begun", flush=True)
    time.sleep(permit.wait_seconds if permit.is_granted else 0.001)
print(taken, flush=True)
"""


def redis_seconds(server: RedisServer) -> float:
    with server.client() as client:
        seconds, microseconds = client.time()
    return float(seconds) + microseconds / 1e6


@pytest.mark.parametrize("restart", [False, True], ids=["undisturbed", "Redis restarted"])
def test_processes_that_share_a_rate_keep_to_it_together(
    tmp_path: Path, redis_server: RedisServer, restart: bool
) -> None:
    go, end = tmp_path / "go", tmp_path / "end"
    processes = Processes(tmp_path, {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path)})
    try:
        children = [processes.python(TAKE, redis_server.url, str(go), str(end)) for _ in range(3)]
        for child in children:
            child.wait_for_output("ready")
        began = redis_seconds(redis_server)
        go.touch()
        for child in children:
            child.wait_for_output("begun")
        if restart:
            redis_server.restart()
        wait_for(lambda: redis_seconds(redis_server) > began + 1, what="a second to pass")
        end.touch()
        taken = sum(int(child.succeed().splitlines()[-1]) for child in children)
        seconds = redis_seconds(redis_server) - began
    finally:
        processes.close()
    # The burst, a permit every 20 ms, and the permits of the next 0.2 s, the maximum wait.
    assert taken <= 5 + 50 * (seconds + 0.2)
    assert taken >= 9


def test_threads_that_ask_together_get_different_permits(pool: RedisPool) -> None:
    rate = SharedRate(pool, NAME, per_second=1, burst=10)
    with ThreadPoolExecutor(16) as threads:
        permits = list(threads.map(lambda _: rate.take(0), range(40)))
    # One more for each second that the test took.
    assert 10 <= sum(permit.is_granted for permit in permits) <= 40
    assert sum(permit.is_granted for permit in permits) < 40
