"""Bisection finds bad items, loses no good one with them and sends none twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.http.bisection import send_bisected

BAD = Dead("invalid", "no")
LATER = RetryAfter("503")


class Vendor:
    """Takes a request whole or not at all."""

    def __init__(self, bad: set[int], *, requests: float = math.inf) -> None:
        self.bad = bad
        self.left = requests
        self.taken: list[int] = []
        self.requests = 0

    def send(self, items: Sequence[int]) -> Outcome:
        self.requests += 1
        if self.requests > self.left:
            return LATER
        if self.bad & set(items):
            return BAD
        self.taken += items
        return DELIVERED


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=20))
def test_bad_items_are_dead_and_others_delivered_once_in_order(count: int, bad: set[int]) -> None:
    vendor = Vendor(bad)
    outcomes = send_bisected(range(count), vendor.send)
    assert outcomes == [BAD if number in bad else DELIVERED for number in range(count)]
    assert vendor.taken == [number for number in range(count) if number not in bad]


@given(st.integers(1, 100), st.sets(st.integers(0, 99), max_size=10))
def test_what_the_vendor_took_before_a_bad_item_is_sent_once(count: int, bad: set[int]) -> None:
    class OneByOne(Vendor):
        """Takes the items before the first bad one, and says how many they were."""

        def send(self, items: Sequence[int]) -> Outcome:
            good = next((place for place, item in enumerate(items) if item in self.bad), len(items))
            self.taken += items[:good]
            return DELIVERED if good == len(items) else Dead("invalid", "no", taken=good)

    vendor = OneByOne(bad)
    outcomes = send_bisected(range(count), vendor.send)
    assert outcomes == [BAD if number in bad else DELIVERED for number in range(count)]
    assert vendor.taken == [number for number in range(count) if number not in bad]


def test_one_bad_item_among_a_hundred_costs_few_requests() -> None:
    vendor = Vendor({37})
    send_bisected(range(100), vendor.send)
    assert vendor.requests <= 2 * math.ceil(math.log2(100)) + 1


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=5), st.integers(0, 30))
def test_a_retryable_answer_stops_all_further_requests(count: int, bad: set[int], requests: int) -> None:
    vendor = Vendor(bad, requests=requests)
    outcomes = send_bisected(range(count), vendor.send)
    assert vendor.requests <= requests + 1
    for number, outcome in enumerate(outcomes):
        if outcome is LATER:
            assert number not in vendor.taken
        else:
            assert (outcome is DELIVERED) == (number in vendor.taken)
    if LATER in outcomes:
        assert all(outcome is LATER for outcome in outcomes[outcomes.index(LATER) :])


@pytest.mark.parametrize("outcome", [DELIVERED, LATER, RetryAfter("401", None, "setup")])
def test_an_answer_that_does_not_blame_the_contents_holds_for_all(outcome: Outcome) -> None:
    assert send_bisected([1, 2, 3], lambda items: outcome) == [outcome] * 3
