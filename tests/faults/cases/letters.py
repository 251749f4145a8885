"""What becomes of events that nobody can take: one that kills workers, and more dead letters than Redis is to hold."""

from __future__ import annotations

from dispatcher.store.dead_letter_files import directory_of
from tests.faults.case import Cases
from tests.faults.judgement import Expectation
from tests.faults.places import read_dead
from tests.faults.sink import answering, failing
from tests.faults.stage import Stage
from tests.support.waiting import wait_for

letters = Cases()

_DEADLY = "deadly"
# Of each web process: the event of its first thread that kills. One in some thousands of all.
_DEADLY_N = 500
# A lease is of 2 s. It takes some 14 of them until the event is alone in its batch, and a new worker after each.
_ISOLATED_SECONDS = 150.0
# What refused events take in some ten seconds. Beyond twice of it they would be cut.
_MAX_LETTER_BYTES = 250_000


# A worker that is killed takes others' batches with it, whose answers nobody had time to note.
@letters.add(
    "an event kills every worker that delivers it, to a destination of its own: it is isolated, all others arrive",
    Expectation(repeats=True, exact=False, patience_seconds=_ISOLATED_SECONDS),
)
def deadly_event(stage: Stage) -> None:
    stage.add_sink(_DEADLY, "tests.faults.deadly:Deadly")
    workers = [stage.worker("-n", f"{name}@%h") for name in ("one", "two")]
    stage.load(1 if stage.short else 2, "--deadly", str(_DEADLY_N))
    stage.during("a deadly event is about", 8)
    stage.end_load()
    seconds = stage.wait_until_arrived("the deadly events are isolated", _ISOLATED_SECONDS)
    counts = stage.site.counts(_DEADLY)
    dead = read_dead(stage.redis, _DEADLY)
    wanted = {key for key in stage.emitted().sure if key.endswith(f".0.{_DEADLY_N}")}
    stage.notes.append(f"isolated {seconds:.0f} s after the load: {counts.delivered:,} delivered, {counts.dead} dead")
    if dead != wanted or set(counts.dead_by_reason) != {"worker_lost"}:
        stage.problems.append(f"{sorted(wanted)} were to be buried, and {sorted(dead)} are: {counts.dead_by_reason}")
    # A keeper waits up to ten seconds after so many ends.
    wait_for(lambda: all(stage.celery(worker) for worker in workers), what="both workers to run again")


@letters.add(
    "the sink refuses everything for 6 s: dead letters beyond their limit go to files, workers are killed",
    Expectation(repeats=True, burials=True),
)
def dead_letters_beyond_limit(stage: Stage) -> None:
    stage.environ["DISPATCHER_DESTINATIONS__SEGMENT__DEAD__MAX_BYTES"] = str(_MAX_LETTER_BYTES)
    stage.worker("-n", "one@%h")
    stage.worker("-n", "two@%h")
    # One request for each letter, so a light load.
    stage.load(2, rate=20)
    stage.sink.behave(failing(400))
    stage.during("the sink refuses", 6)
    stage.strike(
        "kill -9", lambda: stage.kill_one([stage.celery(worker) for worker in stage.workers()]), times=3, pause=(1, 4)
    )
    stage.sink.behave(answering)
    stage.go_on(1)
    stage.end_load()
    stage.wait_until_arrived("the rest arrives", 90)
    # They are looked at every ten seconds.
    wait_for(lambda: stage.site.counts("segment").dead_bytes <= _MAX_LETTER_BYTES, what="letters to go to files")
    counts = stage.site.counts("segment")
    files = len(list(directory_of(stage.site.settings().state_directory).glob("segment-*")))
    stage.notes.append(f"{counts.dead} letters, {counts.dead_filed} of them in {files} files")
    if not counts.dead_filed:
        stage.problems.append(f"no letter went to a file: {counts}")
