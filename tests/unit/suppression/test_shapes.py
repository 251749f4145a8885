"""Shapes: by them nobody is missed whom reading the event finds, however it is spelt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from dispatcher.event import Event, encode
from dispatcher.suppression.names import names_in
from dispatcher.suppression.shapes import Shapes
from dispatcher.suppression.suppression_list import SuppressionList

PEOPLE = ("ada", "4242424242", "ada@example.org", "ädä", "7")


def an_event(data: Any, context: dict[str, Any], name: str = "shop.order.paid") -> bytes:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return encode(Event(id=f"{1:036d}", name=name, timestamp=moment, data=data, context=context))


def learned(*payloads: bytes) -> Shapes:
    shapes = Shapes()
    for payload in payloads:
        shapes.learn(payload, json.loads(payload))
    return shapes


def test_an_event_of_a_known_shape_names_its_people_at_once() -> None:
    context = {
        "user_id": 42,
        "username": "ada",
        "path": "/courses/A+B+C",
        "client": {"os": "x", "session": "s"},
    }
    shapes = learned(an_event({"n": 1, "more": [1, 2]}, context))
    bob = an_event({"n": 2}, context | {"username": "bob", "user_id": None})
    assert set(shapes.people(bob) or ()) == {None, "bob", "s"}
    assert set(shapes.people(an_event({}, {"client": {}})) or ()) == {UNSET}
    assert shapes.people(an_event({"page": "/x?from=1&n=2"}, {})) is None
    assert learned(an_event({"page": "?a=1"}, {})).people(an_event({"page": "/x?from=1&n=2%3A"}, {})) == []


_PLAIN = {"user_id": 42, "a": "x", "b": {"c": 1}}


@pytest.mark.parametrize(
    "data",
    [
        *(
            {"student": "bob"},
            {"a": {"student": "bob"}},
            {"a": [{"student": "bob"}]},
            {"b": {"d": 1}},
            {"user_id": [1]},
        ),
        *(
            {"a": "bob@example.org"},
            {"a": "bob%40example.org"},
            {"a": "/u/bob"},
            {"a": "x?user=bob"},
            {"a": "user=bob"},
        ),
        *(
            {"a": "x?us%65r=bob"},
            {"a": "n=%2Fu%2Fbob"},
            {"a": '{"user": "bob"}'},
            {"a": "{user}"},
            {"a": "x\n"},
            [1],
            5,
        ),
    ],
    ids=range(17),
)
def test_where_a_name_may_be_hidden_the_event_is_read(data: Any) -> None:
    shapes = learned(an_event(_PLAIN, {}))
    assert set(shapes.people(an_event(_PLAIN, {})) or ()) == {42}
    assert shapes.people(an_event(data, {})) is None


def test_an_event_of_another_shape_does_not_spoil_it() -> None:
    odd = [an_event({"user_id": [1], "b": 5, "a": {"d": 1}}, {}), an_event([1], {})]
    shapes = learned(an_event(_PLAIN, {}), *odd)
    assert set(shapes.people(an_event(_PLAIN, {})) or ()) == {42}
    assert [shapes.people(one) for one in odd] == [None, None]


def test_events_of_ever_other_keys_are_given_up() -> None:
    shapes = learned(*(an_event({f"k{n}": 1 for n in range(first, first + 9)}, {}) for first in range(0, 900, 9)))
    assert shapes.people(an_event({"k1": 1}, {})) is None


_NAMES = st.sampled_from([*PEOPLE, "ADA@Example.org", "ada%40example.org", 4_242_424_242, 7, 7.0, 70, "bob", True])
_KEYS = st.sampled_from(["user_id", "username", "student", "users", "a", "b", "id", "requestingStudentId", "mail"])
_TEXTS = _NAMES.flatmap(
    lambda name: st.sampled_from(
        [
            f"/u/{name}",
            f"/x?user={name}&n=1",
            f"user={name}",
            f"to {name}, and",
            f'{{"user": "{name}',
            f"n=%2Fu%2F{name}",
        ]
    )
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _NAMES | _TEXTS | st.none() | st.floats(allow_nan=False) | st.integers(-(2**65), 2**65) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS, inner, max_size=4)
        | st.dictionaries(_KEYS, inner, max_size=2).map(json.dumps)
    ),
    max_leaves=6,
)
_EVENTS = st.builds(
    an_event, _VALUES, st.dictionaries(_KEYS, _VALUES, max_size=4), st.sampled_from(["a", "b", "/u/ada"])
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("suppressed")
    SuppressionList(directory).add(PEOPLE, receipt="r1")
    return directory


@settings(max_examples=40)
@given(events=st.lists(_EVENTS, min_size=2, max_size=5))
def test_nobody_is_missed_and_nobody_else_is_found(directory: Path, events: list[bytes]) -> None:
    suppressed = SuppressionList(directory)
    suppressed.refresh()
    # Twice, so that the second time most are of a known shape.
    for payload in (*events, *events):
        expected = not set(PEOPLE).isdisjoint(names_in(json.loads(payload)))
        assert suppressed.is_named_in_payload(payload) is expected, payload
