"""Kill -9 of each kind of process, at random moments under load."""

from __future__ import annotations

from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.sink import slow
from tests.faults.stage import Stage

kills = Cases()

_PAUSE = (0.2, 1.0)
# A kill may lose answers of the sink before they are recorded: the messages are sent again, with the same ids.
_REPEATS = Expectation(repeats=True)
# Seconds that the sink takes for an answer, so that a kill meets requests in progress.
_ANSWER_SECONDS = 0.03
# How often a worker's supervisor is killed instead of its Celery process.
_SUPERVISORS = 0.3
_EXTERNAL = {"DISPATCHER_RELAY__MODE": "external"}


@kills.add("kill -9 of web processes with a relay thread", in_tests=True)
def kill_web(stage: Stage) -> None:
    stage.workers.start()
    stage.load(3)
    stage.strike("kill -9", stage.webs.kill_one, times=8, pause=_PAUSE)
    stage.go_on(0.5)


@kills.add("kill -9 of web processes that leave the relay to another process")
def kill_web_with_external_relay(stage: Stage) -> None:
    stage.environ.update(_EXTERNAL)
    stage.workers.start()
    stage.relays.start()
    stage.load(3)
    stage.strike("kill -9", stage.webs.kill_one, times=5, pause=_PAUSE)


@kills.add("kill -9 of the external relay")
def kill_relay(stage: Stage) -> None:
    stage.environ.update(_EXTERNAL)
    stage.workers.start()
    stage.relays.start()
    stage.load(2)
    stage.strike("kill -9", stage.relays.kill_one, times=8, pause=_PAUSE)


@kills.add("kill -9 of workers and of their supervisors, threads pool", _REPEATS)
def kill_worker(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2)

    stage.strike("kill -9", lambda: kill_a_worker(stage), times=6, pause=(0.3, 2.5))


def kill_a_worker(stage: Stage) -> None:
    """Kill -9 a Celery process, or its supervisor."""
    if stage.chance.random() < _SUPERVISORS:
        stage.workers.kill_one()
    else:
        stage.workers.kill_celery()


@kills.add("kill -9 of children of a prefork worker", _REPEATS)
def kill_pool_child(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    worker = stage.workers.start("-P", "prefork", "-c", "3")
    stage.load(2)
    stage.strike("kill -9", lambda: stage.workers.kill_pool_child(worker), times=8, pause=(0.3, 1.2))


@kills.add("kill -9 of the parent of a prefork worker", _REPEATS)
def kill_pool_parent(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    for name in ("one", "two"):
        stage.workers.start("-P", "prefork", "-c", "2", "-n", f"{name}@%h")
    stage.load(2)
    stage.strike("kill -9", stage.workers.kill_celery, times=5, pause=(0.5, 2.5))


@kills.add("kill -9 of Redis, started again with what it had kept", Expectation(repeats=True, restarts=True))
def kill_redis(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.workers.start()
    stage.load(2)
    stage.strike("kill -9", stage.redis.restart, times=6, pause=(0.3, 2.0))


@kills.add("kill -9 of anything, one after another", Expectation(repeats=True, restarts=True))
def kill_anything(stage: Stage) -> None:
    stage.sink.behave(slow(_ANSWER_SECONDS))
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.relays.start()
    stage.load(2)

    def strike() -> None:
        victim = stage.chance.choice(["web", "relay", "supervisor", "worker", "redis"])
        if victim == "web":
            stage.webs.kill_one()
        elif victim == "redis":
            stage.redis.restart()
        elif victim == "worker":
            stage.workers.kill_celery()
        elif victim == "relay":
            stage.relays.kill_one()
        else:
            stage.workers.kill_one()

    stage.strike("kill -9", strike, times=12, pause=(0.2, 1.2))
