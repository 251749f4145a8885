"""TrackingLogRecord: each value of BigQuery's tracking_log is of its field's type."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.exports.warehouse.bigquery_schema import SCHEMA, Field, Kind
from dispatcher.exports.warehouse.tracking_log_record import SOURCE_COLUMNS, TrackingLogRecords, fit, record_of

TYPES = {"STRING": str, "INTEGER": int, "FLOAT": float, "BOOLEAN": bool, "RECORD": dict}
NAMES = [field.name for field in next(one for one in SCHEMA if one.name == "event_struct").fields]


def row(**given: Any) -> dict[str, Any]:
    values = {
        "event_id": "0123",
        "timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "event_type": "problem_check",
        "source_file": "tracking.log",
    }
    return dict.fromkeys(SOURCE_COLUMNS) | values | given


def assert_fits(fields: Any, record: dict[str, Any]) -> None:
    """Fail unless each value has its field's type, as a load job asks for; a missing one is NULL."""
    by_name = {field.name: field for field in fields}
    for name, value in record.items():
        kind = by_name[name].kind
        if kind == "TIMESTAMP":
            assert datetime.fromisoformat(value).tzinfo is not None
            continue
        assert type(value) is TYPES[kind], (name, value)
        if kind == "RECORD":
            assert_fits(by_name[name].fields, value)
        if kind == "INTEGER":
            assert -(2**63) <= value < 2**63


@pytest.mark.parametrize(
    ("kind", "value", "fitted"),
    [
        ("INTEGER", 3, 3),
        ("INTEGER", "9007199254740993", 9007199254740993),
        ("INTEGER", 3.0, 3),
        ("INTEGER", 3.5, None),
        ("INTEGER", True, None),
        ("INTEGER", 2**63, None),
        ("INTEGER", "", None),
        ("INTEGER", "inf", None),
        ("FLOAT", 3, 3.0),
        ("FLOAT", "1.5", 1.5),
        ("FLOAT", "nan", None),
        ("FLOAT", 10**400, None),
        ("FLOAT", [1], None),
        ("BOOLEAN", True, True),
        ("BOOLEAN", "False", False),
        ("BOOLEAN", 2, None),
        ("STRING", "ü", "ü"),
        ("STRING", {"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
        ("STRING", False, "false"),
        ("RECORD", "text", None),
        ("RECORD", {"unknown": 1}, None),
        ("RECORD", {"x": 7}, {"x": "7"}),
    ],
)
def test_a_value_is_converted_where_that_loses_nothing(kind: Kind, value: Any, fitted: Any) -> None:
    found = fit(Field("f", kind, [Field("x")] if kind == "RECORD" else []), value)
    assert (found, type(found)) == (fitted, type(fitted))


def test_a_browsers_payload_is_read_as_the_object_that_it_is() -> None:
    payload = {"id": "block-v1:MITx+6.002x+2026+type@video+block@v1", "currentTime": 12.5, "code": "html5"}
    record = record_of(row(event=json.dumps(json.dumps(payload)), course_id="course-v1:MITx+6.002x+2026"))
    assert record["event_struct"] == payload
    assert json.loads(record["event"]) == payload
    assert (record["event_js"], record["course_id"]) == ("true", "MITx/6.002x/2026")
    assert record["module_id"] == "MITx/6.002x/2026/video/v1"
    assert (record["mongoid"], record["datafn"]) == ("0123", "tracking.log")


@pytest.mark.parametrize("text", ["input_1=2", '{"POST": {"a', ""], ids=["form", "cut-off", "empty"])
def test_a_payload_that_is_text_stays_text(text: str) -> None:
    record = record_of(row(event=json.dumps(text)))
    assert (record["event"], record["event_js"]) == (text, "false")
    assert "event_struct" not in record


@pytest.mark.parametrize(
    ("payload", "module"),
    [
        ({"problem_id": "i4x://MITx/6.002x/problem/p1"}, "MITx/6.002x/problem/p1"),
        ({"problem_id": "block-v1:A+B+C+type@problem+block@p1"}, "A/B/C/problem/p1"),
        ({"id": 7}, None),
        ([1], None),
    ],
    ids=["old", "new", "a-number", "a-list"],
)
def test_the_block_is_named_as_simeon_names_it(payload: Any, module: str | None) -> None:
    assert record_of(row(event=json.dumps(payload))).get("module_id") == module
    context = json.dumps({"module": {"usage_key": "block-v1:A+B+C+type@html+block@h1", "display_name": "H"}})
    found = record_of(row(event=json.dumps(payload), context=context))
    assert found["module_id"] == "A/B/C/html/h1"
    assert found["context"] == {"module": {"display_name": "H"}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "text"]), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), JSON)
def test_any_payload_fits_the_schema(payload: dict[str, Any], context: Any) -> None:
    given = row(event=json.dumps(payload), context=json.dumps(context), page="\ud800")
    line = TrackingLogRecords().line(list(given.values()))
    assert line.count(b"\n") == 1
    assert_fits(SCHEMA, json.loads(line.decode()))
