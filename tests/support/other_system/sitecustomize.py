"""Makes a Python process believe that it runs under macOS. Its folder goes on PYTHONPATH.

What only Linux has is taken away from ``os``, ``mmap``, ``fcntl`` and others, madvise knows none of Linux' own numbers,
prctl is missing, and /proc does not exist. Programs that are not Python see Linux.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import selectors
import signal
import socket
import sys
import sysconfig
import time
from typing import Any, Final

_MISSING: Final = {
    os: (
        *("posix_fallocate", "posix_fadvise", "fdatasync", "memfd_create", "eventfd", "pidfd_open", "splice"),
        *("copy_file_range", "sched_getaffinity", "sched_setaffinity", "getrandom", "setns", "unshare"),
        *("O_TMPFILE", "O_DIRECT", "O_PATH", "getxattr", "setxattr"),
    ),
    mmap: tuple(name for name in vars(mmap) if name.startswith("MADV_") and name not in ("MADV_NORMAL", "MADV_FREE")),
    fcntl: ("F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_SETPIPE_SZ", "F_ADD_SEALS", "F_NOTIFY"),
    select: tuple(name for name in vars(select) if name.lower().startswith("epoll")),
    selectors: ("EpollSelector",),
    signal: ("pidfd_send_signal", "signalfd", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
    socket: ("SO_PEERCRED", "AF_NETLINK", "AF_PACKET", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT", "SOCK_CLOEXEC"),
    time: ("CLOCK_BOOTTIME",),
}


class _Map(mmap.mmap):
    def madvise(self, option: int, *arguments: int) -> None:
        if option > 10:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        super().madvise(option, *arguments)


class _Library(ctypes.CDLL):
    def __getattr__(self, name: str) -> Any:
        if name in ("prctl", "gettid", "memfd_create", "fallocate", "posix_fallocate", "fdatasync", "eventfd"):
            raise AttributeError(name)
        return super().__getattr__(name)


def _hides(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).split("/")[:2] == ["", "proc"]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and _hides(arguments[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


def _without_proc(function: Any) -> Any:
    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        if _hides(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(path, *arguments, **options)

    return call


for module, names in _MISSING.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc]
mmap.mmap = _Map  # type: ignore[misc]
ctypes.CDLL = _Library  # type: ignore[misc]
# The number that macOS has for it; Linux' fcntl does not know it, as a network file system of a Mac does not.
fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]
for name in ("stat", "lstat", "readlink", "access"):
    setattr(os, name, _without_proc(getattr(os, name)))
sysconfig.get_config_vars()  # reads a file that is named after the system Python was built for
sys.addaudithook(_audit)
sys.platform = "darwin"
