"""References: only who has the secret makes one, none holds an id, and each opens its own mailboxes."""

from __future__ import annotations

from random import Random

import pytest
from freezegun import freeze_time

from dispatcher.secrecy.visitor import (
    CONTEXT_KEY,
    mailbox_of,
    mailbox_of_context,
    make_reference,
    read_references,
)

SECRET = b"s" * 32
OWN = "p_" + "0123456789abcdef" * 2


def test_a_reference_opens_the_mailboxes_of_its_session_and_user() -> None:
    reference = make_reference(SECRET, session="s-1", user_id=5)

    assert read_references(SECRET, [reference]) == (
        [mailbox_of_context(SECRET, {"session": "s-1", "user_id": 6}), mailbox_of_context(SECRET, {"user_id": "5"})],
        "",
    )
    assert "s-1" not in reference
    assert reference.count("_") == 4


def test_a_page_of_its_own_random_bits_has_a_mailbox_of_its_own() -> None:
    [name], problem = read_references(SECRET, [OWN])

    assert problem == ""
    assert name == mailbox_of(SECRET, "page", OWN[2:])
    assert OWN[2:] not in name
    assert mailbox_of_context(SECRET, {CONTEXT_KEY: name, "session": "s-1", "user_id": 5}) == name


def test_a_page_that_calls_itself_a_users_gets_none_of_the_users_events() -> None:
    user = mailbox_of(SECRET, "user", 5)
    forged = [f"p_{user}", f"v_ffffffff_{user}_{'0' * 32}", make_reference(b"other" * 8, user_id=5)]
    for reference in forged:
        assert user not in read_references(SECRET, [reference])[0]


@pytest.mark.parametrize("place", [3, 20, -1])
def test_a_changed_reference_is_forged(place: int) -> None:
    good = make_reference(SECRET, user_id=5)
    swapped = good[:place] + ("0" if good[place] != "0" else "1") + (good[place + 1 :] if place != -1 else "")

    assert read_references(SECRET, [swapped]) == ([], "forged_visitor")


def test_a_reference_ends_after_its_hours() -> None:
    with freeze_time("2026-01-31T12:00:00Z"):
        reference = make_reference(SECRET, user_id=5, hours=2)
        assert read_references(SECRET, [reference])[1] == ""
    with freeze_time("2026-01-31T14:00:01Z"):
        assert read_references(SECRET, [reference]) == ([], "expired_visitor")
        assert read_references(SECRET, [OWN, reference])[0] == [mailbox_of(SECRET, "page", OWN[2:])]


@pytest.mark.parametrize(
    "references",
    [[5], [None], [{}], ["p_short"], [OWN.upper()], ["p_" + "\u0661" * 32], [OWN] * 5, ["v_" + "f" * 500]],
)
def test_odd_references_are_refused(references: list[object]) -> None:
    assert read_references(SECRET, references)[1] == "forged_visitor"


def test_no_reference_is_no_visitor() -> None:
    assert read_references(SECRET, []) == ([], "unknown_visitor")


def test_nothing_that_is_made_of_references_opens_what_none_of_them_does() -> None:
    chance = Random(14)
    alice, bob = (make_reference(SECRET, session=who, user_id=who) for who in ("alice", "bob"))
    foreign = make_reference(b"t" * 32, session="bob", user_id="bob")
    with freeze_time("2020-01-01T00:00:00Z"):
        ended = make_reference(SECRET, session="bob", user_id="bob")
    names = set(read_references(SECRET, [alice])[0])
    material = [*alice.split("_"), *bob.split("_"), *foreign.split("_"), *ended.split("_"), *names, OWN, "p", "v"]

    for _ in range(20_000):
        parts = alice.split("_")
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(parts) + 1)
            parts[place : place + chance.choice((0, 1, 1, 2))] = chance.choices(material, k=chance.choice((0, 1, 1, 2)))
        text = "_".join(parts)
        if chance.random() < 0.3:
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chance.choice("0f_vp") + text[place + chance.choice((0, 1)) :]
        found, problem = read_references(SECRET, [text])
        opened = set(found) - ({mailbox_of(SECRET, "page", text[2:])} if text.startswith("p_") else set())
        assert opened <= (names if text == alice else set(read_references(SECRET, [bob])[0]) if text == bob else set())
        assert problem or found
    for text in (foreign, ended):
        assert read_references(SECRET, [text])[0] == []


@pytest.mark.parametrize("context", [{}, {"user_id": None}, {"user_id": True}, {"session": ""}, {CONTEXT_KEY: "x"}])
def test_an_event_of_nobody_has_no_mailbox(context: dict[str, object]) -> None:
    assert mailbox_of_context(SECRET, context) is None


def test_another_secret_makes_other_names() -> None:
    assert mailbox_of(SECRET, "user", 5) != mailbox_of(b"t" * 32, "user", 5) != mailbox_of(b"t" * 32, "session", 5)
