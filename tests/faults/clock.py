"""Clock: a different time of day for a process and its children, which can be changed while they run.

It uses libfaketime, which replaces the system's clock within a process. The monotonic clock stays real, since it does
not jump on a real machine either.
"""

from __future__ import annotations

from pathlib import Path

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


class FakeClock:
    """One clock for all processes that are started with ``environ``.

    Args:
        file: Holds its offset; is created.
        library: libfaketime.
    """

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library
        self.jump(0)

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which a process must be started."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(Path(__file__).with_name("clock_site")),
        }

    def jump(self, seconds: int) -> None:
        """Set it this many seconds ahead of the machine's clock, or behind it if negative."""
        following = self._file.with_suffix(".next")
        following.write_text(f"{seconds:+d}\n")
        following.replace(self._file)


def find_library() -> Path | None:
    """Debian's libfaketime; None if it is not installed."""
    root = Path("/")
    return next((path for pattern in _LIBRARIES for path in root.glob(pattern[1:])), None)
