"""Makes ``time.sleep`` work under libfaketime, whose clock_nanosleep fails while the monotonic clock stays real."""

from __future__ import annotations

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
