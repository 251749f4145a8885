"""Consent: Segment's documented truth table, row by row, and the rules of its integrations object.

The rows are those of https://segment.com/docs/privacy/consent-management/consent-in-segment-connections/ under
"Reconcile consent object and integrations object conflicts". The documentation spells the key categoryPreference there
and categoryPreferences in its definition of the object; the latter is what its libraries send.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from dispatcher.errors import DropEvent
from dispatcher.event import Event
from dispatcher.rules.consent import Consent, is_enabled, stated_consent, stated_integrations

ABSENT: Final = object()
FACEBOOK_ONLY: Final = {"facebook": True, "amplitude": False}
NEITHER: Final = {"facebook": False, "amplitude": False}
ADS: Final = {"facebook": ["ad"], "google-ads": ["ad"]}
ADS_AND_AMPLITUDE: Final = ADS | {"amplitude": ["analytics"]}
FACEBOOK_TWICE: Final = {"facebook": ["ad", "analytics"], "google-ads": ["ad"], "amplitude": ["analytics"]}
UNMAPPED: Final[dict[str, list[str]]] = {"facebook": [], "amplitude": [], "google-ads": []}
MAPPED: Final = ADS_AND_AMPLITUDE


def preferring(**preferences: bool) -> dict[str, Any]:
    return {"categoryPreferences": preferences}


# For each row: its number, the consent object, the integrations object, which destination is mapped to what, and which
# of them the event goes to. A destination that is mapped to nothing is "unmapped", or one of a row's own.
ROWS: Final[list[tuple[int, Any, Any, dict[str, list[str]], set[str]]]] = [
    # Not provided or empty consent object; integrations not provided or empty: all destinations.
    *(
        (1, consent, integrations, MAPPED | {"unmapped": []}, {*MAPPED, "unmapped"})
        for consent in (ABSENT, {})
        for integrations in (ABSENT, {})
    ),
    # Empty preferences; integrations not provided or empty: none that is mapped, all that are not.
    *((2, preferring(), integrations, MAPPED | {"unmapped": []}, {"unmapped"}) for integrations in (ABSENT, {})),
    # No consent object; integrations: those that are true there.
    (3, ABSENT, FACEBOOK_ONLY, {"facebook": [], "amplitude": []}, {"facebook"}),
    (3, ABSENT, FACEBOOK_ONLY, {"facebook": ["ad"], "amplitude": ["analytics"]}, {"facebook"}),
    # Empty consent object, or empty preferences; integrations: none that is mapped; of the others those that are true
    # or not named.
    *((4, consent, FACEBOOK_ONLY, MAPPED | {"unmapped": []}, {"unmapped"}) for consent in ({}, preferring())),
    *((4, consent, FACEBOOK_ONLY, UNMAPPED, {"facebook", "google-ads"}) for consent in ({}, preferring())),
    # Nothing is mapped: all destinations, but for what integrations say.
    *((5, preferring(ad=True, analytics=False), none, UNMAPPED, set(UNMAPPED)) for none in (ABSENT, {})),
    (5, preferring(ad=True, analytics=False), FACEBOOK_ONLY, UNMAPPED, {"facebook", "google-ads"}),
    # Categories that are consented to: their destinations.
    *(
        (6, preferring(ad=True, analytics=False), none, ADS_AND_AMPLITUDE, {"facebook", "google-ads"})
        for none in (ABSENT, {})
    ),
    # Also one that integrations do not name.
    (7, preferring(ad=True, analytics=False), FACEBOOK_ONLY, ADS_AND_AMPLITUDE, {"facebook", "google-ads"}),
    # But none that is false there.
    (8, preferring(ad=True, analytics=False), NEITHER, ADS_AND_AMPLITUDE, {"google-ads"}),
    # Several categories: all must be true.
    (9, preferring(ad=True, analytics=False), FACEBOOK_ONLY, FACEBOOK_TWICE, {"google-ads"}),
    (10, preferring(ad=True, analytics=True), FACEBOOK_ONLY, FACEBOOK_TWICE, {"facebook", "google-ads"}),
    (11, preferring(ad=False, analytics=True), FACEBOOK_ONLY, FACEBOOK_TWICE, set()),
]

CASES: Final = [
    pytest.param(consent, integrations, name, mapped[name], name in goes, id=f"row{row}-{position}-{name}")
    for position, (row, consent, integrations, mapped, goes) in enumerate(ROWS)
    for name in mapped
]


def an_event(kind: str = "event", *, data: Any = None, **context: Any) -> Event:
    said = {key: value for key, value in context.items() if value is not ABSENT}
    return Event(id="id", type=kind, name="n", timestamp=datetime.now(UTC), data=data or {}, context=said)


def objection(event: Event, categories: list[str], integration: str | None) -> str | None:
    try:
        Consent(categories, integration).check(event)
    except DropEvent as drop:
        return drop.reason
    return None


@pytest.mark.parametrize(("consent", "integrations", "name", "categories", "goes"), CASES)
def test_segments_truth_table_holds_for_events(
    consent: Any, integrations: Any, name: str, categories: list[str], goes: bool
) -> None:
    event = an_event(consent=consent, integrations=integrations)
    assert (objection(event, categories, name) is None) is goes


@pytest.mark.parametrize(("consent", "integrations", "name", "categories", "goes"), CASES)
def test_segments_truth_table_holds_for_calls(
    consent: Any, integrations: Any, name: str, categories: list[str], goes: bool
) -> None:
    context = {} if consent is ABSENT else {"context": {"consent": consent}}
    call = {"userId": "1", **context, **({} if integrations is ABSENT else {"integrations": integrations})}
    assert (objection(an_event("track", data=call), categories, name) is None) is goes


def test_the_truth_table_is_complete() -> None:
    assert {row for row, *_ in ROWS} == set(range(1, 12))


def test_the_reason_names_consent_or_integrations_and_consent_comes_first() -> None:
    refused, disabled = preferring(ad=False), {"facebook": False}
    assert objection(an_event(consent=refused, integrations=disabled), ["ad"], "facebook") == "consent"
    assert objection(an_event(consent=preferring(ad=True), integrations=disabled), ["ad"], "facebook") == "integrations"


def test_an_unknown_category_has_no_consent() -> None:
    assert objection(an_event(consent=preferring(ad=True)), ["functional"], None) == "consent"


@pytest.mark.parametrize("value", [None, 1, "true", "yes", {}, [True]])
def test_only_true_counts_as_consent(value: Any) -> None:
    assert objection(an_event(consent={"categoryPreferences": {"ad": value}}), ["ad"], None) == "consent"


def test_categories_are_case_sensitive() -> None:
    assert objection(an_event(consent=preferring(Ad=True)), ["ad"], None) == "consent"


@pytest.mark.parametrize(
    "consent",
    [
        "yes",
        True,
        [],
        5,
        {"other": 1},
        {"categoryPreferences": None},
        {"categoryPreferences": ["ad"]},
        {"categoryPreference": {"ad": True}},
    ],
    ids=str,
)
def test_a_malformed_consent_object_gives_no_consent(consent: Any) -> None:
    assert objection(an_event(consent=consent), ["ad"], None) == "consent"
    assert objection(an_event(consent=consent), [], None) is None


def test_null_counts_as_no_consent_object() -> None:
    assert objection(an_event(consent=None), ["ad"], None) is None


@pytest.mark.parametrize(
    ("integrations", "enabled"),
    [
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"All": False, "Mixpanel": True}, True),
        ({"All": False, "Mixpanel": {"option": 1}}, True),
        ({"All": False, "Mixpanel": {}}, True),
        ({"All": False, "mixpanel": True}, False),
        ({"all": False}, True),
        ({"All": True, "Mixpanel": False}, False),
        ({"Mixpanel": False}, False),
        ({"MIXPANEL": False}, True),
        ({"Amplitude": False}, True),
        ({"Amplitude": True}, True),
        ({"All": False, "Mixpanel": None}, False),
        ({"All": None}, True),
    ],
    ids=str,
)
def test_a_name_wins_over_all_and_is_case_sensitive(integrations: dict[str, Any], enabled: bool) -> None:
    assert is_enabled("Mixpanel", integrations) is enabled


def test_integrations_do_not_affect_a_destination_without_a_name() -> None:
    assert objection(an_event(integrations={"All": False}), [], None) is None


@pytest.mark.parametrize("integrations", [None, "all", [], 5])
def test_integrations_other_than_an_object_are_ignored(integrations: Any) -> None:
    assert objection(an_event(integrations=integrations), [], "Mixpanel") is None
    assert objection(an_event(consent={}, integrations=integrations), ["ad"], "Mixpanel") is None


def test_a_calls_own_values_win_over_the_requests() -> None:
    bound = {"consent": preferring(ad=False), "integrations": {"All": False}}
    assert objection(an_event("track", data={"event": "E"}, **bound), ["ad"], "X") == "consent"
    said = {"context": {"consent": preferring(ad=True)}, "integrations": {"All": True}}
    assert objection(an_event("track", data=said, **bound), ["ad"], "X") is None


def test_consent_in_an_events_data_is_ignored() -> None:
    data = {"context": {"consent": preferring(ad=False)}, "integrations": {"All": False}}
    assert objection(an_event(data=data), ["ad"], "X") is None
    assert stated_consent(an_event(data=data)) is None
    assert stated_integrations(an_event(data=data)) == {}
