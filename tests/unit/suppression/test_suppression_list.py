"""The list of people who are to be forgotten, and what stands in the place of their events."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.errors import DispatcherError
from dispatcher.event import decode
from dispatcher.suppression.suppression_list import SuppressionList
from dispatcher.suppression.tombstone import is_tombstone, tombstone

ADA = (
    b'{"id":"0199d9f4-0000-7000-8000-000000000000","type":"event","name":"shop.order.paid",'
    b'"timestamp":"2026-11-29T10:00:00.5Z","data":{"sum":3},"context":{"user_id":42,"username":"grace"}}'
)
BOB = ADA.replace(b'"user_id":42,"username":"grace"', b'"user_id":43,"username":"bob"')


def test_an_empty_list_leaves_all_as_it_is(tmp_path: Path) -> None:
    payloads = [ADA, BOB]
    assert SuppressionList(tmp_path / "none").replace_forgotten(payloads) is payloads


def test_who_is_on_the_list_leaves_a_tombstone(tmp_path: Path) -> None:
    SuppressionList(tmp_path).add({"42", "grace"}, receipt="r1")
    first, second = SuppressionList(tmp_path).replace_forgotten([ADA, BOB])
    assert second is BOB
    assert is_tombstone(first)
    assert b"grace" not in first
    assert decode(first).id == decode(ADA).id


def test_the_file_names_nobody_and_is_private(tmp_path: Path) -> None:
    SuppressionList(tmp_path).add({"ada_lovelace"}, receipt="r1")
    for path in tmp_path.iterdir():
        assert b"ada_lovelace" not in path.read_bytes()
        assert path.stat().st_mode & 0o007 == 0


def test_what_was_added_twice_is_there_once_and_can_be_removed(tmp_path: Path) -> None:
    suppressed = SuppressionList(tmp_path)
    suppressed.add({"ada"}, receipt="r1")
    suppressed.add({"ada", "42"}, receipt="r2")
    assert [len(person.hashes) for person in suppressed.people()] == [1, 1]
    assert suppressed.remove({"ada", "42", "never"}) == 2
    assert suppressed.people() == []
    assert suppressed.is_empty()


def test_a_change_is_seen_by_another_process_without_a_restart(tmp_path: Path) -> None:
    here, there = SuppressionList(tmp_path), SuppressionList(tmp_path)
    there.refresh()
    here.add({"ada"}, receipt="r1")
    there.refresh()
    assert there.is_named_in({"username": "ada"})


def test_a_damaged_list_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "suppressed.json").write_text("{")
    with pytest.raises(DispatcherError, match=r"suppressed\.json does not hold people"):
        SuppressionList(tmp_path).refresh()


def test_a_list_that_cannot_be_read_does_not_stop_a_relay(tmp_path: Path) -> None:
    (tmp_path / "suppressed.json").write_text("{")
    assert SuppressionList(tmp_path).replace_forgotten([ADA]) == [ADA]


def test_a_tombstone_of_the_same_size_is_a_whole_event() -> None:
    made = tombstone(ADA, same_size=True)
    assert len(made) == len(ADA)
    assert decode(made).context == {"~": 0}
    assert is_tombstone(made)


def test_a_name_that_has_the_person_in_it_goes_too() -> None:
    payload = ADA.replace(b"shop.order.paid", b"/api/user/v1/accounts/grace")
    assert b"grace" not in tombstone(payload)


def test_what_is_no_event_has_a_tombstone_too() -> None:
    assert is_tombstone(tombstone(b"\xff\xfe"))
