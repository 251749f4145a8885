"""Are the outboxes of this machine on a local disk with free room, private to their user, and relayed?"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import (
    IN_MEMORY,
    LAYERED,
    REMOTE,
    Room,
    can_write,
    file_system_of,
    free_room,
    permission_bits,
)
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import BlankStateError, OutboxError
from dispatcher.monitoring.units import count_text, size_text
from dispatcher.outbox import listing
from dispatcher.outbox.damage import damage
from dispatcher.outbox.listing import (
    ADOPTION_LOCK,
    RELAY_LOCK,
    STATE,
    directories,
    journal_indexes,
    journals_bytes,
    names,
)
from dispatcher.outbox.permissions import file_in_the_way
from dispatcher.outbox.state import State
from dispatcher.outbox.stats import OutboxSurvey, survey
from dispatcher.process.system_calls import is_running

# Time for a relay to notice an outbox, beyond relay.adopt_seconds.
_GRACE_SECONDS: Final = 2.0
# Between two surveys.
_PAUSE_SECONDS: Final = 0.2
_FEW_FILES: Final = 1000
# Fractions of outbox.max_bytes: a warning, and an error.
_FILLING, _NEARLY_FULL = 0.5, 0.9

DIRECTORY: Final = Check(
    "outbox.directory",
    "Whether the outbox directory exists and the user who runs this can write to it.",
    "run this as the web app's user; if it already was that user, make {directory} writable for it, or set "
    "DISPATCHER_OUTBOX__DIRECTORY",
)
IN_THE_WAY: Final = Check(
    "outbox.in_the_way",
    "Whether a file has the name of the outbox directory, or of one above it.",
    "move {file} away, or set DISPATCHER_OUTBOX__DIRECTORY to another path",
)
FILE_SYSTEM: Final = Check(
    "outbox.file_system",
    "Whether the outbox is on a local disk: not on NFS and the like, in memory, or in a container's own layer.",
    "set DISPATCHER_OUTBOX__DIRECTORY to a directory on a local disk, or on a volume",
)
PERMISSIONS: Final = Check(
    "outbox.permissions",
    "Whether other users can read the outboxes, which hold what people did: directories need 0700, and files 0600. A "
    "group may read them where the directory has the set-group-id bit, as with 2750.",
    "run `chmod -R {rights} {directory}`",
)
ROOM: Final = Check(
    "outbox.room",
    "Whether the disk has the room and the free files for as much as `outbox.max_bytes` lets the outboxes hold.",
    "make room on the disk of {directory}, or lower DISPATCHER_OUTBOX__MAX_BYTES to the room that it has",
)
FILLING: Final = Check(
    "outbox.filling",
    "How much of `outbox.max_bytes` is in use.",
    "make sure that Redis and a relay run and that Redis is not full; raise DISPATCHER_OUTBOX__MAX_BYTES to gain time",
)
REFUSED: Final = Check(
    "outbox.refused",
    "Whether emit has refused events because an outbox was full: these are lost.",
    "make room as for outbox.filling; the count disappears when the process that refused them ends",
)
STORAGE: Final = Check(
    "outbox.storage",
    "Whether emitted events are kept on disk, from where they are delivered, and not only in memory, as for tests.",
    'unset DISPATCHER_OUTBOX__STORAGE, or set outbox.storage to "disk"',
)
RELAYED: Final = Check(
    "outbox.relayed",
    "Whether a relay reads every outbox in which events wait, including those of dead processes.",
    "run `dispatcher relay` on this machine as the web app's user, or `dispatcher relay --once` for what is there now",
)
RELAY: Final = Check(
    "outbox.relay",
    'Whether a relay runs on this machine where relay.mode = "external".',
    "run `dispatcher relay` as a service beside the web app, as its user, or set DISPATCHER_RELAY__MODE=thread",
)
DAMAGED: Final = Check(
    "outbox.damaged",
    "Pieces of journals that a relay has set aside because they were not whole events.",
    "check the disk, look for readable events in {directory}, and then delete the files",
)
UNREADABLE: Final = Check(
    "outbox.unreadable",
    "Directories with journals but without a usable state file: no relay reads them.",
    "keep a copy of {directory}; its journals hold events, each a header and JSON, which can be read by hand",
)
LEFT_OVER: Final = Check(
    "outbox.left_over",
    "Directories that a process left incomplete when it was killed; they hold no event.",
    "delete {directory}",
)

CHECKS: Final = (
    STORAGE,
    DIRECTORY,
    IN_THE_WAY,
    FILE_SYSTEM,
    PERMISSIONS,
    ROOM,
    FILLING,
    REFUSED,
    RELAYED,
    RELAY,
    DAMAGED,
    UNREADABLE,
    LEFT_OVER,
)


def check(deployment: Deployment) -> Iterator[Finding]:
    """The directory, its contents, and its relay."""
    settings = deployment.settings
    root = settings.outbox_directory
    yield storage(settings.outbox.storage)
    yield (found := in_the_way(root))
    if found.level == "ok":
        yield directory(root)
    yield local_disk(root)
    if not os.path.isdir(root):
        yield enough_room(root, free_room(root), wanted=settings.outbox.max_bytes)
        return
    if not os.access(root, os.R_OK | os.X_OK):
        return  # outbox.directory has reported it
    yield permissions(root)
    used = journals_bytes(root)
    yield enough_room(root, free_room(root), wanted=max(0, settings.outbox.max_bytes - used))
    yield filling(used, settings.outbox.max_bytes)
    yield from unreadable(root)
    yield damaged(root)
    yield from left_over(root)
    max_wait = 0.0 if deployment.quick else settings.relay.adopt_seconds + _GRACE_SECONDS
    yield from relays(root, external=settings.relay.mode == "external", max_wait_seconds=max_wait)


def storage(where: str) -> Finding:
    if where == "memory":
        return STORAGE.error("outbox.storage is memory: nothing that is emitted with these settings is delivered")
    return STORAGE.ok("emitted events are kept on disk")


def in_the_way(root: Path) -> Finding:
    if (file := file_in_the_way(root)) is not None:
        return IN_THE_WAY.error(f"{root} cannot be made: {file} is a file", file=file)
    return IN_THE_WAY.ok(f"{root} is a directory, or can be made")


def directory(root: Path) -> Finding:
    if can_write(root):
        there = "exists and is writable" if os.path.isdir(root) else "will be created at the first event"
        return DIRECTORY.ok(f"{root} {there}")
    return DIRECTORY.error(f"{root} is not writable for this user", directory=root)


def local_disk(root: Path, file_system: str | None = None) -> Finding:
    file_system = file_system_of(root) if file_system is None else file_system
    if file_system in REMOTE:
        return FILE_SYSTEM.error(f"{root} is on {file_system}: locks and memory maps over a network lose events")
    if file_system in IN_MEMORY:
        return FILE_SYSTEM.error(f"{root} is on {file_system}: a restart of the machine deletes the events in it")
    if file_system in LAYERED:
        return FILE_SYSTEM.warning(f"{root} is on {file_system}: its events are deleted with the container")
    return FILE_SYSTEM.ok(f"{root} is on {file_system or 'an unknown file system'}")


def permissions(root: Path) -> Finding:
    # An operator sets this bit to let a group count what waits; whatever is made in the directory follows it.
    shared = bool((permission_bits(root) or 0) & stat.S_ISGID)
    rights, too_many = ("g-w,o-rwx", 0o027) if shared else ("go-rwx", 0o077)
    for path in (root, *_all_below(root)):
        bits = permission_bits(path)
        if bits is not None and bits & too_many:
            can = "write" if bits & 0o022 else "read"
            what = f"{path} has mode {bits:04o}: other users can {can} it"
            return PERMISSIONS.error(what, directory=root, rights=rights)
    who = "their user and the group of the directory" if shared else "their user"
    return PERMISSIONS.ok(f"only {who} can read the outboxes")


def enough_room(root: Path, left: Room, *, wanted: int) -> Finding:
    """``wanted`` is by how many bytes the journals may still grow."""
    what = f"{size_text(left.free_bytes)} are free on the disk of {root}"
    if left.free_bytes < wanted:
        more = f"{what}, and the outboxes may grow by {size_text(wanted)}"
        # With a tenth of it, emit would soon refuse events; with more, an outage has to last for a while first.
        level = ROOM.error if left.free_bytes < wanted / 10 else ROOM.warning
        return level(more, directory=root)
    if left.free_files is not None and left.free_files < _FEW_FILES:
        return ROOM.warning(f"the disk of {root} takes only {left.free_files} more files (inodes)", directory=root)
    return ROOM.ok(what)


def filling(used: int, limit: int) -> Finding:
    what = f"{size_text(used)} of {size_text(limit)} are in use"
    if used >= _NEARLY_FULL * limit:
        return FILLING.error(f"{what}: emit is about to refuse events")
    return FILLING.warning(what) if used >= _FILLING * limit else FILLING.ok(what)


def unreadable(root: Path) -> Iterator[Finding]:
    for path in directories(root):
        if path.name.startswith(".") or not journal_indexes(path):
            continue
        try:
            State.open(path).close()
        except FileNotFoundError:
            if journal_indexes(path):  # else it was removed meanwhile
                yield UNREADABLE.error(f"{path} has journals but no state file", directory=path)
        except BlankStateError:
            pass  # a relay writes it anew; until then outbox.relayed reports it
        except (OSError, OutboxError) as error:
            yield UNREADABLE.error(f"{path} cannot be read: {error}", directory=path)


def damaged(root: Path) -> Finding:
    set_aside, place = damage(root), root / listing.DAMAGED
    if not set_aside.pieces:
        return DAMAGED.ok("nothing was set aside")
    total = size_text(set_aside.bytes)
    return DAMAGED.warning(
        f"set aside in {place}: {count_text(set_aside.pieces, 'piece')} of journals, {total}", directory=place
    )


def left_over(root: Path) -> Iterator[Finding]:
    for path in directories(root):
        pid = path.name[1:].partition("-")[0]
        if path.name.startswith(".") and pid.isdigit() and not is_running(int(pid)):
            yield LEFT_OVER.note(f"process {pid} left {path} incomplete", directory=path)
        elif not path.name.startswith(".") and STATE not in names(path) and not journal_indexes(path):
            yield LEFT_OVER.note(f"{path} was only partly removed", directory=path)


def relays(root: Path, *, external: bool, max_wait_seconds: float) -> Iterator[Finding]:
    """Whether relays read the outboxes. Checks again for ``max_wait_seconds`` before it says that none does."""
    outboxes = survey(root)
    yield refused(outboxes)
    deadline = time.monotonic() + max_wait_seconds
    while (unrelayed := _unrelayed(root, outboxes)) or (external and outboxes and not _any_relay(root, outboxes)):
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE_SECONDS)
        outboxes = survey(root)
    for outbox in unrelayed:
        process = f"process {outbox.pid}" if outbox.alive else f"process {outbox.pid}, which has ended"
        yield RELAYED.error(f"no relay reads {outbox.name} of {process}: {count_text(outbox.waiting, 'event')} waiting")
    if not unrelayed:
        waiting = sum(outbox.waiting for outbox in outboxes)
        yield RELAYED.ok(f"{count_text(waiting, 'event')} waiting, and no outbox without a relay")
    if external:
        yield external_relay(root, outboxes)


def refused(outboxes: list[OutboxSurvey]) -> Finding:
    events = sum(outbox.refused for outbox in outboxes)
    if events:
        return REFUSED.error(f"lost because their outbox was full: {count_text(events, 'event')}")
    return REFUSED.ok("no event was refused")


def external_relay(root: Path, outboxes: list[OutboxSurvey]) -> Finding:
    if not outboxes:
        return RELAY.skipped("no outbox exists yet that a relay could read")
    if _any_relay(root, outboxes):
        return RELAY.ok("a relay runs")
    return RELAY.error('relay.mode is "external", and no relay reads the outboxes of this machine')


def is_relayed(outbox: Path) -> bool:
    """Whether a relay has the outbox. Takes its lock, shared, for a moment; a relay that starts then tries again."""
    return _is_locked(outbox / RELAY_LOCK)


def are_dead_relayed(root: Path) -> bool:
    """Whether a relay takes over the outboxes of dead processes, a few at a time."""
    return _is_locked(root / ADOPTION_LOCK)


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _unrelayed(root: Path, outboxes: list[OutboxSurvey]) -> list[OutboxSurvey]:
    adopted = are_dead_relayed(root)
    waiting = [outbox for outbox in outboxes if outbox.waiting and (outbox.alive or not adopted)]
    return [outbox for outbox in waiting if not is_relayed(root / outbox.name)]


def _any_relay(root: Path, outboxes: list[OutboxSurvey]) -> bool:
    return are_dead_relayed(root) or any(is_relayed(root / outbox.name) for outbox in outboxes)


def _all_below(root: Path) -> Iterator[Path]:
    # Not by rglob, which raises if a directory disappears meanwhile.
    for directory in (*directories(root), root / listing.DAMAGED):
        yield directory
        yield from (directory / name for name in names(directory))
