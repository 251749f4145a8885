"""Do workers serve every destination, with this version, a right clock and fitting broker options? Asks them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dispatcher.config import mask_url
from dispatcher.doctor.checks.broker import asking_app, unreachable
from dispatcher.doctor.clocks import skew
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.version import __version__

# Seconds in which a worker has to answer. One that is starting, or has a solo pool, may take longer.
_ANSWER_SECONDS: Final = 2.0

# The question of tasks/worker/remote_control.py, by the name that it registers with Celery. The answer has the worker's
# version, clock, visibility timeout and refused messages.
_QUESTION: Final = "dispatcher_worker"

ANSWER: Final = Check(
    "workers.answer",
    "Whether any worker answers.",
    "start one with `dispatcher worker`; one with the solo pool answers only between deliveries",
)
QUEUES: Final = Check(
    "workers.queues",
    "Whether the queue of every enabled destination is served.",
    "start `dispatcher worker -Q {name}`, or a worker without -Q, with settings in which {name} is enabled",
)
VERSION: Final = Check(
    "workers.version",
    "Whether the workers' version of dispatcher is the one installed here.",
    "install the same version everywhere, workers first, and restart them",
)
CLOCK: Final = Check(
    "workers.clock",
    "The workers' clocks against this machine's.",
    "run an NTP client (chrony, systemd-timesyncd) on every machine",
)
VISIBILITY: Final = Check(
    "workers.visibility",
    "The visibility timeout of the broker's transport, if any, against the leases: a message that comes again before "
    "its lease has run out does nothing. Retries do not matter here: they wait in the batch store.",
    "lower the lease_seconds of the destinations to well below {seconds}",
)
REFUSED: Final = Check(
    "workers.refused",
    "Messages in the workers' queues that are not doorbells: workers drop them.",
    "find the program that shares the broker, or the old version of dispatcher; give dispatcher a database of its own",
)
OTHERS: Final = Check(
    "workers.others",
    "Workers of another Celery app on the same broker: both share its memory, and queues with the same name.",
    "give dispatcher a Redis, or at least a database number, of its own",
)

CHECKS: Final = (ANSWER, QUEUES, VERSION, CLOCK, VISIBILITY, REFUSED, OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What one worker answered.

    Args:
        name: Celery's name for it.
        queues: The queues that it serves.
        facts: The answer to dispatcher's own question; empty if it does not know that.
        asked: When it was asked, in seconds since 1970.
        answered: When its answer had come.
    """

    name: str
    queues: frozenset[str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    asked: float = 0.0
    answered: float = 0.0


def check(deployment: Deployment) -> Iterator[Finding]:
    """Ask all workers, and wait for some seconds for their answers."""
    if deployment.quick:
        yield ANSWER.skipped("--quick asks no worker")
        return
    if unreachable(deployment) is not None:
        yield ANSWER.skipped("the broker does not answer")
        return
    try:
        workers = ask(deployment.settings.broker)
    except Exception as error:  # each transport has its own errors
        yield ANSWER.skipped(mask_url(f"the broker took no question: {type(error).__name__}: {error}"))
        return
    yield from check_answers(workers, deployment)


def check_answers(workers: list[Worker], deployment: Deployment) -> Iterator[Finding]:
    """The findings about all workers."""
    destinations = list(deployment.destinations)
    ours = [worker for worker in workers if worker.facts or worker.queues & set(destinations)]
    if not ours:
        yield ANSWER.error("no worker answers: nothing is delivered")
        return
    yield ANSWER.ok(f"{len(ours)} workers answer" if len(ours) > 1 else f"{ours[0].name} answers")
    yield from queues(ours, destinations)
    for worker in ours:
        yield from _check_worker(worker, deployment)
    yield others(workers, ours)


def queues(workers: list[Worker], destinations: list[str]) -> Iterator[Finding]:
    for name in destinations:
        serving = [worker.name for worker in workers if name in worker.queues]
        if serving:
            yield QUEUES.ok(f"{name} is served by {', '.join(serving[:3])}{' and others' if serving[3:] else ''}")
        else:
            yield QUEUES.error(f"no worker serves {name}: its events wait", name=name)


def _check_worker(worker: Worker, deployment: Deployment) -> Iterator[Finding]:
    yield version(worker)
    if not worker.facts:
        return
    yield skew(
        CLOCK,
        worker.name,
        there=float(worker.facts["time"]),
        asked=worker.asked,
        answered=worker.answered,
    )
    yield visibility(worker.name, worker.facts.get("visibility_timeout"), deployment.longest_lease_seconds)
    yield refused(worker.name, worker.facts.get("refused", {}))


def version(worker: Worker) -> Finding:
    theirs = worker.facts.get("version")
    if theirs == __version__:
        return VERSION.ok(f"{worker.name} has {theirs}")
    what = f"{worker.name} has {theirs or 'a version that does not say'}, and this machine has {__version__}"
    return VERSION.warning(what)


def visibility(worker: str, seconds: float | None, lease_seconds: float) -> Finding:
    if seconds is None:
        return VISIBILITY.ok(f"{worker} has no visibility timeout: the bell rings again for a lost message")
    what = f"{worker} has a visibility timeout of {seconds:g} s, and the longest lease is {lease_seconds:g} s"
    return VISIBILITY.warning(what, seconds=f"{seconds:g}") if lease_seconds >= seconds else VISIBILITY.ok(what)


def refused(worker: str, counts: Mapping[str, int]) -> Finding:
    if not counts:
        return REFUSED.ok(f"{worker} has received only doorbells since it was started")
    queues = ", ".join(f"{count:,} from {queue}" for queue, count in sorted(counts.items()))
    return REFUSED.warning(f"{worker} has dropped messages that were not doorbells since it was started: {queues}")


def others(workers: list[Worker], ours: list[Worker]) -> Finding:
    unknown = [worker.name for worker in workers if worker not in ours]
    if unknown:
        return OTHERS.warning(f"another app's workers use this broker: {', '.join(unknown[:3])}")
    return OTHERS.ok("no other app's workers are on this broker")


def ask(broker: str) -> list[Worker]:
    """The answers of all workers. Blocks for the whole time in which they may answer. Raises the transport's errors."""
    app = asking_app(broker, answer_seconds=_ANSWER_SECONDS)
    try:
        queues = app.control.inspect(timeout=_ANSWER_SECONDS).active_queues() or {}
        serving = {worker: [queue["name"] for queue in theirs] for worker, theirs in queues.items()}
        arrived: dict[str, float] = {}

        def note(answer: Mapping[str, Any]) -> None:
            arrived.update(dict.fromkeys(answer, time.time()))

        asked = time.time()
        # Asks only those that answered just now, so that this ends with the last answer.
        facts = _facts(
            app.control.broadcast(
                _QUESTION, destination=sorted(serving), reply=True, timeout=_ANSWER_SECONDS, callback=note
            )
            if serving
            else []
        )
    finally:
        app.close()
    return [
        Worker(
            name=name,
            queues=frozenset(queue_names),
            facts=facts.get(name, {}),
            asked=asked,
            answered=arrived.get(name, asked),
        )
        for name, queue_names in sorted(serving.items())
    ]


def _facts(answers: list[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    # A worker that does not know the question answers {"error": …}.
    return {worker: facts for answer in answers or [] for worker, facts in answer.items() if "version" in (facts or {})}
