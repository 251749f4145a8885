"""The pytest plugin, found by its entry point: the fixture ``emitted_events``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dispatcher.testing.capture import Captured


@pytest.fixture
def emitted_events() -> Iterator[Captured]:
    """What the test's code emits, kept in memory: ``emitted_events.one("shop.order.paid", order=17)``."""
    # Not at the top: pytest loads plugins in every project that has dispatcher installed, whether or not it tests it.
    from dispatcher.testing.capture import capture  # noqa: PLC0415

    with capture() as captured:
        yield captured
