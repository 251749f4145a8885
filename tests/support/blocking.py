"""A destination whose C code holds Python's lock, as a library or a long computation may."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.event import decode
from dispatcher.outcomes import Delivered, Outcome


class BlockingOptions(Options):
    directory: Path


class Blocking(Destination[BlockingOptions]):
    """Takes every batch. Blocks the interpreter at the first event with ``block`` in its data."""

    Options = BlockingOptions

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        for event in map(decode, batch.payloads):
            marker = self.options.directory / "blocked"
            if event.data.get("block") and not marker.exists():
                marker.touch()
                # Runs in C for years, and no signal interrupts it.
                re.match("(a+)+$", "a" * 80 + "!")
            with (self.options.directory / "delivered").open("a") as file:
                file.write(f"{event.data['n']}\n")
        return [Delivered()] * len(batch.payloads)
