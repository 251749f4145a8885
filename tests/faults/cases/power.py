"""The machine loses power: synced events are there afterwards, and later ones may be."""

from __future__ import annotations

from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.loop_disk import LoopDisk
from tests.faults.stage import Stage

power = Cases()

_EXTERNAL = {"DISPATCHER_RELAY__MODE": "external"}
_SMALL_JOURNALS = {
    "DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "65536",
    "DISPATCHER_OUTBOX__JOURNAL_BYTES": "131072",
}
_USUAL_JOURNALS = {
    "DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "1048576",
    "DISPATCHER_OUTBOX__JOURNAL_BYTES": "4194304",
}
# Seconds beyond outbox.sync_seconds that a sync may take on a busy machine.
_SYNC_TAKES_SECONDS = 1.0


@power.add(
    "the machine loses power while web processes emit: what was synced arrives",
    Expectation(damage=True),
    in_tests=True,
)
def power_cut(stage: Stage) -> None:
    disk = stage.enter(LoopDisk(stage.directory / "outbox-disk"))
    stage.environ.update(_EXTERNAL, DISPATCHER_OUTBOX__DIRECTORY=str(disk.directory / "outbox"))
    stage.workers.start()

    def strike() -> None:
        sync_seconds = stage.chance.uniform(0.2, 0.5)
        stage.environ["DISPATCHER_OUTBOX__SYNC_SECONDS"] = f"{sync_seconds:.2f}"
        stage.environ.update(stage.chance.choice([_SMALL_JOURNALS, _USUAL_JOURNALS]))
        stage.webs.start(rate=150)
        stage.webs.start(rate=stage.chance.choice([20, 300]))
        stage.go_on(0.2, 2)
        stage.webs.start()  # this one has hardly begun
        stage.go_on(0, 0.2)
        synced = stage.webs.synced_by_now()
        stage.webs.start(wait=False)  # this one may be about to begin when the power goes
        stage.go_on(sync_seconds + _SYNC_TAKES_SECONDS, sync_seconds + _SYNC_TAKES_SECONDS + 0.7)
        image = disk.image()
        stage.webs.cut_power(synced)
        disk.come_back(image)
        relay = stage.relays.start()
        stage.wait_until_arrived("what was synced arrives", 60)
        stage.relays.forget(relay)
        assert relay.stop() == 0, relay.output[-2000:]

    stage.strike("power cut", strike, times=6, pause=(0, 0.1))
    stage.notes.append(f"{len(stage.webs.emitted().unsure):,} more events of the last moments may be there or not")
