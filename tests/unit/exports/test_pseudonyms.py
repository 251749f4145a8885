"""Pseudonyms: nothing in a line says who somebody is any more, and the same person is still the same."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import DispatcherError
from dispatcher.exports.pseudonyms import Pseudonyms, read_key
from dispatcher.suppression.names import names_in

KEY = bytes(range(32))
ADA = Pseudonyms(KEY).name("ada")
LINE: dict[str, Any] = {
    "username": "ada",
    "event_type": "edx.forum.comment.created",
    "event_source": "browser",
    "time": "2026-01-02T03:04:05+00:00",
    "host": "learn.example.org",
    "ip": "198.51.100.7",
    "page": "https://learn.example.org/courses/course-v1:Org+C+R/u/ada",
    "session": "a1b2",
    "context": {"user_id": 42, "path": "/u/ada", "client": {"device": {"id": "d"}, "os": {"name": "iOS"}}},
    "event": {
        "body": "I am ada, write to Ada@Example.org or see /u/ada?x=1; adaptable things stay",
        "instructor": {"id": 7, "email": "bob@example.org"},
        "users": ["eve", 42],
        "students": {"eve": {"grade": 1}},
        "GET": {"student": ["ada"]},
        "n": 42,
        "query": "course=1&username=ada",
    },
}


def renamed(line: dict[str, Any] | bytes, key: bytes = KEY) -> dict[str, Any]:
    content = line if isinstance(line, bytes) else json.dumps(line).encode()
    found: dict[str, Any] = json.loads(Pseudonyms(key).line(content))
    return found


def test_every_name_gets_a_pseudonym_and_addresses_go() -> None:
    name = Pseudonyms(KEY).name
    assert renamed(LINE) == {
        "username": ADA,
        "event_type": "edx.forum.comment.created",
        "event_source": "browser",
        "time": "2026-01-02T03:04:05+00:00",
        "session": name("a1b2"),
        "context": {
            "user_id": name("42"),
            "client": {"os": {"name": "iOS"}},
            "course_id": "course-v1:Org+C+R",
            "org_id": "Org",
        },
        "event": {
            "body": f"I am {ADA}, write to {name('ada@example.org')} or see /u/{ADA}?x=1; adaptable things stay",
            "instructor": {"id": name("7"), "email": name("bob@example.org")},
            "users": [name("eve"), name("42")],
            "students": {name("eve"): {"grade": 1}},
            "n": 42,
            "query": f"course=1&username={ADA}",
        },
    }


def test_text_that_is_json_stays_text() -> None:
    event = renamed({**LINE, "event": json.dumps({"user_id": 42, "at": 7})})["event"]
    assert json.loads(event) == {"user_id": Pseudonyms(KEY).name("42"), "at": 7}


def test_another_key_gives_other_pseudonyms() -> None:
    other = Pseudonyms(bytes(32))
    assert other.name("ada") != ADA
    assert other.fingerprint != Pseudonyms(KEY).fingerprint
    assert Pseudonyms(KEY).line(json.dumps(LINE).encode()) == Pseudonyms(KEY).line(json.dumps(LINE).encode())


def test_a_number_and_its_text_are_the_same_person() -> None:
    line = renamed({**LINE, "event": {"user_id": "42", "student": 42, "owner": 42.0}})
    assert len({line["context"]["user_id"], *line["event"].values()}) == 1


@pytest.mark.parametrize(
    "line", [b"", b"no json", b"{", b"[1]", b'{"a": 1}}', b"\xff{\xff", b'{"a": NaN'], ids=range(7)
)
def test_what_cannot_be_read_comes_back(line: bytes) -> None:
    assert Pseudonyms(KEY).line(line) == line


def test_a_prefix_goes_and_python_s_json_is_read() -> None:
    assert renamed(b'root INFO ada: {"username": "ada", "n": NaN}') == {"username": ADA, "n": None}


_NAMES = st.sampled_from(["ada", "ada.l@example.org", "Ada L", 4_242_424_242, "4242424242", "ada,1"])
_KEYS = st.sampled_from(["user_id", "username", "student", "recipients", "requestingStudentId", "a", "owner", "value"])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _NAMES | st.none() | st.booleans() | st.just(""),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS, inner, max_size=4)
        | st.dictionaries(_KEYS, inner, max_size=3).map(json.dumps)
        | _NAMES.map(lambda name: f"https://x.example/account/{name}/edit?username={name}&n=1")
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_nobody_is_named_any_more(event: Any) -> None:
    """``names_in`` is what forget finds people by."""
    line = {"event": event, "username": "ada", "time": "2026-01-02T03:04:05Z"}
    people = {"ada", "ada.l@example.org", "Ada L", "4242424242", "ada,1"}
    assert people.intersection(names_in(line))
    assert not people.intersection(names_in(renamed(line)))


def test_a_key_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = read_key(path)
    assert len(key) == 32
    assert read_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "ab" * 31], ids=["empty", "short", "no-hex", "31-bytes"])
def test_what_is_not_a_key_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(DispatcherError, match="key does not hold a key of pseudonyms"):
        read_key(path)


def test_a_key_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match="cannot be read: "):
        read_key(tmp_path / "missing" / "key")
