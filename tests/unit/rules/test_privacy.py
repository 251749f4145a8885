"""Privacy: what a destination must not get is dropped, masked or hashed, anywhere in the event."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from dispatcher.config.rules import PrivacySettings
from dispatcher.event import Event
from dispatcher.rules.hashing import hash_text, hash_value
from dispatcher.rules.privacy import Privacy, is_address, is_address_key

ADA = sha256(b"ada@example.org").hexdigest()


def cleaned(table: dict[str, Any], data: Any, context: dict[str, Any] | None = None) -> Event:
    event = Event(id="i", name="n", timestamp=datetime.now(UTC), data=data, context=context or {})
    before = copy.deepcopy(event)
    made = Privacy(PrivacySettings.model_validate(table), emails="keep").apply(event)
    assert event == before, "the event that was given has changed"
    return made


def test_fields_are_dropped_masked_and_hashed_by_their_paths() -> None:
    event = cleaned(
        {
            "drop": ["context.ip", "items.*.note"],
            "mask": ["phone", "context.agent"],
            "hash": ["context.username", "ids.*"],
        },
        {"phone": {"home": 1}, "items": [{"note": 1, "sku": 2}], "ids": {"a": "A ", "b": 7}},
        {"ip": "192.0.2.7", "agent": "Mozilla", "username": " Ada ", "user_id": 7},
    )
    assert event.data == {
        "phone": "***",
        "items": [{"sku": 2}],
        "ids": {"a": hash_text("a"), "b": hash_text("7")},
    }
    assert event.context == {"agent": "***", "username": sha256(b"ada").hexdigest(), "user_id": 7}


def test_null_is_not_masked() -> None:
    assert cleaned({"mask": ["a"]}, {"a": None}).data == {"a": None}


def test_text_is_trimmed_and_lower_cased_before_hashing() -> None:
    assert hash_text(" Ada@Example.ORG\n") == ADA
    assert hash_value("") == ""
    assert hash_value(" ") == " "
    assert hash_value([1, 2.5, True, None, {"a": "b"}]) == [
        sha256(b"1").hexdigest(),
        sha256(b"2.5").hexdigest(),
        True,
        None,
        {"a": sha256(b"b").hexdigest()},
    ]


@pytest.mark.parametrize("text", [ADA, ADA.upper()])
def test_a_hash_is_not_hashed_again(text: str) -> None:
    assert hash_text(text) == text


def test_a_lone_surrogate_can_be_hashed() -> None:
    assert len(hash_text("\ud800")) == 64


@pytest.mark.parametrize(
    ("treatment", "value", "listed"),
    [("hash", ADA, [ADA]), ("mask", "***", ["***"]), ("drop", None, [])],
)
def test_email_addresses_are_found_anywhere(treatment: str, value: str | None, listed: list[str]) -> None:
    event = cleaned(
        {"emails": treatment},
        {
            "who": " ada@example.org",
            "in": {"deep": [{"er": "Ada@Example.org"}]},
            "list": ["ada@example.org", "x"],
            "n": 1,
        },
        {"traits": {"email": "ada@example.org"}, "user_id": "ada@example.org", "ip": "192.0.2.7"},
    )
    kept = {} if value is None else {"value": value}

    def either(key: str) -> dict[str, Any]:
        return {key: kept["value"]} if kept else {}

    assert event.data == either("who") | {"in": {"deep": [either("er")]}, "list": [*listed, "x"], "n": 1}
    assert event.context == {"traits": either("email"), **either("user_id"), "ip": "192.0.2.7"}


def test_any_value_under_an_address_key_counts_as_an_address() -> None:
    data = {"email": "ada at example", "emails": ["ada", ["bob"]], "email_opt_in": True, "mail": "", "e-mail": None}
    assert cleaned({"emails": "mask"}, data).data == data | {"email": "***", "emails": ["***", ["***"]]}


def test_email_addresses_are_kept_if_the_settings_say_so() -> None:
    data = {"email": "ada@example.org"}
    assert Privacy(PrivacySettings(emails="keep"), emails="hash").apply(an(data)).data == data
    assert Privacy(PrivacySettings(), emails="hash").apply(an(data)).data == {"email": ADA}


def an(data: Any) -> Event:
    return Event(id="i", name="n", timestamp=datetime.now(UTC), data=data, context={})


def test_an_event_without_any_address_stays_the_same_object() -> None:
    event = an({"a": [{"b": "c"}], "d": 1})
    assert Privacy(PrivacySettings(emails="hash", drop=("x",)), emails="keep").apply(event) is event


@pytest.mark.parametrize(("data", "made"), [("ada@example.org", ADA), ("a=1", "a=1"), (None, None), ([], [])])
def test_data_other_than_an_object_is_searched_too(data: Any, made: Any) -> None:
    assert cleaned({"emails": "hash"}, data).data == made


def test_data_that_is_an_address_is_dropped_to_an_empty_object() -> None:
    assert cleaned({"emails": "drop"}, "ada@example.org").data == {}


@pytest.mark.parametrize(
    "text", ["ada@example.org", " a.b+c@x.example.co.uk ", "o'hara@example.org", "jürgen@exämple.org", "a_b-c@1.de"]
)
def test_email_addresses_are_recognised(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ada",
        "@ada",
        "ada@localhost",
        "Ada <ada@example.org>",
        "write to ada@example.org",
        "https://example.org/@ada.x",
        "https://x.example/?email=ada@example.org",
        "block-v1:Org+C1+R1+type@video+block@intro",
        "asset-v1:Org+C1+R1+type@asset+block@image.png",
        "course-v1:Org+C1+R1",
        "ccx-v1:Org+C1+R1+ccx@1",
        f"{'a' * 250}@example.org",
    ],
)
def test_other_texts_are_not_taken_for_addresses(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    "key",
    [
        "email",
        "Email",
        "e_mail",
        "e-mail",
        "mail",
        "user_email",
        "userEmail",
        "EMAIL_ADDRESS",
        "emailAddress",
        "emails",
    ],
)
def test_keys_of_email_addresses_are_recognised(key: str) -> None:
    assert is_address_key(key)


@pytest.mark.parametrize("key", ["email_opt_in", "emailed", "email_count", "mailing_list", "name", "", "email_type"])
def test_other_keys_are_not_taken_for_address_keys(key: str) -> None:
    assert not is_address_key(key)


@pytest.mark.parametrize(("treatment", "names"), [("hash", {ADA}), ("mask", {"***"}), ("drop", set())])
def test_an_address_in_the_name_of_a_field_is_treated_at_every_depth(treatment: str, names: set[str]) -> None:
    for data in ({"ada@example.org": 3}, {"a": [{"b": {"Ada@example.org": {"c": 1}}}]}):
        text = repr(cleaned({"emails": treatment}, data).data)

        assert "@" not in text
        assert all(name in text for name in names)


def test_two_masked_names_do_not_become_one() -> None:
    data = cleaned({"emails": "mask"}, {"ada@example.org": 1, "bob@example.org": 2, "x": 3}).data

    assert sorted(data.values()) == [1, 2, 3]
    assert not any("@" in key for key in data)


@pytest.mark.parametrize(
    ("path", "data", "left"),
    [
        ("ip", {"IP": 1, "Ip": 2, "x": 3}, {"x": 3}),
        ("user.email", {"User": {"EMAIL": 1, "x": 2}}, {"User": {"x": 2}}),
        ("items.email", {"items": [{"email": 1, "x": 2}, {"Email": 3}]}, {"items": [{"x": 2}, {}]}),
        ("items.0.email", {"items": [{"email": 1}, {"email": 2}]}, {"items": [{}, {"email": 2}]}),
        ("a.b", {"a": [[{"b": 1}], {"b": [1]}]}, {"a": [[{}], {}]}),
    ],
)
def test_a_path_finds_keys_of_any_case_and_in_lists(path: str, data: Any, left: Any) -> None:
    assert cleaned({"emails": "keep", "drop": [path]}, data).data == left


@pytest.mark.parametrize("rule", ["drop", "mask", "hash"])
def test_a_rule_for_the_context_holds_for_that_of_a_segment_call(rule: str) -> None:
    call = {"event": "a.b", "context": {"IP": "203.0.113.9", "page": 1}}
    event = Event(id="1", type="track", name="a.b", timestamp=datetime.now(UTC), data=call, context={})
    table = PrivacySettings.model_validate({rule: ["context.ip"], "emails": "keep"})

    assert "203.0.113.9" not in repr(Privacy(table, emails="keep").apply(event))
