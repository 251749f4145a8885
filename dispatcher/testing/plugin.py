"""The pytest plugin, found by its entry point: the fixture ``emitted_events``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.testing.capture import Captured, capture


@pytest.fixture
def emitted_events() -> Iterator[Captured]:
    """What the test's code emits, kept in memory: ``emitted_events.one("shop.order.paid", order=17)``."""
    with capture() as captured:
        yield captured
