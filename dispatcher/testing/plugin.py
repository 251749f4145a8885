"""The pytest plugin, found by its entry point: the fixtures ``emitted_events`` and ``browser_events``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.emit.context import EMPTY, replace_context
from dispatcher.testing.browser import BrowserEvents, capture_browser
from dispatcher.testing.capture import Captured, capture


@pytest.fixture
def emitted_events() -> Iterator[Captured]:
    """What the test's code emits, kept in memory: ``emitted_events.one("shop.order.paid", order=17)``.

    Nothing is bound when the test begins, and what it leaves bound ends with it.
    """
    before = replace_context(EMPTY)
    try:
        with capture() as captured:
            yield captured
    finally:
        replace_context(before)


@pytest.fixture
def browser_events() -> Iterator[BrowserEvents]:
    """What browsers send to a collector of the test's own, kept in memory: ``browser_events.wait_for("page.read")``."""
    with capture_browser() as captured:
        yield captured
