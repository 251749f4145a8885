"""What only Linux has: each has one place in the source, and something else does its work on other systems."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from dispatcher.doctor import disk
from dispatcher.outbox.journal import Journal
from dispatcher.process import system_calls
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
OTHER_SYSTEM = ROOT / "tests" / "support" / "other_system"

# Names that some system does not have, or that do less there than they say.
SOME_SYSTEMS = re.compile(
    r"posix_fallocate|posix_fadvise|fdatasync|MADV_|madvise|msync|/proc\b|prctl|PDEATHSIG|pidfd|eventfd|"
    r"signalfd|sched_[gs]etaffinity|O_TMPFILE|O_DIRECT\b|renameat2|SO_PEERCRED|CLOCK_BOOTTIME|copy_file_range|"
    r"/dev/shm|sys\.platform|^(platform|uname|CDLL|PyDLL)$"
)


def elsewhere(code: str, **environ: str) -> str:
    """What ``code`` prints in a process that believes that it runs under macOS."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\n{code}"],
        env={**os.environ, "PYTHONPATH": str(OTHER_SYSTEM), **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_one_file_asks_for_what_some_systems_lack() -> None:
    found = []
    for path in [*ROOT.glob("dispatcher/**/*.py"), *ROOT.glob("tasks/**/*.py")]:
        # The second only prints what the system is called.
        if path.name in {"system_calls.py", "versions.py"}:
            continue
        with path.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                is_prose = token.type == tokenize.COMMENT or '"""' in token.string
                if not is_prose and SOME_SYSTEMS.search(token.string):
                    found.append(f"{path.relative_to(ROOT)}:{token.start[0]}: {token.line.strip()}")
    assert found == []


@pytest.mark.parametrize("answer", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, None])
def test_a_range_has_its_room_where_the_system_cannot_allocate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int | None
) -> None:
    def refuse(*_: int) -> None:
        assert answer is not None
        raise OSError(answer, os.strerror(answer))

    if answer is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    journal = Journal.create(tmp_path / "a.journal", 1 << 20, allocated=8192)
    journal.map[:8192] = b"x" * 8192
    assert journal.path.stat().st_size == 1 << 20
    # Such a hole, in the middle of the file, is what a store to the map would die of on a full disk.
    journal.allocate(300_000)
    os.sync()
    assert 300_000 <= journal.path.stat().st_blocks * 512 < 1 << 20
    assert journal.map[:8192] == b"x" * 8192
    assert not any(journal.map[8192:])
    assert journal.allocated == 300_000


def test_a_full_disk_is_an_error_and_not_a_signal_where_zeros_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open(tmp_path / "a.journal", os.O_RDWR | os.O_CREAT)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            system_calls.allocate(fd, 8192, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        os.close(fd)


def test_any_other_refusal_of_an_allocation_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        Journal.create(tmp_path / "a.journal", 1 << 20, allocated=8192)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("contents_only", [True, False])
def test_a_drives_own_cache_is_synced_where_fsync_leaves_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents_only: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command: asked.append(command))
    monkeypatch.delattr(os, "fdatasync")
    monkeypatch.delattr(os, "fsync")  # else the call would not have been needed
    with (tmp_path / "a").open("wb") as file:
        system_calls.sync(file.fileno(), contents_only=contents_only)
    assert asked == [51]


def test_a_file_system_that_cannot_sync_the_drive_syncs_the_file() -> None:
    # Linux' fcntl does not know the number, as a network file system of a Mac does not.
    code = """
import fcntl, tempfile
from dispatcher.process.system_calls import sync
synced = []
fsync = os.fsync
os.fsync = lambda fd: synced.append(fsync(fd))
with tempfile.TemporaryFile() as file:
    sync(file.fileno()); sync(file.fileno(), contents_only=True)
print(synced)
"""
    assert elsewhere(code) == "[None, None]\n"


def test_a_map_is_synced_on_another_system(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(5 * mmap.PAGESIZE))
    code = f"""
import mmap
from pathlib import Path
from dispatcher.process import system_calls
synced = []
system_calls.sync = synced.append
path = Path({str(path)!r})
with path.open("r+b") as file:
    pages = mmap.mmap(file.fileno(), 0)
pages[3 * mmap.PAGESIZE + 5] = 7
system_calls.sync_pages(pages, 3 * mmap.PAGESIZE + 4, 5 * mmap.PAGESIZE + 1, path)
print(len(synced), system_calls.populate(pages), system_calls.wipe_on_fork(pages))
"""
    assert elsewhere(code) == "1 False False\n"


def test_a_fork_mark_is_wiped_in_a_child_on_another_system() -> None:
    code = """
from dispatcher.process.fork_mark import fork_mark
mark = fork_mark()
mark[0] = 1
pid = os.fork()
if pid == 0: os._exit(mark[0])
print(mark[0], os.waitpid(pid, 0)[1])
"""
    assert elsewhere(code) == "1 0\n"


def test_processes_are_told_apart_on_another_system(tmp_path: Path) -> None:
    directory = tmp_path / "a directory"
    wanted = subprocess.Popen(["sleep", "60"], env={**os.environ, "DISPATCHER_STATE_DIRECTORY": str(directory)})
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, "DISPATCHER_STATE_DIRECTORY": f"{directory}2"})
    code = f"""
import subprocess
from dispatcher.process.system_calls import child_pids, is_running, pids_with
child = subprocess.Popen(["sleep", "60"], env={{"PATH": os.environ["PATH"]}})
print(pids_with("DISPATCHER_STATE_DIRECTORY", {str(directory)!r}), child_pids() == [child.pid])
child.kill()
child.wait()
print(is_running({wanted.pid}), is_running(os.getpid()), is_running(child.pid), child_pids())
"""
    try:
        shown = elsewhere(code, DISPATCHER_STATE_DIRECTORY=str(directory))
        assert shown == f"[{wanted.pid}] True\nTrue True False []\n"
    finally:
        for process in (wanted, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
def test_no_process_has_an_id_that_the_system_gives_to_none(pid: int) -> None:
    assert not system_calls.is_running(pid)


def test_the_output_of_mount_is_read_as_proc_mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "Network Disk"
    place.mkdir()
    lines = [
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)",
        f"//ada@server/share on {place} (smbfs, nodev, nosuid, mounted by ada)",
        "map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)",
    ]
    monkeypatch.setattr(Path, "read_text", lambda _: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setattr(system_calls, "_lines", lambda *_: lines)
    text = system_calls.mounts()
    assert disk.file_system_of(place / "outbox", text) == "smbfs"
    assert disk.file_system_of(tmp_path, text) == "apfs"


def test_a_guard_kills_what_its_process_leaves(tmp_path: Path) -> None:
    code = """
import subprocess, signal
from dispatcher.process.system_calls import OrphanGuard
guard = OrphanGuard()
ended, kept = (subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60; true"], process_group=0) for _ in range(2))
guard.watch([ended.pid])
guard.watch([ended.pid, kept.pid])
guard.watch([kept.pid])
open(sys.argv[1] if len(sys.argv) > 1 else os.environ["PIDS"], "w").write(f"{ended.pid} {kept.pid}")
os.kill(os.getpid(), signal.SIGKILL)
"""
    file = tmp_path / "pids"
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\n{code}"],
        env={**os.environ, "PIDS": str(file)},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    ended, kept = map(int, file.read_text().split())
    try:
        wait_for(lambda: not _group_lives(kept), what="the group to end")
        assert _group_lives(ended)
    finally:
        os.killpg(ended, signal.SIGKILL)


def test_a_guard_ends_with_what_it_watches() -> None:
    code = """
import subprocess
from dispatcher.process.system_calls import OrphanGuard, child_pids
guard = OrphanGuard()
guard.watch([])
child = subprocess.Popen(["sleep", "60"], process_group=0)
guard.watch([child.pid])
assert len(child_pids()) == 2
guard.watch([])
assert child_pids() == [child.pid]
guard.watch([])
child.kill()
child.wait()
"""
    elsewhere(code)


def _group_lives(group: int) -> bool:
    # By its processes' states, since one that has ended may wait for an init that does not come.
    found = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in found.splitlines())
    return any(int(row[0]) == group and not row[1].startswith("Z") for row in rows)
