"""Waiting for a condition, with a deadline whose error says what was awaited."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

# The shortest deadline in seconds: other tests run at the same time, and a busy machine is slow.
_LEAST: Final = 30.0


def wait_for(
    condition: Callable[[], T], timeout: float = 10.0, *, every: float = 0.02, what: str | Callable[[], object] = ""
) -> T:
    """Call the condition until its answer is true, and return it. Blocks up to ``timeout`` seconds, at least 30.

    Args:
        every: Seconds between two calls.
        what: What was awaited, for the message. If it is callable, its result is used.

    Raises:
        AssertionError: The condition did not become true in time.
    """
    timeout = max(timeout, _LEAST)
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            story = what() if callable(what) else what
            raise AssertionError(
                f"not within {timeout:g} s: {story or 'the condition'}; the last answer was {answer!r}"
            )
        time.sleep(every)
