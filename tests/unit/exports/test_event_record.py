"""EventRecord: the values of edX's table event_records, to the octet."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import DispatcherError
from dispatcher.exports.warehouse.event_record import COLUMNS, SOURCE_COLUMNS, EventRecords, RulesName, columns_with
from dispatcher.exports.warehouse.vertica_sql import VerticaTables

TIME = datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)
NAMES = [column.name for column in COLUMNS]


def row(**given: Any) -> list[Any]:
    values = {
        "timestamp": TIME,
        "event_type": "problem_check",
        "emitter_type": "server",
        "source_file": "tracking.log",
        "event": '{"a": 1}',
        "course_id": "course-v1:MITx+6.002x+2026",
    } | given
    assert set(values) <= set(SOURCE_COLUMNS)
    return [values.get(name) for name in SOURCE_COLUMNS]


def cells(records: EventRecords | None = None, **given: Any) -> dict[str, str]:
    line = (records or EventRecords("own")).line(row(**given))
    assert line is not None
    assert line.endswith(b"\n")
    found = line[:-1].decode().split("\t")
    assert b"\n" not in line[:-1]
    return dict(zip(NAMES, found, strict=True))


def raw(found: dict[str, str]) -> Any:
    return json.loads(found["raw_event"].replace("\\\\", "\\"))


def test_a_request_is_an_event_of_one_type_with_its_address() -> None:
    found = cells(event_type="/courses/x/y", url="https://example.com/other")
    assert (found["event_type"], found["url"]) == ("edx.server.request", "/courses/x/y")
    assert raw(found)["event_type"] == "/courses/x/y"


@pytest.mark.parametrize(
    ("given", "org", "org_of_edx"),
    [
        ({}, "MITx", "MITx"),
        ({"event": '{"org_id": "Other"}'}, "Other", "Other"),
        ({"course_id": None, "org_id": "Ctx"}, "Ctx", "\\N"),
        ({"course_id": None, "event": '{"course_id": "MITx/6.002x/2012"}'}, "MITx", "MITx"),
    ],
    ids=["of-the-course", "of-the-payload", "of-the-context", "of-the-payload's-course"],
)
def test_the_organisation_is_the_payloads_or_the_courses(given: dict[str, Any], org: str, org_of_edx: str) -> None:
    assert cells(**given)["org_id"] == org
    assert cells(EventRecords("edx"), **given)["org_id"] == org_of_edx


def test_values_are_escaped_and_missing_ones_are_null() -> None:
    found = cells(username=" ada\t\n\r\\\0 ", label="\\N", user_id="7", anonymous_id=None)
    assert found["username"] == r"ada\t\n\r\\\0"
    assert found["label"] == r"\\N"
    assert (found["user_id"], found["anonymous_id"], found["agent_type"]) == ("7", "\\N", "\\N")
    assert (found["timestamp"], found["received_at"]) == ("2026-01-31 12:00:00.000005",) * 2
    early = datetime(1899, 12, 31, tzinfo=UTC)
    assert cells(timestamp=early)["timestamp"] == "\\N"
    assert cells(received_at=early)["received_at"] == "\\N"


@pytest.mark.parametrize(("letter", "octets"), [("a", 1), ("ü", 2), ("日", 3), ("😀", 4)], ids=["1", "2", "3", "4"])
def test_text_is_cut_by_octets_at_a_characters_border(letter: str, octets: int) -> None:
    records = EventRecords("own")
    whole = letter * (255 // octets)
    assert cells(records, label=letter * (511 // octets), category=whole)["category"] == whole
    assert records.shortened == {}
    found = cells(records, category=whole + letter)["category"]
    assert len(found.encode()) <= 255
    assert found == letter * (251 // octets) + "..."
    assert records.shortened == {"category": 1}


def test_a_long_event_stays_json_and_says_how_much_was_cut() -> None:
    records = EventRecords("own", 4_000)
    found = cells(records, event=json.dumps({"answer": "日" * 5_000}), page="https://example.com/")
    event = raw(found)
    assert event["page"] == "https://example.com/"
    assert event["event"] == {"octets_cut": 15_000 + len('{"answer":""}')}
    everything = cells(
        records, event=json.dumps("x" * 9_000), agent="y" * 9_000, context='{"z": "' + "z" * 9_000 + '"}'
    )
    assert set(raw(everything)) == {"agent", "context", "event", "event_source", "event_type", "time"}
    assert records.shortened == {"raw_event": 2}
    assert [column.definition for column in columns_with(4_000)][-2] == "raw_event VARCHAR(4000)"
    assert [column.definition for column in columns_with(1 << 20)][-2] == "raw_event LONG VARCHAR(1048576)"


@pytest.mark.parametrize(
    ("event", "is_kept"),
    [
        ('{"a": 1}', True),
        (json.dumps('{"a": 1}'), True),
        (json.dumps(""), True),
        (json.dumps("input_1=2&input_2=3"), False),
        (json.dumps('{"POST": {}}' + " " * 500), False),
        ("[1, 2]", False),
        ("5", False),
        (None, False),
    ],
    ids=["object", "its-text", "empty", "form", "cut-off", "list", "number", "missing"],
)
def test_rules_of_edx_leave_out_payloads_that_are_no_objects(event: str | None, is_kept: bool) -> None:
    records = EventRecords("edx")
    assert (records.line(row(event=event)) is not None) is is_kept
    assert (records.written, dict(records.dropped)) == ((1, {}) if is_kept else (0, {"payload_not_an_object": 1}))
    assert records.line(row(emitter_type=None)) is None
    assert records.dropped["no_source"] == 1
    own = EventRecords("own")
    assert own.line(row(event=event, emitter_type=None)) is not None
    assert own.dropped == {}


def test_the_raw_event_has_its_payload_parsed_and_its_keys_in_order() -> None:
    found = cells(
        event=json.dumps(json.dumps({"z": 1, "a": "ü"})), context='{"user_id": 7}', referrer="https://x.example"
    )
    assert found["raw_event"].startswith('{"context":{"user_id":7},"event":{"a":"ü","z":1},"event_source":"server"')
    assert raw(found)["referer"] == "https://x.example"
    assert raw(cells(event='{"a": NaN, "b": 123456789012345678901234567890}'))["event"] == {
        "a": None,
        "b": 123456789012345678901234567890,
    }


@given(
    st.text(st.characters(codec="utf-8"), max_size=600),
    st.recursive(st.none() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5),
    st.sampled_from(["own", "edx"]),
)
def test_any_text_fits_its_column(text: str, value: Any, rules: RulesName) -> None:
    records = EventRecords(rules, 4_000)
    given = dict.fromkeys(("username", "label", "url", "referrer", "user_id", "agent", "page"), text)
    line = records.line(row(event=json.dumps({"x": value, "y": text}), event_type=text or "e", **given))
    assert line is not None
    assert line.count(b"\n") == 1
    found = line[:-1].decode().split("\t")
    for column, cell in zip(columns_with(4_000), found, strict=True):
        assert not column.octets or len(unescaped(cell).encode()) <= column.octets
    assert raw_of(found)["event_source"] == "server"


def unescaped(cell: str) -> str:
    letters = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "\\": "\\", "N": ""}
    parts, rest = "", iter(cell)
    for letter in rest:
        parts += letters[next(rest)] if letter == "\\" else letter
    return parts


def raw_of(found: list[str]) -> Any:
    return json.loads(unescaped(found[NAMES.index("raw_event")]))


def test_names_of_tables_are_plain() -> None:
    with pytest.raises(DispatcherError, match="cannot be the name of a schema or table"):
        VerticaTables("public", "events; DROP TABLE x")
