"""Waiting for a condition, with a deadline whose error says what was awaited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

#: The shortest deadline in seconds for what is sure to come soon, and the longest time that counts as soon: other tests
#: run at the same time, and a busy machine is slow. What would hang has to hang for longer.
PATIENCE: Final = 60.0
#: Whether a condition is being called: what it looks at may be half done.
is_waiting: Final = ContextVar("is_waiting", default=False)


def wait_for(
    condition: Callable[[], T], timeout: float = PATIENCE, *, every: float = 0.02, what: str | Callable[[], object] = ""
) -> T:
    """Call the condition until its answer is true, and return it.

    Args:
        timeout: The most seconds that it blocks; less than ``PATIENCE`` is taken for that.
        every: Seconds between two calls.
        what: What was awaited, for the message. If it is callable, its result is used.

    Raises:
        AssertionError: The condition did not become true in time.
    """
    timeout = max(timeout, PATIENCE)
    deadline = time.monotonic() + timeout
    while True:
        was_waiting = is_waiting.set(True)
        try:
            answer = condition()
        finally:
            is_waiting.reset(was_waiting)
        if answer:
            return answer
        if time.monotonic() >= deadline:
            story = what() if callable(what) else what
            raise AssertionError(
                f"not within {timeout:g} s: {story or 'the condition'}; the last answer was {answer!r}"
            )
        time.sleep(every)


@contextmanager
def soon() -> Iterator[None]:
    """Fail if the block takes ``PATIENCE`` or longer: for what must not hang. Shorter times are for benchmarks."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < PATIENCE, f"it took {took:.1f} s"
