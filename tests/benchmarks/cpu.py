"""CPU: the processor time of all processes of a measurement. Other load on the machine hardly changes it."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the command: session, and ticks in the program and in the kernel.
_SESSION, _USER, _SYSTEM = 3, 11, 12


def cpu_seconds(*, without: Collection[int] = ()) -> float:
    """Seconds of all cores that the processes of this session have used so far, including this one.

    Args:
        without: The ids of processes that do not count.
    """
    session = os.getsid(0)
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        if int(entry.parent.name) in without:
            continue
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if int(fields[_SESSION]) == session:
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / _TICKS_PER_SECOND


def busy_seconds(pid: int) -> float:
    """Seconds of CPU that the living threads of a process have used, as exactly as the scheduler counts them.

    /proc/PID/stat counts in hundredths, too coarse for a process at rest. 0 if it has ended.
    """
    nanoseconds = 0
    for entry in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds += int(entry.read_text().split()[0])
    return nanoseconds / 1e9


def descendants(pid: int) -> list[int]:
    """The ids of a process and of all that it and its children have started, and that run."""
    found = [pid]
    for parent in found:
        for entry in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, entry.read_text().split())
    return found
