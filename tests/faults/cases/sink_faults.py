"""Failures of a destination's server: it refuses, throttles, hangs, cuts connections and answers late."""

from __future__ import annotations

from functools import partial

from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.sink import (
    Behaviour,
    answering,
    cutting,
    failing,
    hanging,
    late,
    refusing_poison,
    sometimes,
    throttling,
)
from tests.faults.stage import Stage

sink_faults = Cases()

# The sink may have taken messages without an answer, so they are sent again; it recognises them by their ids.
_REPEATS = Expectation(repeats=True)
_IMPATIENT = {"DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT_SECONDS": "0.5"}
_FAILING_FRACTION = 0.0664


@sink_faults.add("the sink refuses connections for 4 s")
def sink_refuses(stage: Stage) -> None:
    stage.under_load(stage.sink.close, "the sink refuses", 4, stage.sink.start)


@sink_faults.add("the sink answers 500 for 4 s")
def sink_500(stage: Stage) -> None:
    _behaving(stage, failing(500), "500", 4)


@sink_faults.add("the sink answers 429 with Retry-After, in seconds and then as a date")
def sink_429(stage: Stage) -> None:
    stage.workers.start()
    stage.load(2)
    before = stage.sink.requests
    for as_date in (False, True):
        stage.sink.behave(throttling(2, as_date=as_date))
        stage.during("429", 3)
    stage.sink.behave(answering)
    stage.notes.append(f"{stage.sink.requests - before} requests in 6 s")


@sink_faults.add("the sink answers 400 to any request with one event in a thousand", in_tests=True)
def sink_poison(stage: Stage) -> None:
    stage.sink.behave(refusing_poison)
    stage.expects_poison = True
    stage.workers.start(DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS="100")
    stage.load(2, "--poison", rate=600)
    stage.during("poison", 5)


@sink_faults.add("the sink answers 401 for 4 s: a wrong write key")
def sink_401(stage: Stage) -> None:
    _behaving(stage, failing(401), "401", 4)


@sink_faults.add("the sink reads requests and never answers, for 5 s", _REPEATS)
def sink_hangs(stage: Stage) -> None:
    stage.environ.update(_IMPATIENT)
    _behaving(stage, hanging, "hanging", 5)


@sink_faults.add("the sink takes a request and cuts the connection, three times in ten", _REPEATS)
def sink_cuts(stage: Stage) -> None:
    _behaving(stage, sometimes(0.3, stage.chance, cutting), "cutting", 5)


@sink_faults.add("the sink takes a request and answers after our timeout, three times in ten", _REPEATS)
def sink_late(stage: Stage) -> None:
    stage.environ.update(_IMPATIENT)
    _behaving(stage, sometimes(0.3, stage.chance, late(0.8)), "late answers", 5)


@sink_faults.add("the sink fails 6.64 % of all requests at random, to the end")
def sink_fails_at_random(stage: Stage) -> None:
    stage.sink.behave(sometimes(_FAILING_FRACTION, stage.chance, failing(500)))
    stage.workers.start()
    stage.load(2, rate=400)
    stage.during("6.64 % fail", 7)
    stage.end_load()
    failed, requests = stage.sink.statuses["500"], stage.sink.requests
    stage.notes.append(f"{failed} of {requests} requests failed: {failed / requests:.2%}")


def _behaving(stage: Stage, behaviour: Behaviour, what: str, seconds: float) -> None:
    """Have the sink behave like this for some seconds under load, and then answer normally."""
    stage.under_load(partial(stage.sink.behave, behaviour), what, seconds, partial(stage.sink.behave, answering))
