"""Case: what ``unittest.TestCase`` and Django's test cases need for what was emitted."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING

from dispatcher.emit.context import EMPTY, replace_context
from dispatcher.testing.capture import Captured, capture

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class EmittedEventsMixin(_Base):
    """Captures what each test emits, as ``self.emitted_events``. Put it before the test case's class.

    It holds for code that Django's test client runs, and for coroutines of ``IsolatedAsyncioTestCase``. Nothing is
    bound when a test begins, and what it leaves bound ends with it.
    """

    emitted_events: Captured

    def setUp(self) -> None:
        """Begin to capture; ends by itself after the test."""
        super().setUp()
        self.addCleanup(replace_context, replace_context(EMPTY))
        self.emitted_events = self.enterContext(capture())
