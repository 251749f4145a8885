"""Many lines are read at once as each of them is read alone."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.edx_log.record import BrokenLineError, context_of, id_of, json_of, read_record
from dispatcher.edx_log.records import read_records
from tests.benchmarks.log_file import BROKEN

_WHOLE = json.dumps(
    {
        "name": "problem_check",
        "context": {"user_id": 42, "course_id": "course-v1:A+b+c", "org_id": "A", "event_id": "5e55"},
        "username": "ada",
        "time": "2026-01-02T03:04:05+00:00",
        "event_source": "browser",
        "event_type": "problem_check",
        "event": '{"GET": {}}',
        "note": "é",
    },
    ensure_ascii=False,
)
_VALUES = st.one_of(
    st.none(),
    st.sampled_from(["", "5e55", "é", "\ud800", "course-v1:A+b+c", 42, 4.2, float("nan"), True, [1], {}, {"a": None}]),
)
_KEYS = st.sampled_from(
    ["name", "event_type", "event", "context", "time", "username", "id", "timestamp", "data", "more"]
)
_CONTEXTS = st.dictionaries(st.sampled_from(["event_id", "user_id", "course_id", "received_at", "page"]), _VALUES)
_MEMBERS = st.tuples(_KEYS, st.one_of(_VALUES, _CONTEXTS))
# Of edX's, and of any other members, some of them twice.
_RECORDS = st.one_of(
    st.just(_WHOLE),
    st.lists(_MEMBERS, max_size=8).map(
        lambda members: "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members) + "}"
    ),
)
_AROUND = st.sampled_from(
    [b"", b" ", b"\r", b"\x0b", b"\x00", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"lms | [u 4] - ", b"{}"]
)
_LINES = st.one_of(
    st.builds(lambda before, text, behind: before + text.encode() + behind, _AROUND, _RECORDS, _AROUND),
    st.sampled_from(BROKEN).map(lambda damage: damage(_WHOLE)),
    st.sampled_from(
        [None, b"", b"\xa9", b"null", b"{", b"}", b'{"event_type": "e", "more": "\xff"}', b"[" * 2000, b'{"a":' * 2000]
    ),
)


def one_by_one(lines: list[bytes | None]) -> list[Any]:
    found: list[Any] = []
    for line in lines:
        try:
            if line is None:
                raise BrokenLineError("too_long")
            body = json_of(line)
            record = read_record(body)
        except BrokenLineError as error:
            found.append(error.problem)
        else:
            context = context_of(record)
            found.append((record, context, id_of(record, context, body)))
    return found


@settings(max_examples=200)
@given(st.lists(_LINES, max_size=6))
def test_lines_are_read_together_as_they_are_read_one_by_one(lines: list[bytes | None]) -> None:
    records = read_records(lines)
    found: dict[int, Any] = dict(records.broken)
    found |= dict(zip(records.places, zip(records.records, records.contexts, records.ids, strict=True), strict=True))
    assert [found[place] for place in range(len(lines))] == one_by_one(lines)
    assert records.places == sorted(records.places)
    assert [place for place, _ in records.broken] == sorted(place for place, _ in records.broken)
