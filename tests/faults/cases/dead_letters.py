"""Undeliverable events: one that kills workers, and more dead letters than Redis may hold."""

from __future__ import annotations

from dispatcher.store.dead_letter_files import directory_of
from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.places import read_dead
from tests.faults.sink import answering, failing
from tests.faults.stage import Stage
from tests.support.waiting import wait_for

dead_letters = Cases()

_DEADLY = "deadly"
# The number of the deadly event, in the first thread of each web process: one in some thousands of all events.
_DEADLY_N = 500
# A lease lasts 2 s. It takes about 14 leases to isolate the event, and a new worker after each.
_ISOLATED_SECONDS = 150.0
# Refused events take this in some seconds. Beyond twice the limit they would be cut, and could not be counted here.
_MAX_DEAD_BYTES = 250_000


# A killed worker also loses other batches whose answers it had no time to record.
@dead_letters.add(
    "an event kills every worker that delivers it, to a destination of its own: it is isolated, all others arrive",
    Expectation(repeats=True, exact=False, patience_seconds=_ISOLATED_SECONDS),
)
def deadly_event(stage: Stage) -> None:
    stage.add_sink(_DEADLY, "tests.faults.deadly:Deadly")
    workers = [stage.workers.start("-n", f"{name}@%h") for name in ("one", "two")]
    stage.load(1 if stage.short else 2, "--deadly", str(_DEADLY_N))
    stage.during("a deadly event is there", 8)
    stage.end_load()
    seconds = stage.wait_until_arrived("the deadly events are isolated", _ISOLATED_SECONDS)
    counts = stage.site.counts(_DEADLY)
    dead = read_dead(stage.redis, _DEADLY)
    wanted = {key for key in stage.webs.emitted().sure if key.endswith(f".0.{_DEADLY_N}")}
    stage.notes.append(f"isolated {seconds:.0f} s after the load: {counts.delivered:,} delivered, {counts.dead} dead")
    if dead != wanted or set(counts.dead_by_reason) != {"worker_lost"}:
        stage.problems.append(f"{sorted(wanted)} should be dead, and {sorted(dead)} are: {counts.dead_by_reason}")
    # After that many crashes a supervisor waits up to ten seconds.
    wait_for(lambda: all(stage.workers.celery_pid(worker) for worker in workers), what="both workers to run again")


@dead_letters.add(
    "the sink refuses everything for a while: dead letters beyond their limit go to files, workers are killed",
    Expectation(repeats=True, dead_letters=True),
)
def dead_letters_beyond_limit(stage: Stage) -> None:
    stage.environ["DISPATCHER_DESTINATIONS__SEGMENT__DEAD__MAX_BYTES"] = str(_MAX_DEAD_BYTES)
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    # A light load, since each dead letter takes a request of its own.
    stage.load(2, rate=20)
    stage.sink.behave(failing(400))
    # Kills begin at half of the limit, and the sink answers again a little beyond it, however fast this machine is now.
    wait_for(
        lambda: stage.site.counts("segment").dead_bytes > _MAX_DEAD_BYTES / 2, 90, what="half of the limit to be dead"
    )
    stage.strike("kill -9", stage.workers.kill_celery, times=3, pause=(0.2, 0.6))

    def has_exceeded() -> bool:
        counts = stage.site.counts("segment")
        return counts.dead_bytes > 1.1 * _MAX_DEAD_BYTES or counts.dead_filed > 0

    wait_for(has_exceeded, 90, what="more to be dead than the limit")
    stage.sink.behave(answering)
    stage.go_on(1)
    stage.end_load()
    stage.wait_until_arrived("the rest arrives", 90)
    # Workers check the limit every ten seconds.
    wait_for(lambda: stage.site.counts("segment").dead_bytes <= _MAX_DEAD_BYTES, what="dead letters to go to files")
    counts = stage.site.counts("segment")
    files = len(list(directory_of(stage.site.settings().state_directory).glob("segment-*")))
    stage.notes.append(f"{counts.dead} dead letters, {counts.dead_filed} of them in {files} files")
    if not counts.dead_filed:
        stage.problems.append(f"no dead letter went to a file: {counts}")
