"""System calls: what only some systems have, and what keeps the same promise on the others, such as macOS and musl.

No other file asks for them or for the system's name. Safe in threads; only what syncs or allocates blocks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

IS_LINUX: Final = sys.platform == "linux"
# Functions that release the interpreter while they run, which mmap's own methods do not.
_libc: Final = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None
# And functions that keep it.
_held_libc: Final = ctypes.PyDLL(None) if IS_LINUX else None

# Numbers of Linux, by the man pages of msync, madvise (since 4.14 and 5.14) and prctl. Other systems have others.
_MS_SYNC: Final = 4
_MADV_WIPEONFORK: Final = 18
_MADV_POPULATE_WRITE: Final = 23
_PR_SET_PDEATHSIG: Final = 1

# What posix_fallocate answers on a file system that cannot: musl and ZFS do; glibc then writes zeros itself.
_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})
_ZEROS: Final = bytes(65_536)

# Reads whole lists of process groups, each in place of the one before; once nobody can send another, ends the last.
_GUARD: Final = 'trap "" HUP INT TERM; while read -r groups; do last=$groups; done; [ -z "$last" ] || kill -KILL $last'


def allocate(fd: int, start: int, end: int) -> None:
    """Give the bytes from ``start`` to ``end`` their space on the disk, so that a store to a map of them cannot fail.

    Takes some 20 µs by posix_fallocate. Elsewhere zeros are written, a millisecond for each few megabytes: to reserve
    space behind the end of a file, as F_PREALLOCATE of macOS does, promises nothing of a hole inside it.

    Args:
        fd: The file, open for writing. It becomes as long as ``end`` if it was shorter.
        start: Where nothing was written yet, to the end of the range: zeros may overwrite it.
        end: The offset behind the last byte.

    Raises:
        OSError: The disk or a quota is full. Some of the range may be allocated.
    """
    if end <= start:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, start, end - start)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
        else:
            return
    while start < end:
        written = os.pwrite(fd, _ZEROS[: end - start], start)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        start += written


def open_wake_ends() -> tuple[int, int]:
    """Open what a thread can sleep on: an eventfd, or a pipe where the system has none. Raises OSError.

    Returns:
        The descriptor to read from and the one to write to, which may be the same; both are non-blocking.
    """
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def write_at_once(fd: int, content: bytes) -> None:
    """Write a few bytes to a non-blocking descriptor, without another thread getting the interpreter meanwhile.

    Where the system has no such call, other threads may run. Nothing is raised where it takes nothing.
    """
    if _held_libc is not None:
        _held_libc.write(fd, content, ctypes.c_size_t(len(content)))
        return
    with suppress(OSError):
        os.write(fd, content)


def sync(fd: int, *, contents_only: bool = False) -> None:
    """Sync a file or directory to the disk itself. Blocks for as long as that takes. Raises OSError.

    Args:
        fd: Open for reading or writing.
        contents_only: Leave out what is not needed to read the contents again, such as times.
    """
    if hasattr(fcntl, "F_FULLFSYNC"):
        # On macOS, fsync leaves the bytes in the drive's own cache (its fsync(2)). Network file systems lack the other.
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    if contents_only and hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def sync_pages(pages: mmap.mmap, start: int, end: int, file: Path) -> None:
    """Sync the pages of a shared map from byte ``start`` to ``end`` to disk. Blocks for as long as the disk takes.

    Not the whole map: a page that was synced costs the next store to it a fault, so only those are that are full, and
    the one that is being filled. Under Linux other threads run meanwhile.

    Args:
        pages: The map.
        start: The offset of the first byte.
        end: The offset behind the last byte.
        file: What is mapped; opened only where syncing a map leaves its bytes in the drive's cache.

    Raises:
        OSError: The disk failed.
    """
    start -= start % mmap.PAGESIZE
    if _libc is None:
        pages.flush(start, min(end, len(pages)) - start)
        if hasattr(fcntl, "F_FULLFSYNC"):
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync(fd)
            finally:
                os.close(fd)
        return
    first = ctypes.c_char.from_buffer(pages)
    try:
        address = ctypes.c_void_p(ctypes.addressof(first) + start)
        if _libc.msync(address, ctypes.c_size_t(end - start), _MS_SYNC) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        del first  # a map that is looked into cannot be closed


def populate(pages: mmap.mmap) -> bool:
    """Bring in all pages of a map for writing, in milliseconds. False where the system cannot do so at once."""
    if _libc is None:
        return False
    first = ctypes.c_char.from_buffer(pages)
    try:
        address, size = ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(pages))
        return bool(_libc.madvise(address, size, _MADV_POPULATE_WRITE) == 0)
    finally:
        del first  # a map that is looked into cannot be closed


def wipe_on_fork(pages: mmap.mmap) -> bool:
    """Have a private map be zeros in each child forked from now on. False where the system does not do that."""
    if not IS_LINUX:
        return False
    try:
        pages.madvise(_MADV_WIPEONFORK)
    except (AttributeError, OSError, ValueError):
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether a process of this id exists, of any user. An ended one that nobody has waited for counts too."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0


def child_pids() -> list[int]:
    """The children of this process, as far as the system tells. Blocks for some milliseconds on systems without /proc.

    Under Linux only those that the main thread has started.
    """
    own = str(os.getpid())
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{own}/children").read_text().split()]
    except OSError:
        pairs = [line.split() for line in _lines("ps", "-A", "-o", "ppid=", "-o", "pid=")]
    return [int(pid) for parent, pid in pairs if parent == own and is_running(int(pid))]


def pids_with(variable: str, value: str) -> list[int]:
    """The processes that were started with a variable of this value in their environment, without this one.

    Those of other users are left out. Blocks for some milliseconds.
    """
    wanted = f"{variable}={value}"
    found = []
    if os.path.exists("/proc/self/environ"):
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # it has ended, or is another user's
                if os.fsencode(wanted) in entry.read_bytes().split(b"\0"):
                    found.append(int(entry.parent.name))
    else:
        columns = ("-o", "pid=", "-o", "command=")
        # ps of macOS shows variables with -E, those of the BSDs and of Linux with a bare e; behind blanks, unquoted.
        for line in _lines("ps", "-AEww", *columns) or _lines("ps", "axeww", *columns):
            pid, _, shown = line.strip().partition(" ")
            if f" {wanted} " in f" {shown} " and pid.isdigit():
                found.append(int(pid))
    return [pid for pid in found if pid != os.getpid()]


def mounts() -> str:
    """The mounts, a line each as Linux has them in /proc/mounts: device, directory, file system. Empty if unknown."""
    try:
        return Path("/proc/mounts").read_text()
    except OSError:
        pass
    rows = []
    for line in _lines("mount"):
        # Such as: /dev/disk3s1 on /System/Volumes/Data (apfs, local, journaled)
        device, _, rest = line.partition(" on ")
        directory, _, options = rest.rpartition(" (")
        if directory:
            rows.append((device, directory, options.split(",")[0].rstrip(")\n")))
    return "\n".join(
        " ".join(re.sub(r"[\s\\]", lambda char: f"\\{ord(char[0]):03o}", word) for word in row) for row in rows
    )


def _lines(*command: str) -> list[str]:
    try:
        # Without this process's variables, by which others are found, and in English.
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
    except OSError:
        return []  # it is not installed
    return os.fsdecode(done.stdout).splitlines() if done.returncode == 0 else []


def die_with_parent() -> None:
    """In a forked child, before it runs its program: have the kernel kill it with -9 when the parent's thread ends."""
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class OrphanGuard:
    """Kills process groups with -9 when this process is gone, however it ended. For where the kernel does not.

    A small shell that waits for the end of a pipe, of which this process has the only writing end. A group that is
    started in the very moment in which this process is killed may be left.
    """

    def __init__(self) -> None:
        self._shell: subprocess.Popen[Any] | None = None

    def watch(self, groups: list[int]) -> None:
        """Set the groups that are to be killed, in place of those before. An empty list ends the guard.

        Call it when a group was started, and before the id of one that has ended can be another's.
        """
        if self._shell is None and groups:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                process_group=0,
            )
        if self._shell is None or self._shell.stdin is None:
            return
        with suppress(BrokenPipeError):  # somebody has ended it
            self._shell.stdin.write(" ".join(str(-group) for group in groups).encode() + b"\n")
        if not groups:
            self._shell.stdin.close()
            self._shell.wait()
            self._shell = None
