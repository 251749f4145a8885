"""Latency: how long events take from emit to their line in the log, measured while a case runs."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from tests.benchmarks.tail import Tail

# Seconds between two reads of the file: the error of the measurement.
_LOOK_SECONDS = 0.005


class _Line(msgspec.Struct):
    time: datetime


class LogLatency:
    """Follows a log that is not rotated. ``with`` starts and stops it.

    Each line counts for the phase that was current when its event was emitted.
    """

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._phases: list[tuple[float, str]] = []
        self._found: dict[str, list[float]] = defaultdict(list)
        self._decode = msgspec.json.Decoder(_Line).decode
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults-latency", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self, phase: str) -> None:
        """Begin a phase. Events emitted from now on belong to it; with an empty name they belong to none."""
        self._phases.append((time.time(), phase))

    def quantile(self, phase: str, fraction: float) -> float:
        """A quantile in milliseconds; NaN if the phase has no lines."""
        found = sorted(self._found[phase])
        return found[min(len(found) - 1, int(fraction * len(found)))] * 1000 if found else float("nan")

    def story(self, phase: str) -> str:
        """The median and the 99th percentile, for the notes."""
        return f"{phase} {self.quantile(phase, 0.5):.0f} / {self.quantile(phase, 0.99):.0f} ms"

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            lines = self._tail.lines()
            now = time.time()
            for line in lines:
                emitted = self._decode(line).time.timestamp()
                phase = next((name for since, name in reversed(self._phases) if emitted >= since), "")
                if phase:
                    self._found[phase].append(now - emitted)
