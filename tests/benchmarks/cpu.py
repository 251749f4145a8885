"""CPU: the processor time of all processes of a measurement. Other load on the machine hardly changes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the command: session, and ticks in the program and in the kernel.
_SESSION, _USER, _SYSTEM = 3, 11, 12


def cpu_seconds() -> float:
    """Seconds of all cores that the processes of this session have used so far, including this one."""
    session = os.getsid(0)
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if int(fields[_SESSION]) == session:
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / _TICKS_PER_SECOND
