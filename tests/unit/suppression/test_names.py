"""What in an event, or in a line of a log, says whom it is about."""

from __future__ import annotations

import json

import pytest

from dispatcher.suppression.names import names_in, names_person


@pytest.mark.parametrize(
    "key",
    [
        *("user_id", "userId", "username", "user", "student", "instructor", "requesting_student_id", "anonymous_id"),
        *(
            "anonymousUserId",
            "lms_user_id",
            "session",
            "session_id",
            "sessionKey",
            "email",
            "email_address",
            "UserName",
        ),
        *("unique_student_identifier", "users", "userid", "USER_ID", "author_id", "recipients", "email_address"),
    ],
)
def test_keys_that_name_a_person(key: str) -> None:
    assert names_person(key)


@pytest.mark.parametrize(
    "key", ["user_count", "user_agent", "id", "name", "course_id", "problem_id", "student_module_id", "", "page", "42"]
)
def test_keys_that_do_not(key: str) -> None:
    assert not names_person(key)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"context": {"user_id": 42}}, "42"),
        ({"context": {"user_id": 42.0}}, "42"),
        ({"username": "ada"}, "ada"),
        ({"event": json.dumps({"a": [{"student": "ada"}]})}, "ada"),
        ({"event": json.dumps({"POST": json.dumps({"user": "ada"})})}, "ada"),
        ({"event": "action=enroll&unique_student_identifier=ada&x=1"}, "ada"),
        ({"users": ["bob", "ada"]}, "ada"),
        ({"user": {"id": 42, "role": "staff"}}, "42"),
        ({"students": {"ada": 3}}, "ada"),
        ({"page": "https://lms.example.org/u/ada?tab=1"}, "ada"),
        ({"event_type": "/api/user/v1/accounts/ada"}, "ada"),
        ({"path": "/api/enrollment/v1/enrollment/ada,course-v1:A+B+C"}, "ada"),
        ({"referer": "https://lms.example.org/x?student=ada"}, "ada"),
        ({"event": {"text": "write to Ada@Example.org, please"}}, "ada@example.org"),
        ({"page": "/login?mail=ada%40example.org"}, "ada@example.org"),
        ({"text": '{"username": "ada", "event": {"x": '}, "ada"),
        ({"event": '{"POST": {"text": "{\\"user_id\\": 42, \\"x'}, "42"),
    ],
    ids=[f"case{number}" for number in range(17)],
)
def test_names_are_found_wherever_a_line_has_them(value: object, name: str) -> None:
    assert name in set(names_in(value))


@pytest.mark.parametrize(
    "value",
    [{"event": {"grade": 42}}, {"user_count": 42}, {"event": {"answer": "ada"}}, {"user": True}, {"user_id": None}, {}],
    ids=["grade", "count", "answer", "truth", "null", "empty"],
)
def test_other_values_name_nobody(value: object) -> None:
    assert not {"42", "ada", "True", "1"} & set(names_in(value))


def test_json_in_json_in_json_is_read_however_deep() -> None:
    text = json.dumps({"user": "ada"})
    for _ in range(5):
        text = json.dumps({"more": text})
    assert "ada" in set(names_in({"event": text}))
