"""Kill -9 of each kind of process, at random moments under load."""

from __future__ import annotations

from tests.faults.case import Cases
from tests.faults.judgement import Expectation
from tests.faults.sink import slow
from tests.faults.stage import Stage

kills = Cases()

_PAUSE = (0.2, 1.0)
# Answers of the sink that nobody had time to note: it is asked again, and knows the messages by their ids.
_REPEATS = Expectation(repeats=True)
# Seconds that the sink takes for an answer, so that a kill meets requests under way.
_ANSWER_SECONDS = 0.03
# How often it is a worker's keeper that is killed rather than its Celery process.
_KEEPERS = 0.3
_EXTERNAL = {"DISPATCHER_RELAY__MODE": "external"}


@kills.add("kill -9 of web processes with a relay thread", in_tests=True)
def kill_web(stage: Stage) -> None:
    stage.worker()
    stage.load(3)
    stage.strike("kill -9", stage.kill_web, times=8, pause=_PAUSE)
    stage.go_on(0.5)


@kills.add("kill -9 of web processes that leave the relay to another process")
def kill_web_with_external_relay(stage: Stage) -> None:
    stage.environ.update(_EXTERNAL)
    stage.worker()
    stage.relay()
    stage.load(3)
    stage.strike("kill -9", stage.kill_web, times=5, pause=_PAUSE)


@kills.add("kill -9 of the external relay")
def kill_relay(stage: Stage) -> None:
    stage.environ.update(_EXTERNAL)
    stage.worker()
    stage.relay()
    stage.load(2)
    stage.strike("kill -9", lambda: stage.kill(stage.pick(stage.relays())), times=8, pause=_PAUSE)


@kills.add("kill -9 of workers and of their keepers, threads pool", _REPEATS, in_tests=True)
def kill_worker(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.worker("-n", "one@%h")
    stage.worker("-n", "two@%h")
    stage.load(2)

    def strike() -> None:
        worker = stage.pick(stage.workers())
        if stage.chance.random() < _KEEPERS:
            stage.kill(worker)
        else:
            stage.kill_one([stage.celery(worker)])

    stage.strike("kill -9", strike, times=6, pause=(0.3, 2.5))


@kills.add("kill -9 of children of a prefork worker", _REPEATS)
def kill_pool_child(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    worker = stage.worker("-P", "prefork", "-c", "3")
    stage.load(2)
    stage.strike("kill -9", lambda: stage.kill_one(stage.pool(worker)), times=8, pause=(0.3, 1.2))


@kills.add("kill -9 of the parent of a prefork worker", _REPEATS)
def kill_pool_parent(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    workers = [stage.worker("-P", "prefork", "-c", "2", "-n", f"{name}@%h") for name in ("one", "two")]
    stage.load(2)
    stage.strike(
        "kill -9", lambda: stage.kill_one([stage.celery(worker) for worker in workers]), times=5, pause=(0.5, 2.5)
    )


@kills.add("kill -9 of Redis, started again with what it had kept", Expectation(repeats=True, restarts=True))
def kill_redis(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.worker()
    stage.load(2)
    stage.strike("kill -9", stage.redis.restart, times=6, pause=(0.3, 2.0))


@kills.add("kill -9 of anything, one after another", Expectation(repeats=True, restarts=True))
def kill_anything(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.worker("-n", "one@%h")
    stage.worker("-n", "two@%h")
    stage.relay()
    stage.load(2)

    def strike() -> None:
        victim = stage.chance.choice(["web", "relay", "keeper", "worker", "redis"])
        if victim == "web":
            stage.kill_web()
        elif victim == "redis":
            stage.redis.restart()
        elif victim == "worker":
            stage.kill_one([stage.celery(worker) for worker in stage.workers()])
        else:
            stage.kill(stage.pick(stage.relays() if victim == "relay" else stage.workers()))

    stage.strike("kill -9", strike, times=12, pause=(0.2, 1.2))
