"""A person's identifiers."""

from __future__ import annotations

import pytest

from dispatcher.forgetting import Person


def test_a_person_is_named_by_any_identifier() -> None:
    person = Person(user_ids=("42",), usernames=("ada", "ada_old"), emails=("Ada@Example.org",))
    assert person.is_named_in({"context": {"user_id": 42}})
    assert person.is_named_in({"event": {"instructor": "ada_old"}})
    assert person.is_named_in({"event": {"to": "ada@example.ORG"}})
    assert not person.is_named_in({"context": {"user_id": 421}, "username": "adam"})


@pytest.mark.parametrize(
    "given",
    [{}, {"user_ids": ("",)}, {"usernames": ("a\nb",)}, {"emails": ("grace",)}, {"sessions": ("x" * 513,)}],
    ids=["nobody", "empty", "control", "no_at", "long"],
)
def test_what_names_nobody_is_refused_without_being_quoted(given: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"nobody|one of") as caught:
        Person(**given)
    assert "grace" not in str(caught.value)
