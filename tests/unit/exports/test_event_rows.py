"""EventRows: lines become rows in batches, and each is what its line says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")

from dispatcher.event import to_utc  # noqa: E402 - behind the extra
from dispatcher.exports.event_rows import BATCH_ROWS, EventRows, by_day, sorted_rows  # noqa: E402 - behind the extra

ZONES = [None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=9))]
MOMENTS = st.datetimes(timezones=st.sampled_from(ZONES))


def line(time: Any = "2026-01-02T03:04:05+00:00", **fields: Any) -> bytes:
    return json.dumps({"event_type": "e", "event": {}, "context": {}, "time": time, **fields}).encode()


def rows_of(*lines: bytes | None) -> tuple[Any, list[tuple[int, str]]]:
    rows = EventRows("a.log")
    assert rows.add(lines, 1) == len(lines)
    batch, refused = rows.take()
    return batch, [(one.number, one.problem) for one in refused]


def as_python(text: str) -> datetime | None:
    try:
        return to_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


@given(
    st.lists(
        st.one_of(
            st.builds(lambda at, sep, spec: at.isoformat(sep, spec), MOMENTS, st.sampled_from("T "), st.just("auto")),
            MOMENTS.map(lambda at: at.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
            MOMENTS.map(lambda at: at.strftime("%Y-%m-%d")),
            st.sampled_from(
                [
                    *("2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:60Z", "2026-02-30T00:00:00Z", "0000-01-01"),
                    *("2026-01-02T24:00:00Z", "2026-W01-1", "20260102T030405Z", "2026-01-02T03:04:05+0530", "now", ""),
                    *("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-01-02T03Z", " 2026-01-02"),
                    *("99999-01-01T00:00:00Z", "2026-01-02T03:04:05.5+01", "-2026-01-02T03:04:05Z"),
                ]
            ),
        ),
        max_size=4,
    )
)
def test_times_are_as_python_reads_them_however_they_are_mixed(texts: list[str]) -> None:
    batch, refused = rows_of(*(line(text) for text in texts))
    found = dict(zip(batch.column("line_number").to_pylist(), batch.column("timestamp").to_pylist(), strict=True))
    expected = {number: as_python(text) for number, text in enumerate(texts, 1)}
    assert found == {number: at for number, at in expected.items() if at is not None}
    assert refused == [
        (number, "bad_time" if texts[number - 1] else "no_time") for number, at in expected.items() if at is None
    ]


def test_what_is_refused_stands_in_the_order_of_the_lines() -> None:
    batch, refused = rows_of(line(None), b"{", line(), None, line("never"), line(0))
    assert refused == [(1, "no_time"), (2, "not_json"), (4, "too_long"), (5, "bad_time"), (6, "bad_time")]
    assert batch.column("line_number").to_pylist() == [3]


def test_nothing_is_an_empty_batch() -> None:
    batch, refused = rows_of()
    assert (len(batch), refused) == (0, [])
    assert list(by_day(batch)) == []


@pytest.mark.parametrize(("content", "lines"), [("", BATCH_ROWS), ("x" * (10 << 20), 7)], ids=["rows", "bytes"])
def test_a_batch_is_full_by_rows_and_by_bytes(content: str, lines: int) -> None:
    many = [line(event=content)] * (lines + 3)
    rows = EventRows("a.log")
    assert rows.add(many, 1) == lines
    assert rows.is_full
    one_by_one, added = EventRows("a.log"), 0
    while not one_by_one.is_full:
        added += one_by_one.add(many[:1], added + 1)
    assert added == lines
    assert rows.add(many, lines + 1) == 0


def test_rows_are_parted_by_their_day_in_utc() -> None:
    times = [
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T01:00:00+02:00",
        "1970-01-01T00:00:00Z",
        "2026-01-01T23:30:00-01:00",
    ]
    batch, _ = rows_of(*map(line, times))
    found = {day.isoformat(): rows.column("line_number").to_pylist() for day, rows in by_day(batch)}
    assert found == {"1969-12-31": [1, 2], "1970-01-01": [3], "2026-01-02": [4]}


def test_rows_are_sorted_by_course_time_and_id() -> None:
    courses = [None, "course-v1:B+b+b", "course-v1:A+é+a", "course-v1:A+a+a"]
    lines = [
        line(f"2026-01-0{1 + n % 3}", context={"course_id": courses[n % 4], "event_id": f"{n * 7 % 24:02}"})
        for n in range(24)
    ]
    batches = [rows_of(*lines[:9])[0], rows_of(*lines[9:])[0]]
    table = sorted_rows(batches)
    keys = list(zip(*(table[name].to_pylist() for name in ("course_id", "timestamp", "event_id")), strict=True))
    assert keys == sorted(keys, key=lambda key: (key[0] or "", key[1], key[2]))
    assert len(keys) == 24
