"""Clock: another time of day for a process and its children, which can be changed while they run.

By libfaketime, which answers for the system's clock within a process. The monotonic clock, by which nothing jumps on a
real machine either, is left alone.
"""

from __future__ import annotations

from pathlib import Path

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


class FakeClock:
    """One clock, for as many processes as are started with ``environ``.

    Args:
        file: Where it stands; made.
    """

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library
        self.jump(0)

    @property
    def environ(self) -> dict[str, str]:
        """What a process has to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(Path(__file__).with_name("clock_site")),
        }

    def jump(self, seconds: int) -> None:
        """Set it to so many seconds ahead of the machine's, or behind."""
        following = self._file.with_suffix(".next")
        following.write_text(f"{seconds:+d}\n")
        following.replace(self._file)


def find_library() -> Path | None:
    """Debian's libfaketime; None where it is not installed."""
    root = Path("/")
    return next((path for pattern in _LIBRARIES for path in root.glob(pattern[1:])), None)
