"""Deadly: a destination where one event kills the worker, as if a library crashed on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from dispatcher.destinations.base import Batch
from dispatcher.event import decode
from dispatcher.outcomes import Outcome
from dispatcher.tasks.destinations.segment import Segment


class Deadly(Segment):
    """Like Segment, but it kills its own process during a batch with such an event."""

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        if any("deadly" in decode(payload).data for payload in batch.payloads):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().deliver(batch)
