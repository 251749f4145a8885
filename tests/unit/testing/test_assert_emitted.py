"""``assert_emitted`` and the mixin for unittest."""

from __future__ import annotations

import enum
import unittest
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import UUID

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


class Colour(enum.StrEnum):
    RED = "red"


def test_values_may_be_given_as_they_were_emitted(emitted_events: Captured) -> None:
    data = {
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "id": UUID(int=7),
        "price": Decimal("1.50"),
        "colour": Colour.RED,
        "sizes": (1, 2),
        1: {"deep": ({"a": 1, "b": 2}, None)},
    }
    tracker.emit("shop.paid", data)  # type: ignore[arg-type]
    emitted_events.assert_emitted("shop.paid", data)  # type: ignore[arg-type]
    emitted_events.assert_emitted("shop.paid", {"sizes": [1, 2], "1": {"deep": [{"b": 2}, None]}})
    emitted_events.assert_emitted("shop.paid", {"at": mock.ANY, "sizes": [pytest.approx(1.0), mock.ANY]})
    emitted_events.one("shop.paid", sizes=(1, 2), at=data["at"])
    for wrong in ((1,), (2, 1), (1, 2, 3), "12", {}):
        emitted_events.assert_emitted("shop.paid", {"sizes": wrong}, count=0)


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"sizes": (1, 3)}, ["-       3", "+       2"]),
        ({"at": datetime(2026, 1, 31, tzinfo=UTC)}, ['-     "at": "2026-01-31T00:00:00Z"', '+     "at": "soon"']),
        ({"items": [{"id": 2}]}, ['-         "id": 2', '+         "id": 1']),
        ({"at": mock.ANY, "total": 2}, ['-     "total": 2', '+     "total": 1']),
        ({"missing": None}, ['-     "missing": null']),
        ({"total": pytest.approx(2)}, ['-     "total": "2 ± 2.0e-06"', '+     "total": 1']),
    ],
    ids=["tuple", "date", "dict in a list", "matcher", "missing", "approx"],
)
def test_the_difference_is_all_that_is_marked(
    emitted_events: Captured, wanted: dict[str, Any], lines: list[str]
) -> None:
    tracker.emit("shop.paid", {"sizes": [1, 2], "at": "soon", "items": [{"id": 1, "name": "tea"}], "total": 1})
    with pytest.raises(AssertionError) as raised:
        emitted_events.assert_emitted("shop.paid", wanted)
    marked = [line.strip() for line in str(raised.value).splitlines()[2:] if line.strip()[:1] in ("-", "+")]
    # An emitted dict that lacks the key differs in its brackets too.
    assert [line for line in marked if line.strip("-+ ") not in ("{", "}", '"data": {', '"data": {},', "},")] == lines


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
            (event,) = self.emitted_events.assert_emitted("shop.paid", {"order": 17})
            assert event.context == {}
            tracker.enter_context("left over", {"path": "/pay"})

    class AsyncOrders(EmittedEventsMixin, unittest.IsolatedAsyncioTestCase):
        async def test_it(self) -> None:
            tracker.emit("shop.paid", {"order": 17})
            self.emitted_events.assert_emitted("shop.paid", {"order": 17})

    for case in (Orders("test_it"), AsyncOrders("test_it"), Orders("test_it")):
        result = case.run()
        assert result is not None
        assert result.wasSuccessful(), result.failures + result.errors
