"""Full disks, and files that are renamed while they are written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.faults.case import Cases
from tests.faults.disk import SmallDisk
from tests.faults.expectation import Expectation
from tests.faults.places import log_files
from tests.faults.stage import Stage
from tests.support.waiting import wait_for

disks = Cases()

#: Small journals, so that a full disk is met soon.
SMALL_JOURNALS = {
    "DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "65536",
    "DISPATCHER_OUTBOX__JOURNAL_BYTES": "131072",
}
_LOGROTATE = """\
{log} {{
    rotate 1000
    missingok
    {mode}
    compress
    delaycompress
}}
"""


@disks.add("the disk under the tracking log is full for 3 s", in_tests=True)
def disk_full_under_log(stage: Stage) -> None:
    disk = stage.enter(SmallDisk(stage.directory / "log-disk"))
    stage.log_to(disk.directory / "tracking.log")
    worker = stage.workers.start()
    stage.load(2)
    disk.fill(leave=100_000, processes=[worker])
    wait_for(lambda: stage.site.counts("tracking_log").last_error, what="the full disk to be noticed")
    stage.during("the disk is full", 3)
    error = stage.site.counts("tracking_log").last_error
    assert "tracking log" in error, error
    disk.free()
    stage.notes.append(disk.kind)


# Messages that the sink took while Redis went down are sent again if their leases expired before it was recorded.
@disks.add(
    "the disk under the outbox is full, and Redis is down: emit refuses, and what it accepted arrives",
    Expectation(repeats=True, refusals=True),
)
def disk_full_under_outbox(stage: Stage) -> None:
    disk = stage.enter(SmallDisk(stage.directory / "outbox-disk"))
    stage.environ.update(SMALL_JOURNALS, DISPATCHER_OUTBOX__DIRECTORY=str(disk.directory / "outbox"))
    stage.workers.start()
    stage.load(2)
    stage.redis.stop()
    disk.fill(leave=300_000 if disk.is_mounted else 0, processes=stage.webs.running)
    wait_for(lambda: stage.webs.emitted().refused > 50, what="emit to refuse")
    stage.during("the disk is full", 2)
    disk.free()
    stage.during("the disk has space again", 1)
    stage.redis.start()
    stage.notes.append(disk.kind)
    stage.go_on(1)


@disks.add("logrotate renames the log while it is written, with delayed compression")
def logrotate(stage: Stage) -> None:
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2, rate=500)
    program = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        stage.notes.append("renamed by hand: logrotate is not installed")
    modes = ["create 0640", "nocreate"]

    def strike() -> None:
        if program is None:
            _rename(stage.site.log, len(log_files(stage.site.log)))
        else:
            stage.chance.shuffle(modes)
            _rotate(program, stage, modes[0])

    stage.strike("rotated", strike, times=10, pause=(0.2, 0.8))


@disks.add("the log rotates and compresses itself while workers are killed", Expectation(repeats=True))
def own_rotation(stage: Stage) -> None:
    own = "DISPATCHER_DESTINATIONS__TRACKING_LOG__ROTATE_"
    stage.environ.update({f"{own}BYTES": "150000", f"{own}COMPRESS": "true"})
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2, rate=500)
    stage.strike("kill -9", stage.workers.kill_one, times=4, pause=(0.5, 2.5))
    stage.go_on(0.5)
    stage.notes.append(f"{len(log_files(stage.site.log))} files")


def _rename(log: Path, number: int) -> None:
    log.rename(log.with_name(f"{log.name}.{number}"))


def _rotate(program: str, stage: Stage, mode: str) -> None:
    config = stage.directory / "logrotate.conf"
    config.write_text(_LOGROTATE.format(log=stage.site.log, mode=mode))
    config.chmod(0o600)
    state = stage.directory / "logrotate.state"
    done = subprocess.run(
        [program, "--force", "--state", str(state), str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
