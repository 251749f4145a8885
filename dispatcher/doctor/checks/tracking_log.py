"""Can the tracking log be written, does its disk have room, is it rotated, and who may read it?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.config import DestinationSettings
from dispatcher.config.variables import option_variable
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import IN_MEMORY, REMOTE, Room, can_write, file_system_of, free_room, permission_bits
from dispatcher.doctor.finding import Check, Finding
from dispatcher.monitoring.units import size_text

_LITTLE_ROOM_BYTES: Final = 1_000_000_000
_NO_ROOM_BYTES: Final = 100_000_000
_FEW_FILES: Final = 1000
# Most tools have trouble with larger logs, and a disk fills unnoticed.
_LARGE_BYTES: Final = 5_000_000_000
# Below it, files would come every few seconds, and their names have the second.
_SMALL_BYTES: Final = 1_000_000
_LOGROTATE: Final = (Path("/etc/logrotate.conf"), Path("/etc/logrotate.d"))

WRITABLE: Final = Check(
    "log.writable",
    "Whether the user who runs this can write the tracking log.",
    "run this as the worker's user where the workers run; if you did, let that user write {path}, or set {variable}",
)
FILE_SYSTEM: Final = Check(
    "log.file_system",
    "Whether the tracking log is on a local disk: its lock holds for one machine only.",
    "move it to a local disk ({variable}), and ship it from there",
)
ROOM: Final = Check(
    "log.room",
    "The room, and the free files, on the disk of the tracking log.",
    "make room on the disk of {path}; events wait meanwhile and are written within minutes",
)
ROTATION: Final = Check(
    "log.rotation",
    "Whether something rotates the tracking log, at a sensible size.",
    "set {variable} to some hundred million, or have logrotate do it",
)
LOGROTATE: Final = Check(
    "log.logrotate",
    "The options for the tracking log in /etc/logrotate.d: copytruncate loses lines, and so does compress without "
    "delaycompress.",
    "use `create` and `delaycompress` in {file}, and not copytruncate",
)
PERMISSIONS: Final = Check(
    "log.permissions",
    "Whether every user of the machine can read or change the tracking log, which holds what people did.",
    "run `chmod o-rwx {path}`",
)

CHECKS: Final = (WRITABLE, FILE_SYSTEM, ROOM, ROTATION, LOGROTATE, PERMISSIONS)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Every enabled tracking log."""
    for name, table in deployment.destinations.items():
        option = table.traits.log
        path = None if option is None else table.options.get(option)
        if option is not None and isinstance(path, str | Path):
            yield from _check_one(name, table, Path(path), option_variable(name, option))


def _check_one(name: str, table: DestinationSettings, path: Path, variable: str) -> Iterator[Finding]:
    yield writable(path, variable)
    yield local_disk(path, variable)
    yield enough_room(path, free_room(path))
    configured = logrotate(path)
    yield rotation(path, name, table.options.get("rotate_bytes"), is_rotated=configured is not None)
    if configured is not None:
        yield logrotate_options(*configured)
    if os.path.exists(path):
        yield permissions(path)


def writable(path: Path, variable: str) -> Finding:
    if os.path.exists(path) and not os.path.isfile(path):
        return WRITABLE.error(f"{path} is not a file", path=path, variable=variable)
    if not can_write(path) or not can_write(path.parent):
        return WRITABLE.error(f"{path} cannot be written by this user", path=path, variable=variable)
    return WRITABLE.ok(f"{path} {'can be written' if os.path.exists(path) else 'will be created at the first event'}")


def local_disk(path: Path, variable: str, file_system: str | None = None) -> Finding:
    file_system = file_system_of(path) if file_system is None else file_system
    if file_system in REMOTE:
        what = f"{path} is on {file_system}: workers on two machines would write lines into one another"
        return FILE_SYSTEM.warning(what, variable=variable)
    if file_system in IN_MEMORY:
        return FILE_SYSTEM.warning(
            f"{path} is on {file_system}: a restart of the machine deletes it", variable=variable
        )
    return FILE_SYSTEM.ok(f"{path} is on {file_system or 'an unknown file system'}")


def enough_room(path: Path, left: Room) -> Finding:
    what = f"{size_text(left.free_bytes)} are free on the disk of {path}"
    if left.free_bytes < _NO_ROOM_BYTES:
        return ROOM.error(what, path=path)
    if left.free_bytes < _LITTLE_ROOM_BYTES or left.free_fraction < 0.02:
        return ROOM.warning(what, path=path)
    if left.free_files is not None and left.free_files < _FEW_FILES:
        return ROOM.warning(f"the disk of {path} takes only {left.free_files} more files (inodes)", path=path)
    return ROOM.ok(what)


def rotation(path: Path, name: str, rotate_bytes: object, *, is_rotated: bool) -> Finding:
    variable = option_variable(name, "rotate_bytes")
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    if str(rotate_bytes).isdigit():
        limit = int(str(rotate_bytes))
        if limit < _SMALL_BYTES:
            return ROTATION.warning(
                f"it is rotated every {size_text(limit)}: a file every few seconds", variable=variable
            )
        return ROTATION.ok(f"it is rotated every {size_text(limit)}")
    if is_rotated:
        return ROTATION.ok("logrotate rotates it")
    if size > _LARGE_BYTES:
        return ROTATION.warning(
            f"{path} has {size_text(size)}, and neither rotate_bytes nor logrotate rotates it", variable=variable
        )
    return ROTATION.note(
        f"neither rotate_bytes nor logrotate rotates {path}, which has {size_text(size)}", variable=variable
    )


def logrotate(path: Path, places: tuple[Path, ...] = _LOGROTATE) -> tuple[Path, str] | None:
    """The logrotate file with a pattern that matches the log, and its options there; None without one."""
    for place in places:
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            try:
                text = re.sub(r"#.*", "", file.read_text())
            except (OSError, UnicodeDecodeError):
                continue
            for patterns, _, options in (block.partition("{") for block in text.split("}")[:-1]):
                places_named = [pattern.strip("\"'") for pattern in patterns.split()]
                if any(pattern.startswith("/") and path.match(pattern) for pattern in places_named):
                    return file, options
    return None


def logrotate_options(file: Path, options: str) -> Finding:
    words = options.split()
    if "copytruncate" in words:
        return LOGROTATE.error(f"{file} says copytruncate, which loses lines that are written meanwhile", file=file)
    if "compress" in words and "delaycompress" not in words:
        return LOGROTATE.warning(
            f"{file} compresses the file at once, while a worker may still write lines to it", file=file
        )
    return LOGROTATE.ok(f"{file} loses no lines")


def permissions(path: Path) -> Finding:
    bits = permission_bits(path) or 0
    if bits & 0o002:
        return PERMISSIONS.error(f"{path} has mode {bits:04o}: every user can change it", path=path)
    if bits & 0o004:
        return PERMISSIONS.warning(f"{path} has mode {bits:04o}: every user can read it", path=path)
    return PERMISSIONS.ok(f"{path} has mode {bits:04o}")
