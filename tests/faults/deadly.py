"""Deadly: a destination whose worker is killed by one event, as by a library that crashes on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from dispatcher.destinations.base import Batch
from dispatcher.event import decode
from dispatcher.outcomes import Outcome
from dispatcher.tasks.destinations.segment import Segment


class Deadly(Segment):
    """Segment's, but kill -9 of its own process in the middle of a batch with such an event."""

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        if any("deadly" in decode(payload).data for payload in batch.payloads):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().deliver(batch)
