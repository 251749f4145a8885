"""A tracking log where one event kills or hangs the worker that delivers it, before or after its append."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Literal

from dispatcher.destinations.base import Batch
from dispatcher.event import decode
from dispatcher.outcomes import Outcome
from dispatcher.tasks.destinations.tracking_log.destination import TrackingLog, TrackingLogOptions


class PoisonousOptions(TrackingLogOptions):
    effect: Literal["kills before", "kills after", "hangs"]
    poison: int
    hang_seconds: float = 0.0


class Poisonous(TrackingLog):
    """Has the effect of its settings at the event whose ``n`` is ``poison``."""

    Options = PoisonousOptions
    options: PoisonousOptions

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        is_poisonous = any(decode(payload).data["n"] == self.options.poison for payload in batch.payloads)
        if is_poisonous and self.options.effect == "kills before":
            os.kill(os.getpid(), signal.SIGKILL)
        if is_poisonous and self.options.effect == "hangs":
            time.sleep(self.options.hang_seconds)
            raise TimeoutError
        outcomes = super().deliver(batch)
        if is_poisonous:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes
