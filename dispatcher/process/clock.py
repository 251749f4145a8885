"""Clock: the machine's own clocks, which no test freezes.

freezegun puts other functions in the place of ``time.monotonic`` and ``time.time_ns`` in all modules. What waits, or
has to be unique, goes by the clocks here; the time of an event is that of ``datetime.now``, which a test may freeze.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, clock_gettime_ns
from typing import Final

#: Seconds that never go back. On Linux the same as ``time.monotonic``.
monotonic: Final[Callable[[], float]] = partial(clock_gettime, CLOCK_MONOTONIC)
#: Nanoseconds since 1970.
time_ns: Final[Callable[[], int]] = partial(clock_gettime_ns, CLOCK_REALTIME)
