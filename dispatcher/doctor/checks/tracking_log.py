"""Can the tracking log be written, does it have room, is it rotated, and who may read it?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.config import DestinationSettings
from dispatcher.config.variables import option_variable
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import IN_MEMORY, REMOTE, Room, can_write, file_system, mode, room, size_text
from dispatcher.doctor.finding import Check, Finding

_LITTLE_ROOM_BYTES: Final = 1_000_000_000
_NO_ROOM_BYTES: Final = 100_000_000
_FEW_FILES: Final = 1000
# Beyond this most tools that read the log have trouble, and a disk fills unseen.
_LARGE_BYTES: Final = 5_000_000_000
# Rotated files are named by the second.
_SMALL_BYTES: Final = 1_000_000
_LOGROTATE: Final = (Path("/etc/logrotate.conf"), Path("/etc/logrotate.d"))

WRITABLE: Final = Check(
    "log.writable",
    "Whether the tracking log can be written by the user who runs this.",
    "run this as the worker's user where the workers run; where that is so, let it write {path}, or set {variable}",
)
FILE_SYSTEM: Final = Check(
    "log.file_system",
    "Whether the tracking log is on a local disk: its lock holds for one machine.",
    "put it on a local disk ({variable}), and have it shipped from there",
)
ROOM: Final = Check(
    "log.room",
    "The room, and the free files, on the disk of the tracking log.",
    "make room on the disk of {path}; events wait meanwhile and are written within minutes",
)
ROTATION: Final = Check(
    "log.rotation",
    "Whether something rotates the tracking log, at a size that makes sense.",
    "set {variable} to some hundred million, or have logrotate do it",
)
LOGROTATE: Final = Check(
    "log.logrotate",
    "What /etc/logrotate.d says of the tracking log: copytruncate loses lines, and so does compress without "
    "delaycompress.",
    "use `create` and `delaycompress` in {file}, and not copytruncate",
)
PERMISSIONS: Final = Check(
    "log.permissions",
    "Tracking logs that every user of the machine can read or change: they hold what people did.",
    "run `chmod o-rwx {path}`",
)

CHECKS: Final = (WRITABLE, FILE_SYSTEM, ROOM, ROTATION, LOGROTATE, PERMISSIONS)


def look(deployment: Deployment) -> Iterator[Finding]:
    """Every enabled tracking log."""
    for name, table in deployment.destinations.items():
        path = table.options.get("path")
        if table.type == "tracking_log" and isinstance(path, str | Path):
            yield from _look_at(name, table, Path(path))


def _look_at(name: str, table: DestinationSettings, path: Path) -> Iterator[Finding]:
    spelt = option_variable(name, "path")
    yield writable(path, spelt)
    yield where(path, spelt)
    yield enough_room(path, room(path))
    configured = logrotate(path)
    yield rotation(path, name, table.options.get("rotate_bytes"), is_rotated=configured is not None)
    if configured is not None:
        yield logrotate_options(*configured)
    if os.path.exists(path):
        yield permissions(path)


def writable(path: Path, variable: str) -> Finding:
    if os.path.exists(path) and not os.path.isfile(path):
        return WRITABLE.error(f"{path} is no file", path=path, variable=variable)
    if not can_write(path) or not can_write(path.parent):
        return WRITABLE.error(f"{path} cannot be written by this user", path=path, variable=variable)
    return WRITABLE.ok(f"{path} {'can be written' if os.path.exists(path) else 'will be made at the first event'}")


def where(path: Path, variable: str, kind: str | None = None) -> Finding:
    kind = file_system(path) if kind is None else kind
    if kind in REMOTE:
        what = f"{path} is on {kind}: workers on two machines would write lines into one another"
        return FILE_SYSTEM.warning(what, variable=variable)
    if kind in IN_MEMORY:
        return FILE_SYSTEM.warning(f"{path} is on {kind}: it is gone after a restart of the machine", variable=variable)
    return FILE_SYSTEM.ok(f"{path} is on {kind or 'a file system that is not known here'}")


def enough_room(path: Path, left: Room) -> Finding:
    what = f"{size_text(left.free_bytes)} are free on the disk of {path}"
    if left.free_bytes < _NO_ROOM_BYTES:
        return ROOM.error(what, path=path)
    if left.free_bytes < _LITTLE_ROOM_BYTES or left.free_share < 0.02:
        return ROOM.warning(what, path=path)
    if left.free_files is not None and left.free_files < _FEW_FILES:
        return ROOM.warning(f"the disk of {path} takes only {left.free_files} more files (inodes)", path=path)
    return ROOM.ok(what)


def rotation(path: Path, name: str, rotate_bytes: object, *, is_rotated: bool) -> Finding:
    variable = option_variable(name, "rotate_bytes")
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    if str(rotate_bytes).isdigit():
        most = int(str(rotate_bytes))
        if most < _SMALL_BYTES:
            return ROTATION.warning(
                f"it is rotated every {size_text(most)}: a file every few seconds", variable=variable
            )
        return ROTATION.ok(f"it is rotated every {size_text(most)}")
    if is_rotated:
        return ROTATION.ok("logrotate rotates it")
    if size > _LARGE_BYTES:
        return ROTATION.warning(
            f"{path} has {size_text(size)}, and nothing that is known here rotates it", variable=variable
        )
    return ROTATION.note(f"nothing that is known here rotates {path}, which has {size_text(size)}", variable=variable)


def logrotate(path: Path, places: tuple[Path, ...] = _LOGROTATE) -> tuple[Path, str] | None:
    """The file of logrotate's that names the log, or a pattern that takes it in, and what it says there."""
    for place in places:
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            try:
                text = re.sub(r"#.*", "", file.read_text())
            except (OSError, UnicodeDecodeError):
                continue
            for patterns, _, options in (block.partition("{") for block in text.split("}")[:-1]):
                if any(_matches(path, pattern.strip("\"'")) for pattern in patterns.split()):
                    return file, options
    return None


def logrotate_options(file: Path, options: str) -> Finding:
    words = options.split()
    if "copytruncate" in words:
        return LOGROTATE.error(f"{file} says copytruncate, and lines that come meanwhile are lost", file=file)
    if "compress" in words and "delaycompress" not in words:
        return LOGROTATE.warning(
            f"{file} compresses the file at once, while lines may be on their way into it", file=file
        )
    return LOGROTATE.ok(f"{file} loses no line")


def permissions(path: Path) -> Finding:
    bits = mode(path) or 0
    if bits & 0o002:
        return PERMISSIONS.error(f"{path} has mode {bits:04o}: every user can change it", path=path)
    if bits & 0o004:
        return PERMISSIONS.warning(f"{path} has mode {bits:04o}: every user can read it", path=path)
    return PERMISSIONS.ok(f"{path} has mode {bits:04o}")


def _matches(path: Path, pattern: str) -> bool:
    return pattern.startswith("/") and path.match(pattern)
