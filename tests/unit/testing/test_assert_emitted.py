"""``assert_emitted`` and the mixin for unittest."""

from __future__ import annotations

import unittest

import pytest

from dispatcher import tracker
from dispatcher.testing import Captured, EmittedEventsMixin

EMITTED = ({"order": 17, "who": {"id": 7, "name": "ada"}}, {"order": 18, "who": {"id": 8, "name": "bob"}})


@pytest.fixture
def emitted(emitted_events: Captured) -> Captured:
    for data in EMITTED:
        with tracker.context("request", {"user_id": data["order"], "path": "/pay"}):
            tracker.emit("shop.paid", data)
    return emitted_events


def test_parts_are_enough_at_any_depth(emitted: Captured) -> None:
    (event,) = emitted.assert_emitted("shop.paid", {"who": {"id": 8}}, context={"user_id": 18})
    assert event.data == EMITTED[1]
    assert len(emitted.assert_emitted("shop.paid", count=2)) == 2
    assert len(emitted.assert_emitted("shop.paid", context={"path": "/pay"}, count=None)) == 2
    assert emitted.assert_emitted("shop.paid", {"order": 19}, count=0) == []
    assert emitted.assert_emitted("shop.other", count=0) == []


def test_the_closest_event_shows_where_it_differs(emitted: Captured) -> None:
    with pytest.raises(AssertionError) as raised:
        emitted.assert_emitted("shop.paid", {"order": 18, "who": {"name": "eve"}})
    assert str(raised.value).splitlines() == [
        "wanted 1 event 'shop.paid', found 0",
        "the closest of 2 others of that name (- wanted, + emitted):",
        "    {",
        '      "data": {',
        '        "order": 18,',
        '        "who": {',
        '  -       "name": "eve"',
        '  +       "name": "bob"',
        "        }",
        "      },",
        '      "context": {}',
        "    }",
    ]


def test_a_missing_name_and_a_wrong_number_are_said(emitted: Captured) -> None:
    with pytest.raises(AssertionError, match=r"wanted 1 event 'shop.other', found 0\nemitted were: shop.paid$"):
        emitted.assert_emitted("shop.other")
    with pytest.raises(AssertionError, match=r"wanted 0 events 'shop.paid', found 2$"):
        emitted.assert_emitted("shop.paid", count=0)
    emitted.clear()
    with pytest.raises(AssertionError, match=r"wanted at least one event 'shop.paid', found 0\nnothing was emitted"):
        emitted.assert_emitted("shop.paid", count=None)


def test_a_unittest_has_what_it_emits() -> None:
    class Orders(EmittedEventsMixin, unittest.TestCase):
        def test_it(self) -> None:
            tracker.emit("shop.paid", {"order": 17})
            self.emitted_events.assert_emitted("shop.paid", {"order": 17}, context={"path": "/pay"}, count=0)
            tracker.enter_context("left over", {"path": "/pay"})

    class AsyncOrders(EmittedEventsMixin, unittest.IsolatedAsyncioTestCase):
        async def test_it(self) -> None:
            tracker.emit("shop.paid", {"order": 17})
            self.emitted_events.assert_emitted("shop.paid", {"order": 17})

    for case in (Orders("test_it"), AsyncOrders("test_it"), Orders("test_it")):
        result = case.run()
        assert result is not None
        assert result.wasSuccessful(), result.failures + result.errors
