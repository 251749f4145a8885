"""What operators and machines do: deploys, changed settings, two relays, jumping clocks, failing destinations."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.case import Cases, NotHereError
from tests.faults.clock import FakeClock, find_library
from tests.faults.expectation import Expectation
from tests.faults.numbering import BOTH, LOG_ONLY
from tests.faults.sink import answering, hanging, slow
from tests.faults.stage import Stage
from tests.support.processes import Child

operations = Cases()

_REPEATS = Expectation(repeats=True)

# Milliseconds that the log's latency may reach on a busy machine anyway. A thread blocked by the hanging destination
# costs seconds.
_FLOOR_MS = 500.0


@operations.add("two relays beside web processes that have none")
def two_relays(stage: Stage) -> None:
    stage.environ["DISPATCHER_RELAY__MODE"] = "external"
    stage.workers.start()
    stage.relays.start()
    stage.relays.start()
    stage.load(3)

    def strike() -> None:
        # The other relay takes over its outboxes.
        stage.relays.kill_one()
        stage.webs.kill_one()

    stage.strike("a relay and a web process killed", strike, times=4, pause=(0.5, 1.5))


@operations.add("the allowlist changes and changes back under load")
def settings_reload(stage: Stage) -> None:
    # The list at the time of relaying decides: some of the log's events go to the sink too, and all due events do.
    stage.workers.start()
    stage.load(2)

    def strike() -> None:
        wide = stage.chance.random() < 0.5
        stage.allow([BOTH, LOG_ONLY] if wide else [BOTH])

    stage.strike("allowlist written", strike, times=8, pause=(0.3, 0.8))


@operations.add("rolling deploy: SIGTERM of one worker after another, threads pool")
def deploy_threads(stage: Stage) -> None:
    _deploy(stage, "threads")


@operations.add("rolling deploy: SIGTERM of one worker after another, prefork pool")
def deploy_prefork(stage: Stage) -> None:
    _deploy(stage, "prefork")


@operations.add("SIGTERM of web processes and the external relay")
def deploy_web(stage: Stage) -> None:
    stage.environ["DISPATCHER_RELAY__MODE"] = "external"
    stage.workers.start()
    stage.relays.start()
    stage.load(3)

    def strike() -> None:
        # A plain script: SIGTERM ends it at once, and its outbox is adopted.
        stage.webs.stop_one()
        relay = stage.chance.choice(stage.relays.running)
        stage.relays.forget(relay)
        code = relay.stop()
        assert code == 0, f"the relay ended with {code}: {relay.output[-500:]}"
        stage.relays.start()

    stage.strike("SIGTERM", strike, times=4, pause=(0.5, 1.2))


@operations.add("the clocks of web processes jump an hour ahead and back")
def clock_of_web(stage: Stage) -> None:
    clock = _clock(stage, "web")
    stage.workers.start()
    stage.load(2, **clock.environ)
    stage.strike("jump", _jumps(clock, stage), times=6, pause=(0.5, 1.2))
    clock.jump(0)


@operations.add("the clocks of all workers jump an hour ahead and back", _REPEATS)
def clock_of_workers(stage: Stage) -> None:
    clock = _clock(stage, "workers")
    stage.workers.start(**clock.environ)
    stage.load(2)
    stage.strike("jump", _jumps(clock, stage), times=6, pause=(0.5, 1.2))
    clock.jump(0)


@operations.add("the clock of Redis jumps an hour ahead and back: leases run out, due times pass", _REPEATS)
def clock_of_redis(stage: Stage) -> None:
    clock = _clock(stage, "redis")
    stage.redis.stop()
    stage.redis.environ.update(clock.environ)
    try:
        stage.redis.start()
    except AssertionError:
        raise NotHereError("this Redis does not start under libfaketime, as some builds do not") from None
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    # Slow, so that leases expire during deliveries.
    stage.sink.behave(slow(0.05))
    stage.load(2)
    stage.strike("jump", _jumps(clock, stage), times=8, pause=(0.3, 1.0))
    clock.jump(0)


@operations.add("the clock of one worker of two jumps an hour ahead and back", _REPEATS)
def clock_of_one_worker(stage: Stage) -> None:
    clock = _clock(stage, "one")
    stage.workers.start("-n", "one@%h", **clock.environ)
    stage.workers.start("-n", "two@%h")
    stage.load(2)
    stage.strike("jump", _jumps(clock, stage), times=6, pause=(0.5, 1.2))
    clock.jump(0)


@operations.add("one worker serves a dead and a hanging destination beside the healthy ones", is_alone=True)
def ill_destinations(stage: Stage) -> None:
    dead, ill = stage.add_sink("dead"), stage.add_sink("ill")
    stage.environ["DISPATCHER_DESTINATIONS__ILL__TIMEOUT_SECONDS"] = "3"
    stage.environ["DISPATCHER_DESTINATIONS__ILL__LEASE_SECONDS"] = "4"
    stage.workers.start("-c", "4")
    latency = stage.follow_log()
    stage.load(2)
    latency.begin("all well")
    stage.during("all are well", 5)
    dead.close()
    ill.behave(hanging)
    latency.begin("two ill")
    stage.during("two are ill", 10)
    latency.begin("")
    stage.notes.append(f"log p50 / p99: {latency.story('all well')}, {latency.story('two ill')}")
    limit = max(_FLOOR_MS, 2 * latency.quantile("all well", 0.99))
    if latency.quantile("two ill", 0.99) > limit:
        stage.problems.append(f"the log's p99 went from {latency.story('all well')} to {latency.story('two ill')}")
    dead.start()
    ill.behave(answering)


def _deploy(stage: Stage, pool: str) -> None:
    def start(number: int) -> Child:
        return stage.workers.start("-P", pool, "-c", "2", "-n", f"w{number}@%h")

    numbers = iter(range(100))
    old = [start(next(numbers)), start(next(numbers))]
    stops: list[float] = []
    # Half the usual load, since a deploy takes its time.
    stage.load(2, rate=125)

    def strike() -> None:
        leaving = old.pop(0)
        old.append(start(next(numbers)))
        stage.workers.forget(leaving)
        began = time.monotonic()
        code = leaving.stop(40)
        stops.append(time.monotonic() - began)
        if code != 0:
            stage.problems.append(f"a worker ended with {code} after SIGTERM: {leaving.output[-500:]}")

    stage.strike("SIGTERM", strike, times=4, pause=(0.3, 1.0))
    stage.notes.append(f"each took up to {max(stops):.1f} s to end")


def _clock(stage: Stage, name: str) -> FakeClock:
    library = find_library()
    if library is None:
        raise NotHereError("libfaketime is not installed: apt-get install faketime")
    return FakeClock(stage.directory / f"{name}.clock", library)


def _jumps(clock: FakeClock, stage: Stage) -> Callable[[], None]:
    return lambda: clock.jump(stage.chance.choice([0, 3600, -3600, 90, -90]))
