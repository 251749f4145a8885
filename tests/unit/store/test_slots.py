"""Slots: how a batch's name carries its slot, and which slot a journal gets."""

from __future__ import annotations

from collections import Counter

import pytest

from dispatcher.store.doorbell import Ring
from dispatcher.store.keys import COUNTS
from dispatcher.store.slots import slot_name, slot_of, split_name, split_slot, with_slot


@pytest.mark.parametrize(
    "word", ["7-a-0", "replay-17-0", "7-a-0~segment", "7-a-0~segment-again", "", "a@b", "a@0", "@3"]
)
@pytest.mark.parametrize("slot", [0, 1, 3, 63])
def test_a_name_carries_its_slot_and_gives_it_back(word: str, slot: int) -> None:
    assert split_slot(with_slot(word, slot)) == (word, slot) or (word == "" and slot)


def test_slot_0_has_the_keys_of_the_destination_and_others_have_tags_of_their_own() -> None:
    assert COUNTS.of(slot_name("segment", 0)) == COUNTS.of("segment")
    assert "{segment#3}" in COUNTS.of(slot_name("segment", 3))
    assert split_name(slot_name("segment", 3)) == ("segment", 3)
    assert split_name("segment") == ("segment", 0)
    assert split_name("not#ours") == ("not#ours", 0)


def test_journals_spread_over_all_slots_and_one_slot_is_always_0() -> None:
    names = [f"{pid}-5f0c9a2e11d0{pid:04x}" for pid in range(4000)]
    found = Counter(slot_of(name, 4) for name in names)
    assert set(found) == {0, 1, 2, 3}
    assert min(found.values()) > 800
    assert {slot_of(name, 1) for name in names} == {0}


def test_a_ring_names_its_slot_unless_that_is_0() -> None:
    assert Ring(destination="segment", batch_id="7-a-0", count=1, slot=3).word == "7-a-0@3"
    assert Ring(destination="segment", batch_id="7-a-0", count=1).word == "7-a-0"
