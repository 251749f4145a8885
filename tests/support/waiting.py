"""Waiting for a condition, with a deadline that says what was waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

# Seconds that are waited at the least: other tests run beside this one, and a busy machine may take its time.
_LEAST: Final = 30.0


def wait_for(
    condition: Callable[[], T], timeout: float = 10.0, *, every: float = 0.02, what: str | Callable[[], object] = ""
) -> T:
    """Ask until the answer is true, and return it. Blocks up to ``timeout`` seconds, or 30 where that is less.

    Args:
        what: What was waited for, for the message; called where it is callable, to say how things stand.

    Raises:
        AssertionError: It did not become true in time.
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
