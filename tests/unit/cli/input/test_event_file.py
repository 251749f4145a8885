"""A file of events: ``emit --from`` and ``explain --with`` read it alike, and lose nothing beside a bad line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dispatcher import tracker
from dispatcher.cli.emit import emit
from dispatcher.cli.explain import explain
from dispatcher.cli.input.event_file import BadRecord, EventFile, RecordedEvent
from dispatcher.edx_log.render import renderer
from dispatcher.edx_log.source import Source
from dispatcher.event import Event, encode
from tests.support.outboxes import events_in
from tests.support.own_settings import own_settings

EVENT: dict[str, Any] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "name": "shop.paid",
    "timestamp": "2026-01-31T12:00:00+00:00",
    "data": {"order": 17},
    "context": {"user_id": 3, "ip": "192.0.2.7"},
}
LINE = json.dumps(EVENT)
SEEN = '{"name": "shop.seen"}'
PRETTY = json.dumps(EVENT, indent=2)

# The name of a file, what it holds, the names of its events, and where it is not one.
FILES: dict[str, tuple[str, bytes, list[str], list[str]]] = {
    "lines": ("a.jsonl", f"{LINE}\n{SEEN}\n".encode(), ["shop.paid", "shop.seen"], []),
    "lines of any name": ("a.txt", f"{LINE}\n{SEEN}".encode(), ["shop.paid", "shop.seen"], []),
    "empty lines": ("a.txt", f"\n\n{LINE}\n \t\n\n{SEEN}\n\n".encode(), ["shop.paid", "shop.seen"], []),
    "line breaks of Windows": ("a.txt", f"{LINE}\r\n\r\n{SEEN}\r\n".encode(), ["shop.paid", "shop.seen"], []),
    "a byte order mark": ("a.txt", f"\ufeff{LINE}\n{SEEN}".encode(), ["shop.paid", "shop.seen"], []),
    "compressed lines": ("a.jsonl.gz", gzip.compress(f"{LINE}\n{SEEN}".encode()), ["shop.paid", "shop.seen"], []),
    "one line": ("a.json", LINE.encode(), ["shop.paid"], []),
    "an object over several lines": ("a.json", PRETTY.encode(), ["shop.paid"], []),
    "the same with a mark": ("a.json", b"\xef\xbb\xbf\r\n" + PRETTY.replace("\n", "\r\n").encode(), ["shop.paid"], []),
    "the same compressed": ("a.json", gzip.compress(PRETTY.encode()), ["shop.paid"], []),
    "a mistake over several lines": ("a.json", PRETTY.replace("17", "'17'").encode(), [], ["a.json:6"]),
    "a list over several lines": ("a.json", f"[\n{LINE},\n{SEEN}\n]".encode(), [], ["a.json"]),
    "a list": ("a.json", f"[{LINE}, {SEEN}]".encode(), [], ["a.json"]),
    "a bad line first": ("a.txt", f"not JSON\n{LINE}\n{SEEN}".encode(), ["shop.paid", "shop.seen"], ["a.txt:1"]),
    "a line cut off first": ("a.txt", f"{LINE[:30]}\n{LINE}".encode(), ["shop.paid"], ["a.txt:1"]),
    "a bad line between": ("a.txt", f"{LINE}\n{SEEN[:9]}\n\n{SEEN}".encode(), ["shop.paid", "shop.seen"], ["a.txt:2"]),
    "bad bytes between": ("a.txt", f"{LINE}\nö\n{SEEN}".encode("latin-1"), ["shop.paid", "shop.seen"], ["a.txt:2"]),
    "a damaged end": ("a.jsonl", gzip.compress(f"{LINE}\n".encode() * 9)[:-9], ["shop.paid"] * 9, ["a.jsonl:9"]),
    "nothing": ("a.json", b"", [], ["a.json"]),
    "nothing but blanks": ("a.jsonl", b"\r\n \n", [], ["a.jsonl"]),
    "UTF-16": ("a.json", LINE.encode("utf-16"), [], ["a.json"]),
    "null": ("a.json", b"null", [], ["a.json"]),
    "a call for Segment": ("a.json", b'{"type": "identify", "name": "identify", "data": {}}', ["identify"], []),
    "one that emit keeps": ("a.jsonl", b'{"type": "dead", "name": "a"}', [], ["a.jsonl:1"]),
    "an unknown key": ("a.jsonl", f'{SEEN[:-1]}, "propertys": 1}}\n{SEEN}'.encode(), ["shop.seen"], ["a.jsonl:1"]),
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Runs a command in a site's own directory, with an outbox there that nobody relays."""
    own = own_settings(tmp_path / "own", "[destinations.tracking_log]\ninternal = false\n")
    environ = {
        "DISPATCHER_SETTINGS": str(own),
        "DISPATCHER_RELAY__MODE": "external",
        "DISPATCHER_OUTBOX__DIRECTORY": str(tmp_path / "outbox"),
        "COLUMNS": "5000",
    }
    before = tracker.get_tracker()

    def call(command: Any, *arguments: str, given: bytes | None = None) -> Result:
        result = CliRunner().invoke(command, [*arguments], env=environ, input=given)
        tracker.set_tracker(before).close()
        return result

    yield call
    tracker.set_tracker(before)


@pytest.mark.parametrize(("name", "content", "names", "places"), FILES.values(), ids=FILES)
def test_both_commands_read_a_file_in_the_same_way(
    run: Callable[..., Result], tmp_path: Path, name: str, content: bytes, names: list[str], places: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    emitted = run(emit, "--from", str(path), "--timeout", "0", "--json")
    explained = run(explain, "--with", str(path), "--all", "--json")

    assert json.loads(emitted.stdout) == {"emitted": len(names), "failed": len(places), "put": not names}
    assert emitted.exit_code == (1 if places else 0)
    assert [event.name for event in events_in(tmp_path / "outbox")] == names
    for place in places:
        assert f"{tmp_path}/{place}: " in emitted.stderr
    if places:
        assert (explained.exit_code, explained.stdout) == (2, "")
        assert f"{tmp_path}/{places[0]}: " in explained.stderr
    else:
        found = json.loads(explained.stdout)
        assert [event["name"] for event in (found if isinstance(found, list) else [found])] == names


@pytest.mark.parametrize(("name", "content", "names", "places"), FILES.values(), ids=FILES)
def test_standard_input_is_read_as_a_file_is(
    run: Callable[..., Result], tmp_path: Path, name: str, content: bytes, names: list[str], places: list[str]
) -> None:
    emitted = run(emit, "--from", "-", "--timeout", "0", "--json", given=content)

    assert json.loads(emitted.stdout)["emitted"] == len(names)
    assert [event.name for event in events_in(tmp_path / "outbox")] == names
    assert ("standard input" in emitted.stderr) is bool(places)


def test_an_event_keeps_all_that_it_brings(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(emit, "--from", "-", "--timeout", "0", given=LINE.encode())

    assert result.exit_code == 0
    (event,) = events_in(tmp_path / "outbox")
    assert json.loads(encode(event)) == {**EVENT, "type": "event", "timestamp": "2026-01-31T12:00:00Z"}


@pytest.mark.parametrize("line_format", ["edx", "tutor"])
@pytest.mark.parametrize("ids", [True, False])
def test_a_tracking_log_is_refused_with_the_command_for_it(
    run: Callable[..., Result], tmp_path: Path, line_format: Any, ids: bool
) -> None:
    payload = encode(Event(**{**EVENT, "timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC)}))
    line = renderer(line_format, ids=ids)(payload)
    for content in (line, line + b"\n" + line + b"\n"):
        for command, option in ((emit, "--from"), (explain, "--with")):
            result = run(command, option, "-", given=content)
            assert result.exit_code == (1 if command is emit else 2)
            assert "it is a line of a tracking log" in result.stderr
            assert "dispatcher replay --from FILE --to DESTINATION" in result.stderr
    assert not events_in(tmp_path / "outbox")


@pytest.mark.parametrize(
    "line",
    [
        {"event_type": "problem_check", "event_source": "server", "event": {}, "time": "2014-05-16T18:52:20", "ip": ""},
        {"name": "a", "event_type": "a", "event_source": "server", "data": {}, "context": {}, "page": None},
        '2023-05-23 13:53:13,495 INFO 20 [tracking] [user 7] [ip ::1] logger.py:41 - {"name": "a", "context": "a": 1}',
        'Nov 28 18:00:00 host tracking: {"name": "a", "event": {}, "event_type": "a", "event_source": "server"}',
    ],
)
def test_lines_that_edx_wrote_are_known_too(run: Callable[..., Result], tmp_path: Path, line: Any) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    result = run(emit, "--from", "-", "--timeout", "0", given=f"{text}\n{SEEN}\n{text}".encode())
    for number in (1, 3):
        assert f"standard input:{number}: it is a line of a tracking log" in result.stderr
    assert len(events_in(tmp_path / "outbox")) == 1


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"name": "a", "nmae": 1}, "unknown key 'nmae': did you mean 'name'? An event has id, type, name, timestamp"),
        ({"name": "a", "Data": {}}, "unknown key 'Data': did you mean 'data'?"),
        ({"name": "a", "properties": {}, "userId": 7}, "unknown keys 'properties', 'userId': "),
        ({"name": "a", **dict.fromkeys("bcdefgh")}, "unknown keys 'b', 'c', 'd', 'e', 'f' and 2 more: "),
        ({"name": "a", "\x1b[31m": 1}, r"unknown key '\x1b[31m'"),
        ({"name": "a", "time": "2026-01-01", "timestamp": "2026-01-02"}, "it has a timestamp and a time: keep one"),
        ({"event": "a", "user": "b"}, "unknown keys 'event', 'user'"),
        ({"data": {}}, 'it has no "name"'),
        ({"name": None}, 'it has no "name"'),
        ({"name": "a", "type": 7}, "its type must be one of event, alias"),
        ({"name": "a", "type": ["event"]}, "its type must be one of event, alias"),
        ({"name": "a", "timestamp": 1700000000}, "the timestamp is of type int: write text such as 2026-01-31"),
        ({"name": "a", "id": 7}, "the id "),
        ({"name": "a", "context": [1]}, "the context of the event a must be a dict"),
    ],
)
def test_a_record_that_is_not_an_event_is_named_with_a_remedy(
    run: Callable[..., Result], tmp_path: Path, record: dict[str, Any], said: str
) -> None:
    content = f"{SEEN}\n{json.dumps(record)}\n{SEEN}\n".encode()

    emitted = run(emit, "--from", "-", "--timeout", "0", given=content)
    explained = run(explain, "--with", "-", given=content)

    for result in (emitted, explained):
        assert f"standard input:2: {said}" in result.stderr
    assert len(events_in(tmp_path / "outbox")) == 2


def test_a_line_that_is_too_long_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"name": "' + b"x" * (17 << 20) + b'"}\n' + SEEN.encode())
    with Source(path) as source:
        bad, good = EventFile(source)
    assert isinstance(bad, BadRecord)
    assert "more than 16 MiB" in str(bad)
    assert isinstance(good, RecordedEvent)
    assert (good.place, good.name) == (f"{path}:2", "shop.seen")


def test_a_full_outbox_ends_with_the_first_line_that_was_not_emitted(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.cli.emit._FULL_SECONDS", 0.01)
    monkeypatch.setenv("DISPATCHER_OUTBOX__MAX_EVENT_BYTES", "100000")
    monkeypatch.setenv("DISPATCHER_OUTBOX__MAX_BYTES", str(1 << 20))
    monkeypatch.setenv("DISPATCHER_OUTBOX__JOURNAL_BYTES", str(1 << 18))
    line = json.dumps({"name": "shop.paid", "data": {"note": "x" * 9000}})

    result = run(emit, "--from", "-", "--timeout", "0", "--json", given=f"{line}\n".encode() * 200)

    assert result.stdout, result.exception
    emitted = json.loads(result.stdout)["emitted"]
    assert 0 < emitted < 200
    assert len(events_in(tmp_path / "outbox")) == emitted
    assert (result.exit_code, f"standard input:{emitted + 1}: " in result.stderr) == (1, True)
    assert "Neither this event nor what follows it was emitted" in result.stderr
