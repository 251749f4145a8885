"""A destination whose C code keeps Python's lock, as a library or one long computation may: once for each marker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.event import decode
from dispatcher.outcomes import Delivered, Outcome


class HeldOptions(Options):
    directory: Path


class Held(Destination[HeldOptions]):
    """Takes every batch, and holds the interpreter at the first with ``hold`` in its data."""

    Options = HeldOptions

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        for event in map(decode, batch.payloads):
            marker = self.options.directory / "held"
            if event.data.get("hold") and not marker.exists():
                marker.touch()
                # Takes years, in C; no signal interrupts it, as it would a sleep.
                re.match("(a+)+$", "a" * 80 + "!")
            with (self.options.directory / "delivered").open("a") as file:
                file.write(f"{event.data['n']}\n")
        return [Delivered()] * len(batch.payloads)
