"""Place: the directory of one measurement, and the variables that tell its processes about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEGMENT_URL: Final = "BENCH_SEGMENT_URL"
#: The variable with the most messages of a request of Segment's own package; its default where it is not set.
UPLOAD_SIZE: Final = "BENCH_UPLOAD_SIZE"


@dataclass(frozen=True, slots=True)
class Place:
    """A temporary directory, which is removed with its contents after the measurement."""

    directory: Path

    @property
    def redis_socket(self) -> Path:
        return self.directory / "embedded.sock"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self.redis_socket}"

    @property
    def log(self) -> Path:
        """The tracking log, or a peer's equivalent."""
        return self.directory / "tracking.log"

    @property
    def segment_url(self) -> str | None:
        """Where peers find the stand-in for Segment that the measurement has started; None if it has started none."""
        return os.environ.get(SEGMENT_URL)

    def use_segment(self, url: str) -> None:
        """Have everybody that is opened or started from now on send to this stand-in for Segment."""
        os.environ[SEGMENT_URL] = os.environ["DISPATCHER_DESTINATIONS__SEGMENT__HOST"] = url

    def use_logs(self, paths: Sequence[Path]) -> None:
        """Say where the destinations ``log1``, ``log2`` and so on write, to all that starts from now on."""
        for number, path in enumerate(paths, start=1):
            os.environ[f"DISPATCHER_DESTINATIONS__LOG{number}__PATH"] = str(path)

    def environ(self) -> dict[str, str]:
        """The environment of every process of the measurement: this one's, with all DISPATCHER_* variables replaced."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
        return inherited | {
            "DISPATCHER_ENV": "production",
            "DISPATCHER_BROKER_URL": self.broker_url,
            "DISPATCHER_STATE_DIRECTORY": str(self.directory / "state"),
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH": str(self.log),
            "DISPATCHER_DESTINATIONS__SEGMENT__ENABLED": "false",
        }
