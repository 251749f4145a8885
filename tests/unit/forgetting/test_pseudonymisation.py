"""Pseudonymisation: the person's events stay, and nothing says whose they are; others' keep all but the name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.forgetting import Person
from dispatcher.forgetting.pseudonymisation import Pseudonymisation

PSEUDONYMS = Pseudonyms(bytes(range(32)))
NAME = PSEUDONYMS.name
ADA = Person(user_ids=("4200042",), usernames=("ada", "ada_old"), emails=("Ada@Example.org",))
CHANGE = Pseudonymisation(ADA, PSEUDONYMS)
TIME = "2026-01-02T03:04:05.420004+00:00"


def changed(record: dict[str, Any], change: Pseudonymisation = CHANGE) -> dict[str, Any]:
    line = change.line(json.dumps(record).encode())
    assert line is not None
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_person_s_own_event_keeps_what_happened_and_not_who_and_where() -> None:
    own = {
        "name": "ada.happened",
        "username": "ada",
        "event_type": "ada.happened",
        "event_source": "browser",
        "time": TIME,
        "host": "learn.example.org",
        "ip": "198.51.100.7",
        "page": "https://learn.example.org/courses/course-v1:Org+C+R/u/ada",
        "session": "a1b2c3",
        "agent": "Firefox",
        "context": {"user_id": 4200042, "path": "/u/ada", "email": "other@example.org", "course_id": ""},
        "event": {
            "body": "I am ada (4200042), of a1b2c3. Not ada-lina: ada@else.where, 4.4200042 or Ada@example.ORG",
            "student": "bob",
            "GET": {"user": ["ada"]},
            "n": 4200042,
            "nothing": None,
        },
    }
    assert changed(own) == {
        "name": "ada.happened",
        "username": NAME("ada"),
        "event_type": "ada.happened",
        "event_source": "browser",
        "time": TIME,
        "session": NAME("a1b2c3"),
        "agent": "Firefox",
        "context": {
            "user_id": NAME("4200042"),
            "email": NAME("other@example.org"),
            "course_id": "course-v1:Org+C+R",
            "org_id": "Org",
        },
        "event": {
            "body": f"I am {NAME('ada')} ({NAME('4200042')}), of {NAME('a1b2c3')}. Not ada-lina: ada@else.where, "
            f"4.4200042 or {NAME('ada@example.org')}",
            "student": "bob",
            "n": 4200042,
            "nothing": None,
        },
    }


def test_another_person_s_event_keeps_everything_but_the_name() -> None:
    event = {"student": "ada", "owner": "ada-lina", "cc": ["Ada@Example.org", "eve@example.org"], "url": "/u/ada?a=%20"}
    other = {"username": "bob", "ip": "198.51.100.7", "session": "5", "context": {"user_id": 7}, "event": event}
    renamed = event | {"student": NAME("ada"), "url": f"/u/{NAME('ada')}?a=%20"}
    renamed["cc"] = [NAME("ada@example.org"), "eve@example.org"]
    assert changed(other) == other | {"event": renamed}


def test_a_line_is_written_as_it_was() -> None:
    prefix = b"2026-01-02 03:04:05,006 INFO 0 [tracking] [user 4200042] [ip 198.51.100.7] logger.py:41 - "
    line = prefix + b'{"username": "ada", "event": "{\\"a\\":1,\\"user_id\\":4200042}", "x": [1.0, NaN, "\\u00fc"]}\r'
    user = NAME("4200042")
    before = f"2026-01-02 03:04:05,006 INFO 0 [tracking] [user {user}] [ip None] logger.py:41 - "
    event = f'"{{\\"a\\":1,\\"user_id\\":\\"{user}\\"}}"'
    body = f'{{"username": "{NAME("ada")}", "event": {event}, "x": [1.0, NaN, "\\u00fc"]}}\r'
    assert CHANGE.line(line) == (before + body).encode()
    compact = '{"a":"ü: \\": ","username":"ada"}'
    assert CHANGE.line(compact.encode()) == compact.replace("ada", NAME("ada")).encode()


@pytest.mark.parametrize("line", [b"", b"ada", b'{"username": "ada"', b'["ada"]', b"\xff{\xff ada"], ids=range(5))
def test_what_cannot_be_read_goes(line: bytes) -> None:
    assert CHANGE.line(line) is None


def test_it_is_the_pseudonym_that_an_export_gives_and_exports_keep_it() -> None:
    line = CHANGE.line(b'{"username": "ada", "context": {"user_id": 4200042}}')
    exported = PSEUDONYMS.line(b'{"username": "ada", "context": {"user_id": 4200042}}')
    assert line is not None
    assert json.loads(line) == json.loads(exported)
    assert PSEUDONYMS.line(line) == exported
    assert Pseudonyms(bytes(32)).line(line) != exported


def test_a_short_number_in_a_sentence_is_anything() -> None:
    change = Pseudonymisation(Person(user_ids=("42",)), PSEUDONYMS)
    record = {"context": {"user_id": 42}, "event": {"text": "42 of 42", "user_id": "42"}}
    assert changed(record, change)["event"] == {"text": "42 of 42", "user_id": NAME("42")}


_NAMES = st.sampled_from(["ada", "ADA@example.org", "ada%40example.org", 4_200_042, "4200042", "ada_old", "bob", "a"])
_KEYS = st.sampled_from(["user_id", "username", "student", "recipients", "requestingStudentId", "a", "owner", "id"])
_CUT = st.dictionaries(_KEYS, _NAMES, max_size=3).map(lambda found: json.dumps(found)[:-1])
_ADDRESSES = _NAMES.map(
    lambda name: f"https://x.example/account/{name}/edit?next=%2Fu%2F{name}%2Cb&username={name}&n=1"
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _NAMES | st.none() | st.booleans() | st.floats() | st.text(max_size=4) | _CUT | _ADDRESSES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS | _NAMES.map(str), inner, max_size=4)
        | st.dictionaries(_KEYS, inner, max_size=3).map(json.dumps)
    ),
    max_leaves=12,
)


@given(_VALUES, st.sampled_from(["ada", "bob"]))
def test_the_person_is_found_no_more_and_no_line_goes(event: Any, username: str) -> None:
    line = {"event": event, "username": username, "context": {"user_id": "4200042"}}
    renamed = changed(line)
    assert not ADA.is_named_in(renamed)
    if username == "bob" and not any(name in json.dumps(event).lower() for name in ("ada", "4200042")):
        others = {**line, "context": {}}
        assert json.dumps(CHANGE.record(others)) == json.dumps(others)


@given(_VALUES)
def test_done_again_it_changes_nothing(event: Any) -> None:
    once = CHANGE.record({"event": event, "username": "ada"})
    assert once is not None
    assert json.dumps(CHANGE.record(once)) == json.dumps(once)
