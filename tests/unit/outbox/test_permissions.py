"""Who may read an outbox: its user alone, or the group of a directory with the set-group-id bit."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.doctor.checks.outbox import permissions
from dispatcher.outbox.journal import SUFFIX
from dispatcher.outbox.outbox import Outbox
from dispatcher.outbox.reader import Reader
from tests.support.waiting import PATIENCE, wait_for

MIB = 1024 * 1024
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
#: Numbers of a user and a group that nobody has here.
OTHER_USER, OTHER_GROUP = 54_321, 54_322


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rotated(root: Path) -> Outbox:
    """An outbox with more than one journal, and one event in the second."""
    outbox = Outbox(root, journal_bytes=64 * 1024, max_bytes=16 * MIB)
    for _ in range(3):
        outbox.append(b"x" * 30_000)
    return outbox


@pytest.mark.parametrize(("root_mode", "directories", "files"), [(0o700, 0o700, 0o600), (0o2750, 0o2750, 0o640)])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_is_made_has_the_rights_of_the_directory(
    tmp_path: Path, root_mode: int, directories: int, files: int, umask: int
) -> None:
    root = tmp_path / "outbox"
    root.mkdir()
    root.chmod(root_mode)

    def modes() -> dict[str, int]:
        return {path.name: mode(path) for path in sorted(outbox.directory.iterdir())}

    before = os.umask(umask)
    try:
        outbox = rotated(root)
        reader = Reader(outbox.directory)
        # A thread makes the spare file: it has no rights for others until its mode is set.
        wait_for(lambda: set(modes().values()) == {files}, PATIENCE, what=modes)
    finally:
        os.umask(before)

    assert mode(outbox.directory) == directories
    assert len([name for name in modes() if name.endswith(SUFFIX)]) > 1
    assert permissions(root).level == "ok"
    reader.close()
    outbox.close()


def test_group_rights_without_the_bit_are_not_passed_on(tmp_path: Path) -> None:
    root = tmp_path / "outbox"
    root.mkdir()
    root.chmod(0o750)
    outbox = rotated(root)

    assert mode(outbox.directory) == 0o700
    finding = permissions(root)
    assert (finding.level, "chmod -R go-rwx" in (finding.remedy or "")) == ("error", True)
    outbox.close()


@pytest.mark.parametrize("open_to", [0o2755, 0o2770])
def test_more_than_to_read_for_a_group_is_an_error(tmp_path: Path, open_to: int) -> None:
    root = tmp_path / "outbox"
    root.mkdir()
    root.chmod(open_to)

    finding = permissions(root)

    assert (finding.level, "chmod -R g-w,o-rwx" in (finding.remedy or "")) == ("error", True)


_COUNT = """
import os, sys
from pathlib import Path
from dispatcher.outbox.stats import survey
# Only now: another user may not see where Python is.
os.setgroups([]), os.setgid(int(sys.argv[3])), os.setuid(int(sys.argv[2]))
print([(outbox.waiting, outbox.alive, outbox.problem) for outbox in survey(Path(sys.argv[1]))])
"""


@needs_root
@pytest.mark.parametrize(("group", "sees"), [(OTHER_GROUP, True), (OTHER_USER, False)])
def test_the_group_of_the_directory_can_count_what_waits(tmp_path: Path, group: int, sees: bool) -> None:
    for path in (tmp_path, *list(tmp_path.parents)[:-1]):
        # pytest's own directories are closed to other users; what is above them is open.
        if path.stat().st_uid == os.geteuid() and mode(path) & 0o001 == 0:
            path.chmod(mode(path) | 0o011)
    root = tmp_path / "outbox"
    root.mkdir()
    os.chown(root, 0, OTHER_GROUP)
    root.chmod(0o2750)
    outbox = rotated(root)

    counted = subprocess.run(
        [sys.executable, "-c", _COUNT, str(root), str(OTHER_USER), str(group)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (counted.stdout.strip() == "[(3, True, '')]") is sees, counted.stderr
    outbox.close()
