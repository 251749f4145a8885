"""Routing: allowlists, exceptions, internal names, direct calls, and the explanation of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config import Settings
from dispatcher.event import DIRECT_TYPES
from dispatcher.routing import Allowlist, Router
from tests.support.waiting import soon

if TYPE_CHECKING:
    from dispatcher.event import EventType
    from dispatcher.routing import Explanation


def router(internal_events: tuple[str, ...] = ("edx.bi.*",), **destinations: dict[str, Any]) -> Router:
    return Router(Settings.model_validate({"internal_events": internal_events, "destinations": destinations}))


def explained(router: Router, name: str, destination: str, type: EventType = "event") -> Explanation:
    return next(one for one in router.explain(name, type) if one.destination == destination)


# The allowlist


@pytest.mark.parametrize(
    ("entries", "name", "is_listed"),
    [
        (["a.b"], "a.b", True),
        (["a.b"], "a.bc", False),
        (["a.b"], "A.b", False),
        (["a.*"], "a.b.c", True),
        (["a.*"], "a.", True),
        (["a.*"], "a", False),
        (["*.b"], "x.a.b", True),
        (["*"], "", True),
        (["*"], "line\nbreak", True),
        (["a?"], "ab", True),
        (["a?"], "a", False),
        (["a?"], "abc", False),
        (["a.b"], "a.b\n", False),
        (["[ab].c"], "a.c", False),
        (["[ab].c"], "[ab].c", True),
        (["[ab].*"], "a.c", False),
        (["[ab].*"], "[ab].c", True),
        (["a.*.d"], "a.b.c.d", True),
        (["a.b", "!a.b"], "a.b", False),
        (["!a.b", "a.*"], "a.b", False),
        (["a.*", "!a.b"], "a.c", True),
        (["a.*", "!a.b.*"], "a.b.c", False),
        (["a.*", "!a.b.*", "a.b.c"], "a.b.c", False),
        ([], "a", False),
    ],
)
def test_a_name_is_listed_when_an_entry_matches_and_no_exception_does(
    entries: list[str], name: str, is_listed: bool
) -> None:
    assert (name in Allowlist(entries)) is is_listed


@given(name=st.text(), entries=st.lists(st.text(min_size=1)))
def test_the_order_of_the_entries_does_not_matter(name: str, entries: list[str]) -> None:
    assert (name in Allowlist(entries)) is (name in Allowlist(reversed(entries)))


@given(name=st.text())
def test_a_name_matches_itself_as_an_entry(name: str) -> None:
    # A name that begins with "!" or holds a star means something else as an entry.
    if not name.startswith("!"):
        assert name in Allowlist([name])


def test_a_hostile_name_costs_no_more_time_than_others_of_its_length() -> None:
    allowlist = Allowlist(["*a*a*a*a*a*a*a*a*b"])
    with soon():
        assert "a" * 10_000 not in allowlist


# Routes


def test_without_an_allowlist_the_log_takes_all_and_others_take_nothing() -> None:
    routes = router(tracking_log={}, segment={}, copy={"type": "tracking_log"}).route("shop.paid", "event")

    assert routes.destinations == ("tracking_log", "copy")
    assert routes.skipped == {"segment": "not_on_allowlist"}


def test_a_listed_event_goes_to_the_log_and_to_segment() -> None:
    routes = router(tracking_log={}, segment={"events": ["shop.*"]}).route("shop.paid", "event")

    assert routes.destinations == ("tracking_log", "segment")
    assert routes.skipped == {}


def test_the_tracking_log_may_have_an_allowlist_too() -> None:
    routes = router(tracking_log={"events": ["*", "!edx.ui.*"]}).route("edx.ui.clicked", "event")

    assert routes.destinations == ()
    assert routes.skipped == {"tracking_log": "excluded"}


def test_an_empty_allowlist_lets_nothing_through() -> None:
    assert router(tracking_log={"events": []}).route("a", "event").skipped == {"tracking_log": "not_on_allowlist"}


def test_one_line_keeps_internal_events_out() -> None:
    both = router(tracking_log={"internal": False}, segment={"events": ["*"]})

    assert both.route("edx.bi.page", "event").destinations == ("segment",)
    assert both.route("edx.bi.page", "event").skipped == {"tracking_log": "internal"}
    assert both.route("edx.big.page", "event").destinations == ("tracking_log", "segment")


def test_internal_names_may_have_exceptions() -> None:
    log = router(("edx.bi.*", "!edx.bi.public"), tracking_log={"internal": False})

    assert log.route("edx.bi.public", "event").destinations == ("tracking_log",)
    assert log.route("edx.bi.other", "event").destinations == ()


@pytest.mark.parametrize("type", sorted(DIRECT_TYPES))
def test_a_direct_call_goes_to_every_segment_and_nowhere_else(type: EventType) -> None:
    routes = router(
        tracking_log={}, segment={"internal": False}, second={"type": "segment", "events": ["x"]}, other={"type": "m:C"}
    ).route("edx.bi.user.account.registered", type)

    assert routes.destinations == ("segment", "second")
    assert routes.skipped == {"tracking_log": "direct", "other": "direct"}


def test_a_disabled_destination_gets_nothing_of_any_type() -> None:
    disabled = router(segment={"enabled": False, "events": ["*"]})

    assert disabled.route("a", "event").skipped == {"segment": "disabled"}
    assert disabled.route("a", "track").skipped == {"segment": "disabled"}


def test_a_dead_event_goes_nowhere() -> None:
    routes = router(tracking_log={}, segment={"events": ["*"]}).route("a", "dead")

    assert routes.destinations == ()
    assert routes.skipped == {"tracking_log": "dead", "segment": "dead"}


def test_each_type_of_one_name_has_its_own_route() -> None:
    both = router(tracking_log={}, segment={})

    assert both.route("a", "event").destinations == ("tracking_log",)
    assert both.route("a", "track").destinations == ("segment",)
    assert both.route("a", "event").destinations == ("tracking_log",)


def test_the_same_route_object_is_returned_again() -> None:
    log = router(tracking_log={})

    assert log.route("a", "event") is log.route("a", "event")


def test_the_cache_stays_bounded_for_any_names() -> None:
    log = router(tracking_log={})

    routes = [log.route(f"name.{number}", "event") for number in range(25_000)]
    still_cached = sum(log.route(f"name.{number}", "event") is routes[number] for number in range(24_999, -1, -1))

    assert 0 < still_cached <= 10_000
    assert log.route("long" * 5_000, "event") is not log.route("long" * 5_000, "event")
    assert log.route("name.1", "event").destinations == ("tracking_log",)


# Explanations


def test_a_routed_event_is_explained_by_the_matching_entry() -> None:
    one = explained(router(segment={"events": ["other", "shop.*"]}), "shop.paid", "segment")

    assert one.goes
    assert one.reason is None
    assert one.entry == "shop.*"
    assert one.sentence == "a glob of its allowlist matches"


def test_an_exact_entry_is_preferred_to_a_glob_in_explanations() -> None:
    one = explained(router(segment={"events": ["shop.*", "shop.paid"]}), "shop.paid", "segment")

    assert (one.entry, one.sentence) == ("shop.paid", "its allowlist names it")


def test_an_event_that_needs_no_entry_is_explained_as_such() -> None:
    one = explained(router(tracking_log={}), "shop.paid", "tracking_log")

    assert (one.goes, one.entry, one.nearest) == (True, None, None)
    assert one.sentence == "it has no allowlist and takes every event"


def test_an_excluded_event_is_explained_by_the_exception() -> None:
    one = explained(router(segment={"events": ["*", "!shop.p*"]}), "shop.paid", "segment")

    assert (one.goes, one.reason, one.entry) == (False, "excluded", "!shop.p*")


def test_an_internal_event_is_explained_by_the_line_that_excludes_it() -> None:
    one = explained(router(segment={"events": ["*"], "internal": False}), "edx.bi.page", "segment")

    assert (one.goes, one.reason, one.entry) == (False, "internal", "edx.bi.*")
    assert "destinations.segment.internal is false" in one.sentence


@pytest.mark.parametrize(
    ("entries", "name", "nearest"),
    [
        (["shop.paid", "shop.order.refunded"], "shop.payd", "shop.paid"),
        (["shop.paid", "shop.order.refunded"], "shop.order.refund", "shop.order.refunded"),
        (["shop.*"], "Shop.Order.Paid", "shop.*"),
        (["shop.*", "!shop.payd"], "zzz", None),
        (["shop.order.*"], "shop.orders", "shop.order.*"),
        ([], "shop", None),
    ],
)
def test_the_nearest_entry_is_suggested(entries: list[str], name: str, nearest: str | None) -> None:
    one = explained(router(segment={"events": entries}), name, "segment")

    assert one.reason == "not_on_allowlist"
    assert one.nearest == nearest


def test_an_empty_allowlist_is_explained_as_empty() -> None:
    assert explained(router(segment={}), "a", "segment").sentence == "destinations.segment.events lists nothing"


def test_explanations_follow_the_order_of_settings_and_agree_with_the_route() -> None:
    both = router(segment={"events": ["a"]}, tracking_log={"internal": False})

    for name in ("a", "b", "edx.bi.c"):
        explanations = both.explain(name)
        assert [one.destination for one in explanations] == ["segment", "tracking_log"]
        assert tuple(one.destination for one in explanations if one.goes) == both.route(name, "event").destinations
