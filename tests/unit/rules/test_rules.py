"""Rules: consent, mapping and privacy together, in this order, for any event and any settings."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import config
from dispatcher.config import DestinationSettings
from dispatcher.config.rules import MappingRule
from dispatcher.destinations.base import Batch
from dispatcher.destinations.build import build_destinations
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import DIRECT_TYPES, Event, encode
from dispatcher.outcomes import Dead, Filtered
from dispatcher.rules.rules import Rules

if TYPE_CHECKING:
    from pathlib import Path

ADA = sha256(b"ada@example.org").hexdigest()


def an_event(data: Any = None, *, kind: str = "event", **context: Any) -> Event:
    return Event(
        id="019abcde-0000-7000-8000-000000000001",
        type=kind,
        name="shop.order.paid",
        timestamp=datetime(2026, 11, 23, tzinfo=UTC),
        data={} if data is None else data,
        context=context,
    )


def rules(*, integration: str | None = None, advertising: bool = False, **table: Any) -> Rules | None:
    own = DestinationSettings.model_validate({"type": "x", **table})
    return Rules.of(own, integration=integration, advertising=advertising)


def applied(event: Event, **table: Any) -> Event:
    made = rules(**table)
    assert made is not None
    return made.apply(event)


def made_or_reason(event: Event, **table: Any) -> tuple[Event | None, str | None]:
    try:
        return applied(event, **table), None
    except (DropEvent, UndeliverableError) as error:
        return None, error.reason


# Whether there is anything to do


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"mapping": []},
        {"privacy": {}},
        {"privacy": {"emails": "keep"}, "advertising": True},
        {"integration": ""},
        {"rate": {"per_second": 5}},
    ],
    ids=str,
)
def test_settings_without_effect_make_no_rules(table: dict[str, Any]) -> None:
    assert rules(**table) is None


@pytest.mark.parametrize(
    "table",
    [
        {"consent": ["Analytics"]},
        {"integration": "Mixpanel"},
        {"mapping": [{"skip": True}]},
        {"privacy": {"drop": ["a"]}},
        {"privacy": {"emails": "mask"}},
        {"advertising": True},
    ],
    ids=str,
)
def test_settings_with_an_effect_make_rules(table: dict[str, Any]) -> None:
    assert rules(**table) is not None


def test_a_name_in_the_settings_replaces_the_types_and_an_empty_one_removes_it() -> None:
    named = DestinationSettings.model_validate({"type": "x", "integration": "Own"})
    made = Rules.of(named, integration="Type's", advertising=False)
    assert made is not None
    assert made.apply(an_event(integrations={"Type's": False}))
    with pytest.raises(DropEvent, match="integrations"):
        made.apply(an_event(integrations={"Own": False}))
    silent = DestinationSettings.model_validate({"type": "x", "integration": ""})
    assert Rules.of(silent, integration="Type's", advertising=False) is None


# The order


def test_consent_and_integrations_are_checked_before_the_mapping() -> None:
    mapping = [
        {"set": {"context.consent": {"categoryPreferences": {"ad": True}}, "context.integrations": {"All": True}}}
    ]
    refused = an_event(consent={"categoryPreferences": {"ad": False}})
    with pytest.raises(DropEvent, match="consent"):
        applied(refused, consent=["ad"], mapping=mapping)
    with pytest.raises(DropEvent, match="integrations"):
        applied(an_event(integrations={"All": False}), integration="X", mapping=mapping)
    dead = [{"set": {"a": "{data.gone}"}}]
    with pytest.raises(DropEvent, match="consent"):
        applied(refused, consent=["ad"], mapping=dead)


def test_privacy_sees_what_the_mapping_made() -> None:
    event = applied(
        an_event({"email": "Ada@example.org", "ip": "192.0.2.7"}),
        mapping=[{"set": {"label": "{data.email}", "who": "{data.email} paid"}, "rename": {"ip": "address"}}],
        privacy={"emails": "hash", "mask": ["address"]},
    )
    assert event.data == {"email": ADA, "label": ADA, "who": "Ada@example.org paid", "address": "***"}


def test_advertising_destinations_get_hashed_addresses_by_default() -> None:
    event = an_event({"email": "ada@example.org"})
    assert applied(event, advertising=True).data == {"email": ADA}
    assert applied(event, advertising=True, privacy={"emails": "drop"}).data == {}
    assert applied(event, advertising=True, privacy={"emails": "keep", "mask": ["x"]}).data == event.data
    assert applied(event, mapping=[{"set": {"a": 1}}]).data == {"email": "ada@example.org", "a": 1}


def test_hashing_twice_equals_hashing_once() -> None:
    event = an_event({"traits": {"email": " Ada@Example.org"}})
    table: dict[str, Any] = {
        "advertising": True,
        "mapping": [{"hash": ["traits.email"]}],
        "privacy": {"hash": ["traits.email"]},
    }
    assert applied(event, **table).data == {"traits": {"email": ADA}}


# Whatever comes

KEYS = st.sampled_from(
    ["a", "b", "email", "consent", "integrations", "All", "X", "categoryPreferences", "", "0", "a.b"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
TEXTS = st.sampled_from(["ada@example.org", ADA, "X", "track"])
JSON = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
EVENTS = st.builds(
    Event,
    id=st.just("id"),
    type=st.sampled_from(sorted({"event", *DIRECT_TYPES})),
    name=st.sampled_from(["a", "b.c", "edx.bi.x"]),
    timestamp=st.just(datetime(2026, 11, 23, tzinfo=UTC)),
    data=JSON,
    context=st.dictionaries(KEYS, JSON, max_size=4),
)
SINGLE = st.lists(st.sampled_from(["a", "b", "email", "0"]), min_size=1, max_size=3).map(".".join)
PATHS = st.tuples(st.sampled_from(["", "data.", "context."]), SINGLE).map("".join)
MANY = PATHS | PATHS.map(lambda path: f"{path}.*") | st.just("data.*.a")
VALUES = SCALARS.filter(lambda value: not isinstance(value, str)) | st.sampled_from(
    ["{data.a}", "{data.a?}", "{context.b|x}", "{data}", "t {data.a.b|-} {name}", "{context}", "ada@example.org"]
)
RULES = st.fixed_dictionaries(
    {"set": st.dictionaries(PATHS, VALUES, min_size=1, max_size=1)},
    optional={
        "events": st.just(["a", "b.*", "!x"]),
        "when": st.dictionaries(
            PATHS,
            st.sampled_from([1, "X", [True, "a"], {"exists": True}, {"not": 1}, {"at_least": 0}, {"matches": "a"}]),
            max_size=2,
        ),
        "name": st.sampled_from(["n", "{data.a?}", "{data.a}", "{name} x"]),
        "pick": st.lists(MANY, max_size=2),
        "drop": st.lists(MANY, max_size=2),
        "hash": st.lists(MANY, max_size=2),
        "rename": st.dictionaries(PATHS, PATHS, max_size=2),
    },
)
TABLES = st.fixed_dictionaries(
    {"mapping": st.lists(RULES, min_size=1, max_size=3)},
    optional={
        "consent": st.just(["a", "X"]),
        "privacy": st.fixed_dictionaries(
            {"emails": st.sampled_from(["keep", "hash", "mask", "drop"])},
            optional={"drop": st.lists(MANY, max_size=2), "mask": st.lists(MANY, max_size=2), "hash": st.just(["a.*"])},
        ),
    },
)


@given(event=EVENTS, table=TABLES)
def test_rules_never_change_an_event_or_raise_another_error(event: Event, table: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    settings_before = copy.deepcopy(table)
    made, reason = made_or_reason(event, integration="X", **table)
    if made is None:
        assert reason in {"consent", "integrations", "mapping"}
    else:
        assert isinstance(made.context, dict)
        assert isinstance(made.name, str)
        assert (made.id, made.type, made.timestamp) == (event.id, event.type, event.timestamp)
        encode(made)
    assert event == before
    assert table == settings_before


@given(event=EVENTS)
@settings(max_examples=50)
def test_no_address_reaches_an_advertising_destination(event: Event) -> None:
    assert b"ada@example.org" not in encode(applied(event, advertising=True, mapping=[{"set": {"q": 1}}]))


@given(rule=RULES)
@settings(max_examples=30)
def test_a_shown_rule_can_be_read_back(rule: dict[str, Any]) -> None:
    read = MappingRule.model_validate(rule)
    assert MappingRule.model_validate(read.model_dump()) == read


@pytest.mark.parametrize("depth", [10, 600, 5000])
def test_very_deeply_nested_data_is_dead_at_worst(depth: int) -> None:
    data: Any = "ada@example.org"
    for _ in range(depth):
        data = [data]
    _, reason = made_or_reason(an_event({"a": data}), advertising=True)
    assert reason in ({None} if depth < 100 else {None, "mapping"})


# At a destination


def test_destinations_are_built_with_their_rules(tmp_path: Path) -> None:
    tmp_path.joinpath("base.toml").write_text(
        "[destinations.tracking_log]\n"
        "[destinations.plain]\ntype = 'segment'\n"
        "[destinations.segment]\nconsent = ['Analytics']\nwrite_key = 'k'\n"
        "[[destinations.segment.mapping]]\nset = { label = '{data.course_id}' }\nname = 'Renamed'\n"
    )
    tmp_path.joinpath("development.toml").write_text("")
    loaded = config.load({"HOME": str(tmp_path), "DISPATCHER_SETTINGS": str(tmp_path)})
    made = {name: build() for name, build in build_destinations(loaded).items()}
    try:
        assert made["tracking_log"].rules is None
        assert made["plain"].rules is None
        segment = made["segment"]
        body = str(segment.preview(an_event({"course_id": "C"})))
        assert "Renamed" in body
        assert "'label': 'C'" in body or '"label": "C"' in body
        refused = an_event({"course_id": "C"}, consent={"categoryPreferences": {}})
        outcomes = segment.deliver(Batch(destination="segment", id="1", payloads=(encode(refused), encode(an_event()))))
        assert outcomes[0] == Filtered("consent")
        assert isinstance(outcomes[1], Dead)
        assert outcomes[1].reason == "mapping"
        assert "data.course_id" in outcomes[1].error
    finally:
        for destination in made.values():
            destination.close()
