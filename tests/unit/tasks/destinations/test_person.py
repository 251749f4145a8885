"""Whom an event is about: where each destination looks, and that all of them take the same values for ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.destinations.browser.base import page_user
from dispatcher.event import Event
from dispatcher.tasks.destinations.person import Person, segment_ids
from dispatcher.tasks.destinations.segment import to_message


def an_event(data: Any = None, /, *, type: Any = "event", **context: Any) -> Event:
    return Event(
        id="019abcde-0000-7000-8000-000000000001",
        type=type,
        name="edx.course.enrollment.activated",
        timestamp=datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC),
        data={} if data is None else data,
        context=context,
    )


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        (0, "0"),
        (7, "7"),
        (7.0, "7"),
        (" 7 ", "7"),
        ("7.00", "7.00"),
        *((value, None) for value in (7.5, True, False, None, "", "  ", "a\x00b", [7], {"id": 7})),
    ],
)
def test_all_destinations_take_the_same_values_for_ids(value: Any, id_: str | None) -> None:
    event = an_event(user_id=value)
    assert Person.of(event).user_id == id_
    assert page_user(event) == id_
    assert segment_ids(event).get("userId") == id_
    assert to_message(event).get("userId") == id_

    visitor = an_event(session=value)
    assert Person.of(visitor).anonymous_id == id_
    assert to_message(visitor)["anonymousId"] == (id_ or visitor.id)


@pytest.mark.parametrize("damaged", [True, 7.5, "  ", "a\x00b", {}])
def test_a_value_that_is_no_id_gives_way_to_the_next_place(damaged: Any) -> None:
    call = an_event({"userId": damaged, "anonymousId": damaged}, type="track", user_id=damaged, anonymous_id="visitor")

    assert segment_ids(call) == {"anonymousId": "visitor"}
    assert Person.of(call).anonymous_id == "visitor"
    assert Person.of(an_event({"user_id": 5}, user_id=damaged)).user_id == "5"
    assert Person.of(an_event({"email": damaged}, email="ada@example.org")).email == "ada@example.org"


@pytest.mark.parametrize("value", [True, 1.5, "", " ", {}, []])
def test_groups_and_previous_ids_are_ids_too(value: Any) -> None:
    data = {"userId": "1", "groupId": value, "previousId": value}
    assert not {"groupId", "previousId"} & to_message(an_event(data, type="group")).keys()
    assert to_message(an_event({"userId": "1", "groupId": 7.0}, type="group"))["groupId"] == "7"
    assert to_message(an_event({"userId": "1", "previousId": 0}, type="alias"))["previousId"] == "0"


def test_segment_does_not_take_the_data_or_a_name_for_who_acted() -> None:
    event = an_event({"user_id": 9, "username": "eve"}, username="ada", session="s")

    assert segment_ids(event) == {"anonymousId": "s"}
    assert Person.of(event).user_id == "9"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/courses/course-v1:Org+C1+R1/about", "https://learn.example.org/courses/course-v1:Org+C1+R1/about"),
        ("courses", "https://learn.example.org/courses"),
        ("/a b/größe", "https://learn.example.org/a%20b/gr%C3%B6%C3%9Fe"),
        ("/größe", "https://learn.example.org/größe"),
        ("/a%20b <c>", "https://learn.example.org/a%20b%20%3Cc%3E"),
        ("", None),
        ("/" * 9_000, None),
        (7, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_page_of_a_host_and_a_path_is_a_url(path: Any, url: str | None) -> None:
    assert Person.of(an_event(host="learn.example.org", path=path, page="x_module")).page_url == url


def test_segment_gets_nothing_that_a_browser_has_damaged() -> None:
    damaged = {"ip": "unknown", "agent": "a\x00", "page": "x_module", "referer": "about:blank", "client_id": {}}
    assert to_message(an_event(**damaged))["context"].keys() == {"library"}

    mended = {"ip": "::ffff:192.0.2.7", "agent": " Mozilla ", "referer": "android-app://com.example/"}
    context = to_message(an_event(**mended))["context"]
    assert (context["ip"], context["userAgent"]) == ("192.0.2.7", "Mozilla")
    assert context["page"] == {"referrer": "android-app://com.example/"}
